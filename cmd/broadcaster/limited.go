package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

const (
	// callTimeout bounds one try of a call to DynamoDB, or of DescribeSecret, so that one which hangs leaves time for another.
	callTimeout = 900 * time.Millisecond
	// listTimeout is the same for what may rightly take longer: a page of ListSecrets, and a look at a function.
	listTimeout = 5 * time.Second
)

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
