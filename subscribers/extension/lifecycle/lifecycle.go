// Package lifecycle speaks Lambda's Extensions API: an extension registers, and asks for one event after the other. Between
// two events Lambda may freeze the environment
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html).
package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Kind is what an event says.
type Kind string

// The kinds of event.
const (
	Invoke   Kind = "INVOKE"   // an invocation begins; the extension runs beside it
	Shutdown Kind = "SHUTDOWN" // the environment ends
)

const (
	path             = "/2020-01-01/extension"
	nameHeader       = "Lambda-Extension-Name"
	identifierHeader = "Lambda-Extension-Identifier"
	featureHeader    = "Lambda-Extension-Accept-Feature"
	maxAnswerBytes   = 1 << 16
)

// An Event is what Lambda answers to who asks for the next.
type Event struct {
	Kind Kind `json:"eventType"`
	// DeadlineMillis is when the time for this event is over, in milliseconds of Unix time.
	DeadlineMillis int64 `json:"deadlineMs"`
	// FunctionARN is under which ARN the function was invoked.
	FunctionARN string `json:"invokedFunctionArn"`
	// Reason is why the environment ends: SPINDOWN, TIMEOUT or FAILURE.
	Reason string `json:"shutdownReason"`
}

// Deadline is when the time for this event is over.
func (e Event) Deadline() time.Time { return time.UnixMilli(e.DeadlineMillis) }

// A Client is a registered extension.
type Client struct {
	// Account is the id of the account that the function is in; empty if Lambda did not tell.
	Account string

	base, identifier string
	http             *http.Client
}

// Register registers an extension, by the name of its file, for events. Lambda starts the function's runtime once every
// extension has registered. api is AWS_LAMBDA_RUNTIME_API.
func Register(ctx context.Context, api, name string, events ...Kind) (*Client, error) {
	// No proxy that a function has set stands between it and Lambda.
	c := &Client{base: "http://" + api + path, http: &http.Client{Transport: &http.Transport{}}}
	body, err := json.Marshal(map[string][]Kind{"events": events})
	if err != nil {
		return nil, fmt.Errorf("encoding the registration: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/register", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("registering: %w", err)
	}
	request.Header.Set(nameHeader, name)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(featureHeader, "accountId")
	header, answer, err := c.do(request)
	if err != nil {
		return nil, fmt.Errorf("registering the extension %s: %w", name, err)
	}
	if c.identifier = header.Get(identifierHeader); c.identifier == "" {
		return nil, fmt.Errorf("registering the extension %s: %w", name, errNoIdentifier)
	}
	var function struct {
		AccountID string `json:"accountId"`
	}
	if json.Unmarshal(answer, &function) == nil { // nothing in it is needed
		c.Account = function.AccountID
	}
	return c, nil
}

var errNoIdentifier = errors.New("lambda gave it no identifier")

// Next waits for the next event. The first call says that the extension is ready; each later one that it has nothing more
// to do, so that the environment may be frozen.
func (c *Client) Next(ctx context.Context) (Event, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/event/next", nil)
	if err != nil {
		return Event{}, fmt.Errorf("asking for the next event: %w", err)
	}
	request.Header.Set(identifierHeader, c.identifier)
	_, body, err := c.do(request)
	if err != nil {
		return Event{}, fmt.Errorf("asking for the next event: %w", err)
	}
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, fmt.Errorf("decoding an event: %w", err)
	}
	return e, nil
}

func (c *Client) do(request *http.Request) (http.Header, []byte, error) {
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("lambda answered with HTTP status %d: %.200s", answer.StatusCode, body)
	}
	return answer.Header, body, nil
}
