package endpoint_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/bank-platform/secret-broadcaster/subscribers/extension/endpoint"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// signedBy returns the headers of a request of Secrets Manager's protocol, signed.
func signedBy(t testing.TB, c aws.Credentials, at time.Time, operation, body, service, region string) []string {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", "secretsmanager."+operation)
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(context.Background(), c, request, hex.EncodeToString(sum[:]), service, region, at); err != nil {
		t.Fatal(err)
	}
	var headers []string
	for name := range request.Header {
		headers = append(headers, name, request.Header.Get(name))
	}
	return headers
}

// signed are the headers of a request that the function has signed.
func (w *world) signed(operation, body string) []string {
	w.t.Helper()
	return signedBy(w.t, ownCredentials(), time.Now(), operation, body, "secretsmanager", region)
}

// verify returns an error if a request is not signed by the function.
func verify(r *http.Request, body, region string) error {
	got := r.Header.Get("Authorization")
	again := httptest.NewRequest(r.Method, r.URL.String(), bytes.NewReader([]byte(body)))
	again.Header = r.Header.Clone()
	again.Header.Del("Authorization")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(context.Background(), ownCredentials(), again, hex.EncodeToString(sum[:]), "secretsmanager", region, at); err != nil {
		return err
	}
	if want := again.Header.Get("Authorization"); got != want {
		return fmt.Errorf("it is signed %q, want %q", got, want)
	}
	return nil
}

// TestOnlyThisFunctionsOwnRequestsAreAnswered: a forged request of another process gets nothing.
func TestOnlyThisFunctionsOwnRequestsAreAnswered(t *testing.T) {
	w := newWorld(t)
	w.put(password, canary)
	body := `{"SecretId":"` + password + `"}`
	now := time.Now()
	other := ownCredentials()
	other.SecretAccessKey = "another-key"
	stranger := other
	stranger.AccessKeyID = "AKIDSTRANGER"
	without := func(headers []string, name string) []string {
		for i := 0; i < len(headers); i += 2 {
			if headers[i] == name {
				return append(append([]string{}, headers[:i]...), headers[i+2:]...)
			}
		}
		t.Fatalf("no header %s", name)
		return nil
	}
	own := w.signed("GetSecretValue", body)
	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
		kind    string // "": it is answered
	}{
		"signed":               {body, own, 200, ""},
		"not signed":           {body, without(own, "Authorization"), 400, "MissingAuthenticationTokenException"},
		"not this way":         {body, append(without(own, "Authorization"), "Authorization", "Bearer "+token), 400, "IncompleteSignatureException"},
		"half a signature":     {body, append(without(own, "Authorization"), "Authorization", "AWS4-HMAC-SHA256 Credential=a/b"), 400, "IncompleteSignatureException"},
		"without a date":       {body, without(own, "X-Amz-Date"), 400, "IncompleteSignatureException"},
		"with another key":     {body, signedBy(t, other, now, "GetSecretValue", body, "secretsmanager", region), 400, "InvalidSignatureException"},
		"by a stranger":        {body, signedBy(t, stranger, now, "GetSecretValue", body, "secretsmanager", region), 400, "UnrecognizedClientException"},
		"for another service":  {body, signedBy(t, ownCredentials(), now, "GetSecretValue", body, "s3", region), 400, "IncompleteSignatureException"},
		"another body":         {`{"SecretId":"/other"}`, own, 400, "InvalidSignatureException"},
		"another operation":    {body, append(without(own, "X-Amz-Target"), "X-Amz-Target", "secretsmanager.DeleteSecret"), 400, "InvalidSignatureException"},
		"a moment ago":         {body, signedBy(t, ownCredentials(), now.Add(-4*time.Minute), "GetSecretValue", body, "secretsmanager", region), 200, ""},
		"long ago":             {body, signedBy(t, ownCredentials(), now.Add(-6*time.Minute), "GetSecretValue", body, "secretsmanager", region), 400, "InvalidSignatureException"},
		"long from now":        {body, signedBy(t, ownCredentials(), now.Add(6*time.Minute), "GetSecretValue", body, "secretsmanager", region), 400, "InvalidSignatureException"},
		"forwarded by a proxy": {body, append(own, "X-Forwarded-For", "192.0.2.1"), 400, "Forwarded"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer, _ := w.ask(http.MethodPost, "/", c.body, c.headers...)
			if status != c.status || !strings.Contains(answer, c.kind) || strings.Contains(answer, canary) != (c.kind == "") {
				t.Errorf("got %d %s, want %d %s", status, answer, c.status, c.kind)
			}
		})
	}
	if status, answer, _ := w.ask(http.MethodGet, "/", body, own...); status != 400 || !strings.Contains(answer, "UnknownOperationException") {
		t.Errorf("got, not posted: %d %s", status, answer)
	}
}

