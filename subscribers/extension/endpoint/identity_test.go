package endpoint_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/bank-platform/secret-broadcaster/subscribers/extension/endpoint"
)

// lambda has the function's credentials, as its credentials endpoint has those of a SnapStart function.
type lambda struct {
	mu      sync.Mutex
	current aws.Credentials
	lookups int
	err     error
	hangs   bool
}

// Retrieve implements aws.CredentialsProvider.
func (l *lambda) Retrieve(context.Context) (aws.Credentials, error) {
	l.mu.Lock()
	l.lookups++
	c, err, hangs := l.current, l.err, l.hangs
	l.mu.Unlock()
	if hangs { // the SDK's cache does not tell it when nobody waits any more
		time.Sleep(time.Minute)
	}
	return c, err
}

func (l *lambda) set(c aws.Credentials, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current, l.err = c, err
}

// since returns how often credentials were looked up since it was called last.
func (l *lambda) since() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.lookups = 0 }()
	return l.lookups
}

func (l *lambda) identity(tokens ...string) *endpoint.Identity {
	return endpoint.NewIdentity(aws.NewCredentialsCache(l), aws.NewCredentialsCache(l), tokens...)
}

// credentialsOf are credentials that differ from those with another number.
func credentialsOf(number string) aws.Credentials {
	return aws.Credentials{AccessKeyID: "AKID" + number, SecretAccessKey: "key-" + number, SessionToken: "token-" + number}
}

// errEndpoint is what the SDK's client of the credentials endpoint returns: an answer of another API than Secrets Manager's.
func errEndpoint() error {
	return &smithy.GenericAPIError{Code: "Unavailable", Message: "not to be had"}
}

// signedAs asks with a signature.
func (w *world) signedAs(c aws.Credentials, operation, body string) (status int, answer string) {
	w.t.Helper()
	status, answer, _ = w.ask(http.MethodPost, "/", body, signedBy(w.t, c, time.Now(), operation, body, "secretsmanager", region)...)
	return status, answer
}

func readBody() string { return `{"SecretId":"` + password + `"}` }

func (w *world) bySignature(c aws.Credentials) int {
	status, _ := w.signedAs(c, "GetSecretValue", readBody())
	return status
}

func (w *world) byToken(c aws.Credentials) int {
	status, _, _ := w.ask(http.MethodGet, "/v1/"+password, "", "X-Aws-Parameters-Secrets-Token", c.SessionToken)
	return status
}

// TestCredentialsThatAreReplaced: function and extension learn of new ones at different times.
func TestCredentialsThatAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, three := credentialsOf("1"), credentialsOf("2"), credentialsOf("3")
		l := &lambda{current: one}
		w := newWorldOf(t, l.identity("container-token"))
		w.put(password, "first")
		want := func(c aws.Credentials, accepted bool, by ...func(aws.Credentials) int) {
			t.Helper()
			for _, ask := range by {
				if status := ask(c); (status == 200) != accepted {
					t.Errorf("%s: got %d", c.AccessKeyID, status)
				}
			}
		}
		want(one, true, w.bySignature, w.byToken)
		want(two, false, w.bySignature, w.byToken)
		l.set(two, nil)
		want(two, true, w.bySignature, w.byToken) // the function knows of the new ones first, and right after a stranger
		want(one, true, w.bySignature, w.byToken) // and another process of it later
		w.called()
		if status, _ := w.signedAs(two, "ListSecrets", "{}"); status != 200 || !strings.Contains(w.called()[0].request.Header.Get("Authorization"), two.AccessKeyID) {
			t.Errorf("not passed on with the new credentials: %d", status)
		}
		l.set(three, nil)
		want(three, true, w.byToken, w.bySignature)
		want(one, false, w.byToken, w.bySignature)
		l.set(aws.Credentials{}, errEndpoint())
		if status, _, _ := w.ask(http.MethodGet, "/v1/"+password, "", "X-Aws-Parameters-Secrets-Token", "container-token"); status != 200 {
			t.Errorf("the container's token: got %d", status)
		}
		want(credentialsOf("4"), false, w.byToken, w.bySignature)
	})
}

