package main

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	// trustIdleFor is how long an unused connection is believed to be alive: while the function is frozen the other end may
	// drop it in silence.
	trustIdleFor = 20 * time.Second
	// callTimeout bounds one try of a call to DynamoDB, or of DescribeSecret, so that one which hangs leaves time for another.
	callTimeout = 900 * time.Millisecond
	// listTimeout is the same for what may rightly take longer: a page of ListSecrets, and a look at a function.
	listTimeout = 5 * time.Second
)

// newClient returns an HTTP client for a function that is frozen most of the time. Enough idle connections are kept for
// every push of a fan-out: the SDK's own 10 would close and reopen the rest each time.
func newClient(maxPushes int) *wary {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, maxPushes)
		t.MaxIdleConns = max(t.MaxIdleConns, 2*maxPushes)
	}).GetTransport()
	return &wary{client: &http.Client{Transport: transport}, now: time.Now}
}

// A wary client gives up connections that were not used for long. It is safe for concurrent use.
type wary struct {
	client   *http.Client
	now      func() time.Time
	lastUsed atomic.Int64 // by the wall clock: the monotonic one may stand still while the function is frozen
}

// Do implements aws.HTTPClient.
func (w *wary) Do(r *http.Request) (*http.Response, error) {
	now := w.now().UnixNano()
	if idle := time.Duration(now - w.lastUsed.Swap(now)); idle > trustIdleFor || idle < 0 {
		w.client.CloseIdleConnections()
	}
	return w.client.Do(r)
}

// limited bounds each try of a call, its answer's body included. The SDK tries again.
type limited struct {
	client aws.HTTPClient
	to     time.Duration
}

// Do implements aws.HTTPClient.
func (l limited) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), l.to)
	response, err := l.client.Do(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = ending{response.Body, cancel}
	return response, nil
}

// ending ends a request's context when its answer has been read.
type ending struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (e ending) Close() error {
	defer e.cancel()
	return e.ReadCloser.Close()
}
