package tablestest

import (
	"bytes"
	"io"
	"net/http"
)

// wholeRequests sends a request's header and body in one write, on a
// connection of its own.
//
// The SDK's request body is not one that net/http knows to be in memory, so it
// writes header and body apart and asks the body for more after that. A quick
// server has answered by then, and now and then, on a busy machine, the answer
// is lost ("use of closed network connection"). Retrying would hide that, but
// the second execution of a conditional write has another answer.
type wholeRequests struct{ next http.RoundTripper }

func newWholeRequests() wholeRequests {
	return wholeRequests{&http.Transport{DisableKeepAlives: true}}
}

// RoundTrip implements http.RoundTripper.
func (w wholeRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	whole := r.Clone(r.Context())
	whole.Body = io.NopCloser(bytes.NewReader(body))
	return w.next.RoundTrip(whole)
}
