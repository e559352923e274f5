package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	targetPrefix    = "secretsmanager."
	contentType     = "application/x-amz-json-1.1"
	maxRequestBytes = 1 << 20
)

// ServeHTTP answers one Secrets Manager JSON 1.1 request. Signatures are not
// checked, so any credentials do; a request without an Authorization header is
// refused, so that a client that forgot to sign is noticed.
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body := m.answer(r.Header, http.MaxBytesReader(w, r.Body, maxRequestBytes))
	for name, values := range m.header(len(body)) {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	// The client may be gone; what it asked for is done all the same.
	_, _ = w.Write(body)
}

// RoundTripper serves requests in process, without a network and without a
// goroutine, so that a client works inside a testing/synctest bubble. A
// request whose context has ended is not executed; its context's error is
// returned. The transport may be used concurrently.
func (m *Manager) RoundTripper() http.RoundTripper { return roundTripper{m} }

type roundTripper struct{ manager *Manager }

// RoundTrip implements http.RoundTripper.
func (rt roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	body := r.Body
	if body == nil {
		body = http.NoBody
	}
	defer body.Close()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	status, answer := rt.manager.answer(r.Header, body)
	return &http.Response{
		Status:        strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode:    status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        rt.manager.header(len(answer)),
		Body:          io.NopCloser(bytes.NewReader(answer)),
		ContentLength: int64(len(answer)),
		Request:       r,
	}, nil
}

// header is what every answer carries. The date has one second's resolution,
// as HTTP has it.
func (m *Manager) header(length int) http.Header {
	return http.Header{
		"Content-Type":     {contentType},
		"Content-Length":   {strconv.Itoa(length)},
		"Date":             {m.cfg.Now().UTC().Format(http.TimeFormat)},
		"X-Amzn-Requestid": {fmt.Sprintf("00000000-0000-4000-8000-%012x", m.requests.Add(1))},
	}
}

// answer executes one request and encodes its outcome.
func (m *Manager) answer(header http.Header, r io.Reader) (int, []byte) {
	out, err := m.execute(header, r)
	status := http.StatusOK
	if err != nil {
		known := &Error{Code: "InternalServiceError", Message: err.Error()}
		if status = http.StatusInternalServerError; errors.As(err, &known) {
			status = http.StatusBadRequest
		}
		out = wireError{Type: known.Code, Message: known.Message}
	}
	body, err := json.Marshal(out)
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	return status, body
}

func (m *Manager) execute(header http.Header, r io.Reader) (any, error) {
	if header.Get("Authorization") == "" {
		return nil, refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	operation, ok := strings.CutPrefix(header.Get("X-Amz-Target"), targetPrefix)
	if !ok {
		return nil, refuse("UnknownOperationException", "")
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, refuse("SerializationException", "reading the request: %v", err)
	}
	switch operation {
	case "CreateSecret":
		return call(body, m.wireCreate)
	case "PutSecretValue":
		return call(body, m.wirePut)
	case "UpdateSecret":
		return call(body, m.wireUpdate)
	case "UpdateSecretVersionStage":
		return call(body, m.wireStage)
	case "DeleteSecret":
		return call(body, m.wireDelete)
	case "RestoreSecret":
		return call(body, m.wireRestore)
	case "DescribeSecret":
		return call(body, m.wireDescribe)
	case "GetSecretValue":
		return call(body, m.wireGet)
	case "ListSecrets":
		return call(body, m.wireList)
	}
	return nil, refuse("UnknownOperationException", "the local Secrets Manager does not support %s", operation)
}

// call decodes a request, strictly: a parameter that the operation does not
// know is one that AWS would have obeyed.
func call[In, Out any](body []byte, operation func(In) (Out, error)) (any, error) {
	var in In
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return nil, refuse(Validation, "the local Secrets Manager does not support the parameter %s", field)
		}
		return nil, refuse("SerializationException", "%v", err)
	}
	return operation(in)
}