// TestStrangersDoNotHarmTheFunction: neither by a look-up that fails after them, or hangs, nor by being many.
func TestStrangersDoNotHarmTheFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, stranger := credentialsOf("1"), credentialsOf("2"), credentialsOf("stranger")
		l := &lambda{current: one}
		w := newWorldOf(t, l.identity())
		w.put(password, "first")
		served := func(c aws.Credentials) {
			t.Helper()
			began := time.Now()
			if status, answer := w.signedAs(c, "ListSecrets", "{}"); status != 200 || time.Since(began) > 2*time.Second {
				t.Errorf("%s: got %d %s after %v", c.AccessKeyID, status, answer, time.Since(began))
			}
		}
		served(one)
		l.set(aws.Credentials{}, errEndpoint())
		if status, answer := w.signedAs(stranger, "GetSecretValue", readBody()); status != 503 || !strings.Contains(answer, "ServiceUnavailable") {
			t.Errorf("a stranger while credentials cannot be had: got %d %s", status, answer)
		}
		served(one)

		l.set(one, nil)
		l.since()
		const strangers = 1000
		var wg sync.WaitGroup
		statuses := make([]int, strangers)
		for n := range statuses {
			wg.Go(func() { statuses[n] = w.bySignature(stranger) })
		}
		synctest.Wait() // for them all to wait for the look-up
		served(one)
		wg.Wait()
		refused := 0
		for _, status := range statuses {
			if status == 400 {
				refused++
			}
		}
		if refused != 400 {
			t.Errorf("%d waited for a look-up, want 400: half of the requests that are answered at once", refused)
		}
		if n := l.since(); n > 2 {
			t.Errorf("%d look-ups for %d strangers at once", n, strangers)
		}
		began := time.Now()
		for range 20 {
			w.byToken(stranger)
		}
		if n, took := l.since(), time.Since(began); took < time.Duration(n-1)*100*time.Millisecond {
			t.Errorf("%d look-ups in %v", n, took)
		}

		w.byToken(stranger)
		l.set(two, nil)
		served(two)

		l.mu.Lock()
		l.hangs = true
		l.mu.Unlock()
		wg.Go(func() { w.byToken(stranger) })
		synctest.Wait()
		served(two)
		wg.Wait()
		time.Sleep(time.Minute) // until the look-up has ended
	})
}

// TestCredentialsThatCannotBeHad: those that are known are enough to answer from the cache; whether others are this
// function's nobody can say then, so that its client has to ask again.
func TestCredentialsThatCannotBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lambda{err: errEndpoint()}
		w := newWorldOf(t, l.identity("container-token"))
		w.put(password, "first")
		want := func(c aws.Credentials, operation, body string, wantStatus int, wantAnswer string) {
			t.Helper()
			if status, answer := w.signedAs(c, operation, body); status != wantStatus || !strings.Contains(answer, wantAnswer) {
				t.Errorf("%s by %s: got %d %s, want %d %s", operation, c.AccessKeyID, status, answer, wantStatus, wantAnswer)
			}
		}
		own, other := ownCredentials(), credentialsOf("other")
		want(own, "GetSecretValue", readBody(), 503, `"__type":"ServiceUnavailable"`) // at the start there are none
		status, answer, _ := w.ask(http.MethodGet, "/v1/"+password, "", "X-Aws-Parameters-Secrets-Token", "container-token")
		if status != 503 || !strings.Contains(answer, `"__type":"ServiceUnavailable"`) {
			t.Errorf("a cold read: got %d %s", status, answer)
		}

		expiring := own
		expiring.CanExpire, expiring.Expires = true, time.Now().Add(time.Minute)
		l.set(expiring, nil)
		want(own, "GetSecretValue", readBody(), 200, `"first"`)
		want(other, "GetSecretValue", readBody(), 400, `"__type":"UnrecognizedClientException"`)

		time.Sleep(time.Minute)
		l.set(aws.Credentials{}, errEndpoint())
		want(own, "GetSecretValue", readBody(), 200, `"first"`)
		want(own, "GetSecretValue", `{"SecretId":"`+password+`-cold"}`, 503, `"__type":"ServiceUnavailable"`)
		want(own, "BatchGetSecretValue", `{"SecretIdList":["`+password+`-cold"]}`, 503, `"__type":"ServiceUnavailable"`)
		want(other, "GetSecretValue", readBody(), 503, `"__type":"ServiceUnavailable"`)
		want(own, "ListSecrets", `{}`, 503, `"__type":"ServiceUnavailable"`) // nothing can be signed anew
		if logs := w.logged.take(); !strings.Contains(logs, "not to be had") {
			t.Errorf("why is not told: %s", logs)
		}
	})
}

// TestWhoeverAsksMayGo: it does not wait for a look-up then.
func TestWhoeverAsksMayGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lambda{current: credentialsOf("1")}
		w := newWorldOf(t, l.identity())
		w.byToken(credentialsOf("1"))
		l.mu.Lock()
		l.hangs = true
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/"+password, nil)
		request.Header.Set("X-Aws-Parameters-Secrets-Token", "token-stranger")
		began := time.Now()
		w.endpoint.ServeHTTP(httptest.NewRecorder(), request)
		if took := time.Since(began); took != time.Second {
			t.Errorf("it waited for %v", took)
		}
		time.Sleep(time.Minute) // until the look-up has ended
	})
}

// TestWithoutASessionTokenNobodyHasOne: long-lived keys have none, and an empty token is none.
func TestWithoutASessionTokenNobodyHasOne(t *testing.T) {
	l := &lambda{current: aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "key"}}
	w := newWorldOf(t, l.identity(""))
	w.put(password, "first")
	for _, headers := range [][]string{nil, {"X-Aws-Parameters-Secrets-Token", ""}, {"X-Vault-Token", ""}} {
		if status, _, _ := w.ask(http.MethodGet, "/v1/"+password, "", headers...); status != 403 {
			t.Errorf("%v: got %d", headers, status)
		}
	}
}