// rotating are credentials that change, as a SnapStart function's do: what is asked for is cached until it is invalidated.
type rotating struct {
	mu           sync.Mutex
	cached, next aws.Credentials
	lookups      int
	err          error
}

func (r *rotating) Retrieve(context.Context) (aws.Credentials, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cached.AccessKeyID == "" && r.err == nil {
		r.lookups++
		r.cached = r.next
	}
	return r.cached, r.err
}

func (r *rotating) Invalidate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cached = aws.Credentials{}
}

// TestCredentialsThatAreReplaced: function and extension learn of new ones at different times.
func TestCredentialsThatAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := ownCredentials(), aws.Credentials{AccessKeyID: "AKIDTWO", SecretAccessKey: "two", SessionToken: "token-two"}
		three := aws.Credentials{AccessKeyID: "AKIDTHREE", SecretAccessKey: "three", SessionToken: "token-three"}
		provider := &rotating{next: one}
		w := newWorld(t, func(cfg *endpoint.Config, _ *secretcache.Config) {
			cfg.Credentials, cfg.Tokens = provider, []string{"container-token"}
		})
		w.put(password, "first")
		body := `{"SecretId":"` + password + `"}`
		bySignature := func(c aws.Credentials) (status int) {
			status, _, _ = w.ask(http.MethodPost, "/", body, signedBy(t, c, time.Now(), "GetSecretValue", body, "secretsmanager", region)...)
			return status
		}
		byToken := func(c aws.Credentials) (status int) {
			status, _, _ = w.ask(http.MethodGet, "/v1/"+password, "", "X-Aws-Parameters-Secrets-Token", c.SessionToken)
			return status
		}
		want := func(c aws.Credentials, accepted bool, by ...func(aws.Credentials) int) {
			t.Helper()
			for _, ask := range by {
				if status := ask(c); (status == 200) != accepted {
					t.Errorf("%s: got %d", c.AccessKeyID, status)
				}
			}
		}
		want(one, true, bySignature, byToken)
		want(two, false, bySignature, byToken)
		provider.next = two
		want(two, false, bySignature, byToken) // somebody came with unknown ones just now
		time.Sleep(time.Second)
		want(two, true, bySignature, byToken) // the function knows of the new ones first
		want(one, true, bySignature, byToken) // and another process of it later
		provider.next = three
		time.Sleep(time.Second)
		want(three, true, byToken, bySignature)
		want(one, false, byToken, bySignature)
		if provider.lookups != 4 {
			t.Errorf("%d lookups, want 4", provider.lookups)
		}
		for range 100 {
			want(one, false, byToken, bySignature)
		}
		if provider.lookups != 4 {
			t.Errorf("%d lookups: strangers cause one a second at the most", provider.lookups)
		}
		provider.err = errors.New("not to be had")
		if status, _, _ := w.ask(http.MethodGet, "/v1/"+password, "", "X-Aws-Parameters-Secrets-Token", "container-token"); status != 200 {
			t.Errorf("the container's token: got %d", status)
		}
		want(aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "none", SessionToken: "none"}, false, byToken, bySignature)
	})
}

// TestWithoutASessionTokenNobodyHasOne: long-lived keys have none, and an empty token is none.
func TestWithoutASessionTokenNobodyHasOne(t *testing.T) {
	w := newWorld(t, func(cfg *endpoint.Config, _ *secretcache.Config) {
		cfg.Credentials, cfg.Tokens = &rotating{next: aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "key"}}, []string{""}
	})
	w.put(password, "first")
	for _, headers := range [][]string{nil, {"X-Aws-Parameters-Secrets-Token", ""}, {"X-Vault-Token", ""}} {
		if status, _, _ := w.ask(http.MethodGet, "/v1/"+password, "", headers...); status != 403 {
			t.Errorf("%v: got %d", headers, status)
		}
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	_, err := endpoint.New(endpoint.Config{})
	for _, name := range []string{"Cache", "Credentials", "Region", "URL", "Client"} {
		if err == nil || !strings.Contains(err.Error(), name+" is missing") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}
