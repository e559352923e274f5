package endpoint_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/subscribers/extension/endpoint"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

const theirs = "arn:aws:secretsmanager:eu-west-2:999988887777:secret:" + password + "-abcdef"

// TestAnARNOfAnotherAccountIsReadEachTime by an SDK, as without this endpoint: no log tells of it, though it is called as the
// domain's secrets are. One's own comes from the cache as soon as it is known that it is.
func TestAnARNOfAnotherAccountIsReadEachTime(t *testing.T) {
	for name, tell := range map[string]bool{"before the own account is known": false, "Lambda has told the own account": true} {
		t.Run(name, func(t *testing.T) {
			var with *endpoint.Config
			w := newWorld(t, func(cfg *endpoint.Config, _ *secretcache.Config) { with = cfg })
			w.put(apiKey, canary)
			w.behind(func(r *http.Request) (*http.Response, error) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return nil, err
				}
				if !strings.Contains(string(body), theirs) {
					r.Body = io.NopCloser(bytes.NewReader(body))
					return w.vault.RoundTripper().RoundTrip(r)
				}
				answer := `{"ARN":"` + theirs + `","Name":"` + password + `","VersionId":"EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE","SecretString":"` + canary + `","VersionStages":["AWSCURRENT"],"CreatedDate":1795428000}`
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
			})
			if tell {
				with.Cache.InAccount(ownAccount(w))
			}
			client := w.client()
			wantCalls := func(id string, reads, want int) {
				t.Helper()
				w.called()
				for range reads {
					if _, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &id}); err != nil {
						t.Fatal(err)
					}
				}
				if got := len(w.called()); got != want {
					t.Errorf("%d reads made %d calls, want %d", reads, got, want)
				}
			}
			wantCalls(theirs, 3, 3)
			own := ownARN(w)
			if tell {
				wantCalls(own, 3, 1)
				return
			}
			wantCalls(own, 3, 3)
			wantCalls(apiKey, 1, 1) // which tells
			wantCalls(own, 3, 1)
			wantCalls(theirs, 3, 3)
		})
	}
}

const apiKey = "/bank/prod/payments/cards/api-key"

func ownARN(w *world) string {
	w.t.Helper()
	d, err := w.vault.DescribeSecret(apiKey)
	if err != nil {
		w.t.Fatal(err)
	}
	return d.ARN
}

func ownAccount(w *world) string { return strings.Split(ownARN(w), ":")[4] }
