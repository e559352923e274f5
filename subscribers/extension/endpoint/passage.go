package endpoint

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	service      = "secretsmanager"
	targetHeader = "X-Amz-Target"
	targetPrefix = "secretsmanager."
	contentType  = "application/x-amz-json-1.1"
	// maxAnswerBytes bounds an answer: a batch is 20 values of 64 KB at the most, which grow when they are written as JSON.
	maxAnswerBytes = 16 << 20
	// tryTime bounds how long Secrets Manager is waited for, for a client that itself waits longer, or that has gone. It is of
	// each try: the environment may have been frozen in one.
	tryTime = 30 * time.Second
)

// A passage signs requests with this environment's credentials and passes them on to Secrets Manager.
type passage struct {
	client   aws.HTTPClient
	identity *Identity
	signer   *v4.Signer
	region   string
	url      func(region string) (string, error)
}

// A passed is Secrets Manager's answer.
type passed struct {
	status int
	header http.Header
	body   []byte
}

// pass has Secrets Manager execute an operation, and once more on a fresh connection if that failed and it only reads. What
// writes does not end with ctx: once it is sent, it may be done.
func (p *passage) pass(ctx context.Context, region, operation string, body []byte, header http.Header) (passed, error) {
	if !isRead(operation) {
		ctx = context.WithoutCancel(ctx)
	}
	answer, err := p.once(ctx, region, operation, body, header)
	if err != nil && isRead(operation) && ctx.Err() == nil {
		answer, err = p.once(ctx, region, operation, body, header)
	}
	if err != nil {
		return passed{}, fmt.Errorf("calling %s in %s: %w", operation, region, err)
	}
	return answer, nil
}

func (p *passage) once(ctx context.Context, region, operation string, body []byte, header http.Header) (passed, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	url, err := p.url(region)
	if err != nil {
		return passed{}, fmt.Errorf("finding the endpoint: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return passed{}, fmt.Errorf("making a request: %w", err)
	}
	for _, name := range []string{"User-Agent", "X-Amz-User-Agent", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request"} {
		if values := header.Values(name); len(values) > 0 {
			request.Header[name] = values
		}
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set(targetHeader, targetPrefix+operation)
	credentials, err := p.identity.Retrieve(ctx)
	if err != nil {
		return passed{}, err
	}
	if err := p.signer.SignHTTP(ctx, credentials, request, hashOf(body), service, region, time.Now()); err != nil {
		return passed{}, fmt.Errorf("signing the request: %w", err)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return passed{}, fmt.Errorf("sending the request: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return passed{}, fmt.Errorf("reading the answer: %w", err)
	case len(answer) > maxAnswerBytes:
		return passed{}, fmt.Errorf("reading the answer: it is longer than %d bytes", maxAnswerBytes)
	}
	return passed{response.StatusCode, response.Header, answer}, nil
}

// isRead reports whether an operation changes nothing.
func isRead(operation string) bool {
	for _, prefix := range []string{"Get", "BatchGet", "Describe", "List", "Validate"} {
		if strings.HasPrefix(operation, prefix) {
			return true
		}
	}
	return false
}

// isRefused reports whether Secrets Manager says that it has not done what it was asked.
func (p passed) isRefused() bool {
	return p.status >= http.StatusBadRequest && p.status < http.StatusInternalServerError
}

// write gives the answer to whoever asked.
func (p passed) write(w http.ResponseWriter) {
	for name, values := range p.header {
		switch name {
		case "Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Content-Encoding":
		case "Date": // clients correct their clock by it, and sign for this endpoint's: net/http writes that
		default:
			w.Header()[name] = values
		}
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body) // whoever asked may be gone
}
