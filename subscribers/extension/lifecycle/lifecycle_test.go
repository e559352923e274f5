package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/extension/lifecycle"
)

// lambda answers registrations and requests for events.
func lambda(t *testing.T, register, next http.HandlerFunc) (api string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2020-01-01/extension/register", register)
	mux.HandleFunc("GET /2020-01-01/extension/event/next", next)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func registers(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Lambda-Extension-Name") != "secret-broadcaster" || r.Header.Get("Lambda-Extension-Accept-Feature") != "accountId" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Lambda-Extension-Identifier", "example-id")
	fmt.Fprint(w, `{"functionName":"a","functionVersion":"1","handler":"b","accountId":"111122223333"}`)
}

func TestEvents(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://proxy.test") // of the function
	events := []string{
		`{"eventType":"INVOKE","deadlineMs":1795428000713,"requestId":"1","invokedFunctionArn":"arn:of:the:function","tracing":{}}`,
		`{"eventType":"SHUTDOWN","shutdownReason":"SPINDOWN","deadlineMs":1795428000713}`,
		`[]`,
	}
	n := 0
	api := lambda(t, registers, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Lambda-Extension-Identifier") != "example-id" {
			t.Errorf("it calls itself %q", r.Header.Get("Lambda-Extension-Identifier"))
		}
		fmt.Fprint(w, events[n])
		n++
	})
	client, err := lifecycle.Register(t.Context(), api, "secret-broadcaster", lifecycle.Invoke, lifecycle.Shutdown)
	if err != nil {
		t.Fatal(err)
	}
	if client.Account != "111122223333" {
		t.Errorf("the account is %q", client.Account)
	}
	invoke, err := client.Next(t.Context())
	if want := time.Date(2026, time.November, 23, 10, 0, 0, 713e6, time.UTC); err != nil || invoke.Kind != lifecycle.Invoke ||
		invoke.FunctionARN != "arn:of:the:function" || !invoke.Deadline().Equal(want) {
		t.Errorf("got %+v, %v", invoke, err)
	}
	if end, err := client.Next(t.Context()); err != nil || end.Kind != lifecycle.Shutdown || end.Reason != "SPINDOWN" {
		t.Errorf("got %+v, %v", end, err)
	}
	if _, err := client.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "decoding an event") {
		t.Errorf("got %v", err)
	}
}

func TestWhatLambdaRefusesIsTold(t *testing.T) {
	refuses := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errorType":"Extension.InvalidEventType"}`)
	}
	_, err := lifecycle.Register(t.Context(), lambda(t, refuses, refuses), "secret-broadcaster", lifecycle.Invoke)
	if err == nil || !strings.Contains(err.Error(), `registering the extension secret-broadcaster: lambda answered with HTTP status 403: {"errorType":"Extension.InvalidEventType"}`) {
		t.Errorf("got %v", err)
	}
	silent := func(http.ResponseWriter, *http.Request) {}
	if _, err := lifecycle.Register(t.Context(), lambda(t, silent, refuses), "secret-broadcaster"); err == nil || !strings.Contains(err.Error(), "no identifier") {
		t.Errorf("got %v", err)
	}
	client, err := lifecycle.Register(t.Context(), lambda(t, registers, refuses), "secret-broadcaster")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "asking for the next event: lambda answered with HTTP status 403") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
