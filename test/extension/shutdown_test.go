//go:build linux

package extension_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/test/cloud"
)

// TestARequestUnderWayAtTheEnd is answered until the event's deadline; the extension ends well, whether it could be or not.
func TestARequestUnderWayAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		name     string
		deadline time.Duration
		answered bool
	}{{"in time", patience, true}, {"too late", 200 * time.Millisecond, false}} {
		t.Run(c.name, func(t *testing.T) {
			w := cloud.New(t)
			w.Put(cloud.Password, canary)
			x := startAlone(t, w)
			release := w.Hold()
			defer release()
			answered := make(chan answer, 1)
			go func() { answered <- x.read(t.Context()) }()
			for len(w.Called()) == 0 { // until the extension has asked Secrets Manager for it
				time.Sleep(time.Millisecond)
			}
			x.shutdown <- time.Now().Add(c.deadline)
			if c.answered {
				for x.listens() { // it takes no more requests
					time.Sleep(time.Millisecond)
				}
				release()
			}
			a := <-answered
			if got := strings.Contains(a.Body, canary); got != c.answered {
				t.Errorf("answered: %t, want %t: %+v", got, c.answered, a)
			}
			if err := x.process.Wait(); err != nil {
				t.Errorf("it ended with %v\n%s", err, x.out)
			}
			if told := strings.Contains(x.out.String(), "the environment ends before a request is answered"); told == c.answered {
				t.Errorf("it said:\n%s", x.out)
			}
		})
	}
}

// An alone is an extension without a function: the test is Lambda.
type alone struct {
	process  *exec.Cmd
	address  string
	out      *output
	shutdown chan time.Time // tells it that the environment ends, and by when
}

func startAlone(t *testing.T, c *cloud.Cloud) *alone {
	t.Helper()
	x := &alone{out: &output{}, shutdown: make(chan time.Time)}
	lambda := http.NewServeMux()
	lambda.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Lambda-Extension-Identifier", "example-id")
		fmt.Fprint(w, `{}`)
	})
	ready := make(chan struct{})
	lambda.HandleFunc("GET /2020-01-01/extension/event/next", func(w http.ResponseWriter, r *http.Request) {
		close(ready)
		select {
		case deadline := <-x.shutdown:
			fmt.Fprintf(w, `{"eventType":"SHUTDOWN","shutdownReason":"SPINDOWN","deadlineMs":%d}`, deadline.UnixMilli())
		case <-r.Context().Done():
		}
	})
	api := httptest.NewServer(lambda)
	t.Cleanup(api.Close)
	variables := append(c.Variables(), portOf(t)...)
	x.address = strings.TrimPrefix(variables[len(variables)-1], "AWS_ENDPOINT_URL=http://")
	x.process = exec.CommandContext(t.Context(), os.Getenv(extensionVariable))
	x.process.Env = append(variables, "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(api.URL, "http://"), "AWS_REGION="+cloud.Region,
		"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_SESSION_TOKEN=c", "POWERTOOLS_SERVICE_NAME=payments-api")
	x.process.Stdout, x.process.Stderr = x.out, x.out
	if err := x.process.Start(); err != nil {
		t.Fatal(err)
	}
	<-ready
	return x
}

// read reads the secret as code for AWS's extension does.
func (x *alone) read(ctx context.Context) answer {
	return readFrom(ctx, "http://"+x.address, "c", cloud.Password)
}

func (x *alone) listens() bool {
	connection, err := net.Dial("tcp", x.address)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}
