package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/history/historytest"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// TestTheOldCredentialGoesWhenNobodyUsesIt: not while a service cannot use the new one.
func TestTheOldCredentialGoesWhenNobodyUsesIt(t *testing.T) {
	const secret = "neon/connection-string"
	h := historytest.New(t)
	host, err := functions.New(functions.Config{Region: historytest.Region, AccountID: historytest.Account})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	if err := host.Deploy(functions.Function{Name: "payments-api", Command: []string{"false"}, Aliases: []string{"live"}}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") == "" {
			http.Redirect(out, r, host.Endpoint()+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			return
		}
		h.Tables.ServeHTTP(out, r)
	}))
	t.Cleanup(server.Close)
	reader, err := newHistory(aws.Config{
		Region: historytest.Region, BaseEndpoint: &server.URL, HTTPClient: http.DefaultClient,
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := rotation{history: reader}

	row := h.Moved(secret, 1, time.Now().Add(-time.Hour))
	h.Deliver(row, historytest.Acked(row, "payments-api", "7f3c01", time.Second, wire.Applied))
	if err := r.mayRevoke(t.Context(), historytest.Name(secret), historytest.Version(1)); err != nil {
		t.Error(err)
	}
	row = h.Moved(secret, 2, time.Now().Add(-time.Hour))
	h.Deliver(row, historytest.Owed(row, "payments-api", time.Second, invalidation.Undelivered, invalidation.NotApplied))
	err = r.mayRevoke(t.Context(), historytest.Name(secret), historytest.Version(2))
	if !errors.Is(err, history.ErrNotYet) || !strings.Contains(err.Error(), "payments-api: the push to payments-api failed: not-applied") {
		t.Errorf("got %v", err)
	}
}
