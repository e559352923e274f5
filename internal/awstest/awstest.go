// Package awstest is how tests reach a third party's emulator of AWS, which make test starts beside them. Nothing but tests
// may import it.
package awstest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Region is the one that tests are in.
const Region = "eu-west-2"

// URL returns where the emulator answers. Without one the test fails.
func URL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("MINISTACK_ENDPOINT")
	if url == "" {
		t.Fatal("MINISTACK_ENDPOINT is not set: run `make test`, which starts the emulator")
	}
	return url
}

// Config returns what makes a client of the emulator, in an account that nobody else uses. Nothing is tried again: what the
// emulator has done once, such as creating something, has another answer the second time.
func Config(t testing.TB) (on aws.Config, account string) {
	t.Helper()
	account = fmt.Sprintf("7%011d", rand.Int64N(1e11)) //nolint:gosec // a number that is unlikely to be taken, no secret
	url := URL(t)
	return aws.Config{
		Region: Region, BaseEndpoint: &url, HTTPClient: Client(), Credentials: credentials.NewStaticCredentialsProvider(account, "placeholder", ""),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}, account
}

// Client returns a client that sends a request's header and body in one write, on a connection of its own.
//
// The SDK's request body is not one that net/http knows to be in memory, so it writes header and body apart and asks the
// body for more after that. A quick server has answered by then, and now and then, on a busy machine, the answer is lost
// ("use of closed network connection").
func Client() *http.Client {
	return &http.Client{Transport: wholeRequests{&http.Transport{DisableKeepAlives: true}}}
}

type wholeRequests struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (w wholeRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	whole := r.Clone(r.Context())
	if r.Body != nil {
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		whole.Body = io.NopCloser(bytes.NewReader(body))
	}
	return w.next.RoundTrip(whole)
}
