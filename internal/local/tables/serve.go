package tables

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	targetPrefix    = "DynamoDB_20120810."
	contentType     = "application/x-amz-json-1.0"
	maxRequestBytes = 16 << 20
)

// ServeHTTP answers one DynamoDB JSON 1.0 request.
func (t *Tables) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body := t.answer(r.Header, http.MaxBytesReader(w, r.Body, maxRequestBytes))
	for name, values := range t.header(body) {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	// The client may be gone; the write it asked for stands all the same.
	_, _ = w.Write(body)
}

// RoundTripper serves requests in process, without a network and without a
// goroutine, so that a client works inside a testing/synctest bubble. A
// request whose context has ended is not executed; its context's error is
// returned. The transport may be used concurrently.
func (t *Tables) RoundTripper() http.RoundTripper { return roundTripper{t} }

type roundTripper struct{ tables *Tables }

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
	status, answer := rt.tables.answer(r.Header, body)
	return &http.Response{
		Status:        strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode:    status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        rt.tables.header(answer),
		Body:          io.NopCloser(bytes.NewReader(answer)),
		ContentLength: int64(len(answer)),
		Request:       r,
	}, nil
}

// header is what every answer carries. The date has one second's resolution,
// as HTTP has it. Without the checksum AWS's SDK complains of each answer
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html).
func (t *Tables) header(body []byte) http.Header {
	return http.Header{
		"Content-Type":     {contentType},
		"Content-Length":   {strconv.Itoa(len(body))},
		"Date":             {t.now().UTC().Format(http.TimeFormat)},
		"X-Amz-Crc32":      {strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)},
		"X-Amzn-Requestid": {fmt.Sprintf("%052d", t.requests.Add(1))},
	}
}

// answer executes one request and encodes its outcome.
func (t *Tables) answer(header http.Header, r io.Reader) (int, []byte) {
	out, err := t.execute(header, r)
	if err == nil {
		body, err := json.Marshal(out)
		if err == nil {
			return http.StatusOK, body
		}
		return fail(internalError(err))
	}
	var known *apiError
	if !errors.As(err, &known) {
		known = internalError(err)
	}
	return fail(known)
}

func fail(e *apiError) (int, []byte) {
	body, err := json.Marshal(e.body())
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	return e.status, body
}

func (t *Tables) execute(header http.Header, r io.Reader) (any, error) {
	if header.Get("Authorization") == "" {
		return nil, serviceError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	}
	name, ok := strings.CutPrefix(header.Get("X-Amz-Target"), targetPrefix)
	if !ok {
		return nil, serviceError("UnknownOperationException", "")
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, serviceError("SerializationException", "reading the request: "+err.Error())
	}
	switch name {
	case "CreateTable":
		return call(body, t.createTable)
	case "DescribeTable":
		return call(body, t.describeTable)
	case "DeleteTable":
		return call(body, t.deleteTable)
	case "UpdateTimeToLive":
		return call(body, t.updateTimeToLive)
	case "GetItem":
		return call(body, t.getItem)
	case "BatchGetItem":
		return call(body, t.batchGetItem)
	case "Query":
		return call(body, t.query)
	case "PutItem":
		return call(body, t.putItem)
	case "DeleteItem":
		return call(body, t.deleteItem)
	case "UpdateItem":
		return call(body, t.updateItem)
	case "BatchWriteItem":
		return call(body, t.batchWriteItem)
	case "TransactWriteItems":
		return call(body, t.transactWriteItems)
	}
	return nil, serviceError("UnknownOperationException", "")
}

// call decodes a request and runs its operation.
func call[In, Out any](body []byte, operation func(*In) (Out, error)) (any, error) {
	in := new(In)
	if err := decode(body, in); err != nil {
		return nil, err
	}
	return operation(in)
}

// decode reads a request strictly: a parameter that the operation does not
// know is one that AWS would have obeyed.
func decode(body []byte, in any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(in)
	var known *apiError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return unsupported("the parameter " + field)
	}
	return serviceError("SerializationException", err.Error())
}
