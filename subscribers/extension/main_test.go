package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// TestCredentialsOfAnEndpointAreLookedUpAgain: those of a SnapStart function change, those in variables do not.
func TestCredentialsOfAnEndpointAreLookedUpAgain(t *testing.T) {
	var number, lookups atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		lookups.Add(1)
		fmt.Fprintf(w, `{"AccessKeyId":"AKID%[1]d","SecretAccessKey":"key","Token":"token-%[1]d","Expiration":"2100-01-01T00:00:00Z"}`, number.Load())
	}))
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		env     map[string]string
		renewed bool
	}{
		"endpoint":  {map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL}, true},
		"variables": {map[string]string{"AWS_ACCESS_KEY_ID": "AKID0", "AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "token-0"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			number.Store(0)
			lookups.Store(0)
			for _, variable := range []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
				t.Setenv(variable, c.env[variable])
			}
			t.Setenv("AWS_REGION", "eu-west-2")
			_, handler, err := newEndpoint(t.Context(), settings{ttl: 1, maxSecrets: 1})
			if err != nil {
				t.Fatal(err)
			}
			if n := lookups.Load(); n != 0 {
				t.Errorf("%d look-ups before anybody asked", n)
			}
			accepts := func(token string) bool {
				request := httptest.NewRequest(http.MethodGet, "/none", nil)
				request.Header.Set("X-Aws-Parameters-Secrets-Token", token)
				answer := httptest.NewRecorder()
				handler.ServeHTTP(answer, request)
				return answer.Code == http.StatusNotFound
			}
			if !accepts("token-0") || accepts("token-1") {
				t.Error("the first token is not the one that is accepted")
			}
			number.Store(1)
			if got := accepts("token-1"); got != c.renewed {
				t.Errorf("the new token is accepted: %t, want %t", got, c.renewed)
			}
		})
	}
}
