package endpoint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// A conformance is a request of the HTTP API and what AWS's agent answers to it.
type conformance struct {
	name, method, path string
	headers            []string
	status             int
	body               string
}

// TestTheHTTPAPIAnswersAsAWSsAgent: statuses, bodies and the order of checks are those of AWS's agent
// (https://github.com/aws/aws-workload-credentials-provider).
func TestTheHTTPAPIAnswersAsAWSsAgent(t *testing.T) {
	w := newWorld(t)
	w.put(password, canary)
	own := []string{"X-Aws-Parameters-Secrets-Token", token}
	const get = "/secretsmanager/get"
	notFound := `{"__type":"ResourceNotFoundException","message":"Secrets Manager can't find the specified secret."}`
	for _, c := range []conformance{
		{"ping", "GET", "/ping", nil, 200, "healthy"},
		{"ping of a proxy", "GET", "/ping", []string{"X-Forwarded-For", "192.0.2.1"}, 200, "healthy"},
		{"ping posted", "POST", "/ping", own, 405, "Not allowed"},
		{"forwarded", "GET", get + "?secretId=" + password, append(own, "X-Forwarded-For", "192.0.2.1"), 400, "Forwarded"},
		{"forwarded, as the standard has it", "GET", get + "?secretId=" + password, append(own, "Forwarded", "for=192.0.2.1"), 400, "Forwarded"},
		{"forwarded, without a token", "GET", get, []string{"X-Forwarded-For", "192.0.2.1"}, 400, "Forwarded"},
		{"no token", "GET", get + "?secretId=" + password, nil, 403, "Bad Token"},
		{"empty token", "GET", get + "?secretId=" + password, []string{"X-Aws-Parameters-Secrets-Token", ""}, 403, "Bad Token"},
		{"wrong token", "GET", get + "?secretId=" + password, []string{"X-Aws-Parameters-Secrets-Token", token + "x"}, 403, "Bad Token"},
		{"wrong token, posted", "POST", get + "?secretId=" + password, []string{"X-Aws-Parameters-Secrets-Token", "x"}, 403, "Bad Token"},
		{"posted", "POST", get + "?secretId=" + password, own, 405, "Not allowed"},
		{"other path", "GET", "/other", own, 404, "Not found"},
		{"root", "GET", "/", own, 404, "Not found"},
		{"no id", "GET", get, own, 400, "missing parameter secretId"},
		{"empty id", "GET", get + "?secretId=", own, 400, "missing parameter secretId"},
		{"no id in the path", "GET", "/v1/", own, 400, "missing secret ID"},
		{"unknown parameter", "GET", get + "?secretId=" + password + "&k=1", own, 400, "unknown parameter: k"},
		{"an id beside the one in the path", "GET", "/v1/" + password + "?secretId=a", own, 400, "unknown parameter: secretId"},
		{"no boolean", "GET", get + "?secretId=" + password + "&refreshNow=yes", own, 400, "invalid refreshNow value"},
		{"a role", "GET", get + "?secretId=" + password + "&roleArn=a", own, 400, "roleArn is not supported: secrets are read with the function's own role"},
		{"no query", "GET", get + "?secretId=%zz", own, 400, "malformed query"},
		{"not found", "GET", get + "?secretId=/bank/prod/payments/none", own, 400, notFound},
		{"not found, outside", "GET", get + "?secretId=/none", own, 400, notFound},
		{"no such label", "GET", get + "?secretId=" + password + "&versionStage=AWSPENDING", own, 400, `{"__type":"ResourceNotFoundException",` +
			`"message":"Secrets Manager can't find the specified secret value for staging label: AWSPENDING"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body, _ := w.ask(c.method, c.path, "", c.headers...)
			if status != c.status || body != c.body {
				t.Errorf("got %d %s, want %d %s", status, body, c.status, c.body)
			}
		})
	}
}

func TestParametersAreForAWSsOwnExtension(t *testing.T) {
	w := newWorld(t)
	status, body, _ := w.get("/systemsmanager/parameters/get?name=a")
	if status != 404 || !strings.HasPrefix(body, "Not found: parameters are served by AWS's Parameters and Secrets extension") {
		t.Errorf("got %d %s", status, body)
	}
}

func TestTheBodyIsThatOfAWSsAgent(t *testing.T) {
	w := newWorld(t)
	id := w.put(password, `{"user":"<a&b>"}`)
	d, err := w.vault.DescribeSecret(password)
	if err != nil {
		t.Fatal(err)
	}
	millis := d.CreatedDate.UnixMilli()
	want := fmt.Sprintf(`{"ARN":%q,"Name":%q,"VersionId":%q,"SecretString":"{\"user\":\"<a&b>\"}","VersionStages":["AWSCURRENT"],"CreatedDate":"%d.%03d"}`,
		d.ARN, password, id, millis/1000, millis%1000)
	want = strings.TrimRight(strings.TrimSuffix(want, `"}`), "0") + `"}`
	want = strings.Replace(want, `."}`, `"}`, 1) // a whole second
	for _, path := range []string{
		"/secretsmanager/get?secretId=" + url.QueryEscape(password),
		"/secretsmanager/get?secretId=" + url.QueryEscape(d.ARN),
		"/secretsmanager/get?versionStage=AWSCURRENT&secretId=" + password,
		"/secretsmanager/get?secretId=" + password + "&versionId=" + id,
		"/v1/" + password,
		"/v1/" + password + "?refreshNow=TRUE",
		"/v1/" + password + "?versionId=" + id,
	} {
		status, body, header := w.get(path)
		if status != 200 || body != want {
			t.Errorf("%s: got %d %s\nwant %s", path, status, body, want)
		}
		if values := header.Values("Content-Type"); len(values) > 0 {
			t.Errorf("%s: its content type is %v, want none", path, values)
		}
	}
	if status, body, _ := w.ask("GET", "/v1/"+password, "", "X-Vault-Token", token); status != 200 || body != want {
		t.Errorf("with the other token header: got %d %s", status, body)
	}
}

func TestABinarySecret(t *testing.T) {
	w := newWorld(t)
	if _, err := w.vault.CreateSecret(secrets.CreateSecretInput{Name: password, SecretBinary: []byte{0, 255}}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/" + password, "/v1/" + password + "?versionStage=AWSCURRENT", "/v1/" + outside} {
		if strings.HasSuffix(path, outside) {
			if _, err := w.vault.CreateSecret(secrets.CreateSecretInput{Name: outside, SecretBinary: []byte{0, 255}}); err != nil {
				t.Fatal(err)
			}
			path += "?versionStage=AWSCURRENT"
		}
		_, body, _ := w.get(path)
		var got map[string]any
		if err := json.Unmarshal([]byte(body), &got); err != nil || got["SecretBinary"] != "AP8=" || got["SecretString"] != nil {
			t.Errorf("%s: got %s", path, body)
		}
	}
}

// TestAReadFollowsTheLog: what the extension is for.
func TestAReadFollowsTheLog(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	w.wantText("/v1/"+password, "first")
	w.put(password, "second")
	w.wantText("/v1/"+password, "first") // nothing has been announced
	w.announce(password)
	w.untilCheck()
	w.wantText("/v1/"+password, "second")
	if calls := w.called(); len(calls) != 2 {
		t.Errorf("Secrets Manager was called %d times, want twice: %v", len(calls), calls)
	}
	if _, err := w.vault.DeleteSecret(secrets.DeleteSecretInput{SecretID: password}); err != nil {
		t.Fatal(err)
	}
	w.announce(password)
	w.untilCheck()
	status, body, _ := w.get("/v1/" + password)
	if status != 400 || !strings.Contains(body, `"__type":"InvalidRequestException"`) || !strings.Contains(body, "marked for deletion") {
		t.Errorf("a deleted secret: got %d %s", status, body)
	}
}

func TestRefreshNowAsksAndCaches(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{password, outside} {
		w.put(name, "first")
		w.wantText("/v1/"+name, "first")
		w.put(name, "second")
		w.wantText("/v1/"+name, "first")
		w.wantText("/v1/"+name+"?refreshNow=false", "first")
		w.wantText("/v1/"+name+"?refreshNow=1", "second")
		w.wantText("/v1/"+name, "second")
	}
	if calls := w.called(); len(calls) != 4 {
		t.Errorf("Secrets Manager was called %d times, want 4: %v", len(calls), calls)
	}
}

// TestManyRefreshesAtOnce: each is answered with what Secrets Manager was asked for after it, which those share that came
// meanwhile.
func TestManyRefreshesAtOnce(t *testing.T) {
	for _, query := range []string{"?", "?versionStage=AWSPREVIOUS&"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.put(password, "first")
			w.put(password, "first")
			w.put(password, "second")
			w.wantText("/v1/"+password, "second")
			want := map[string]string{"?": "third", "?versionStage=AWSPREVIOUS&": "second"}[query]
			w.called()
			slow := func(r *http.Request) (*http.Response, error) {
				answer, err := w.vault.RoundTripper().RoundTrip(r) // as things are when it is asked
				time.Sleep(100 * time.Millisecond)
				return answer, err
			}
			w.behind(slow)
			var wg sync.WaitGroup
			wg.Go(func() { w.get("/v1/" + password + query + "refreshNow=true") })
			time.Sleep(10 * time.Millisecond)
			w.put(password, "third")
			for range 100 {
				wg.Go(func() { w.wantText("/v1/"+password+query+"refreshNow=true", want) })
				time.Sleep(100 * time.Microsecond)
			}
			wg.Wait()
			if calls := w.called(); len(calls) != 2 {
				t.Errorf("Secrets Manager was called %d times, want one call on its way and one after it", len(calls))
			}
		})
	}
}

// TestARefreshIsNotWaitedForWithoutEnd, also if what was asked for before it hangs as well.
func TestARefreshIsNotWaitedForWithoutEnd(t *testing.T) {
	for _, query := range []string{"?", "?versionStage=AWSPREVIOUS&"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.put(password, "first")
			w.put(password, "second")
			w.behind(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			go w.get("/v1/" + password + query + "refreshNow=true")
			time.Sleep(time.Second)
			began := time.Now()
			if status, body, _ := w.get("/v1/" + password + query + "refreshNow=true"); status != http.StatusGatewayTimeout {
				t.Errorf("got %d %s", status, body)
			}
			if took := time.Since(began); took > 2*secretcache.DefaultFetchTimeout {
				t.Errorf("it took %v, want %v at the most", took, 2*secretcache.DefaultFetchTimeout)
			}
			time.Sleep(time.Minute) // until nothing is on its way
		})
	}
}

// TestARefreshIsWaitedForAnewAfterAFreeze: the time in between is not Secrets Manager's.
func TestARefreshIsWaitedForAnewAfterAFreeze(t *testing.T) {
	for _, query := range []string{"?refreshNow=true", "?versionStage=AWSPREVIOUS&refreshNow=true"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.put(password, "first")
			w.put(password, "first")
			lost := true
			w.behind(func(r *http.Request) (*http.Response, error) {
				if lost {
					lost = false
					<-r.Context().Done() // the answer came while nobody ran
					return nil, r.Context().Err()
				}
				return w.vault.RoundTripper().RoundTrip(r)
			})
			time.AfterFunc(9*time.Second, func() { w.endpoint.Begin(t.Context())() })
			w.wantText("/v1/"+password+query, "first")
		})
	}
}

// TestARefreshThatFailsTakesNothingAway: it is answered with an error, as AWS's agent does, and what is cached stays.
func TestARefreshThatFailsTakesNothingAway(t *testing.T) {
	for _, query := range []string{"?", "?versionStage=AWSPREVIOUS&"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.put(password, "first")
			w.put(password, "first")
			w.wantText("/v1/"+password+query, "first")
			w.behind(w.refuses("ThrottlingException"))
			time.Sleep(time.Millisecond)
			if status, body, _ := w.get("/v1/" + password + query + "refreshNow=true"); status != 400 || !strings.Contains(body, "ThrottlingException") {
				t.Errorf("got %d %s", status, body)
			}
			w.wantText("/v1/"+password+query, "first")
		})
	}
}

// TestOtherVersionsAreKeptForTheirTTL: the log does not speak of them.
func TestOtherVersionsAreKeptForTheirTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.put(password, "first")
		w.put(password, "second")
		for range 2 {
			w.wantText("/v1/"+password+"?versionStage=AWSPREVIOUS", "first")
			w.wantText("/v1/"+password+"?versionId="+first, "first")
			w.wantText("/v1/"+password+"?versionId="+first+"&versionStage=AWSPREVIOUS", "first")
		}
		var asked []string
		for _, c := range w.called() {
			asked = append(asked, c.body)
		}
		want := []string{
			`{"SecretId":"` + password + `","VersionStage":"AWSPREVIOUS"}`,
			`{"SecretId":"` + password + `","VersionId":"` + first + `"}`,
			`{"SecretId":"` + password + `","VersionId":"` + first + `","VersionStage":"AWSPREVIOUS"}`,
		}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Error(diff)
		}
		w.put(password, "third")
		time.Sleep(5*time.Minute + time.Second)
		w.wantText("/v1/"+password+"?versionStage=AWSPREVIOUS", "second")
	})
}

// TestAVersionThatIsToBeCurrentIsAskedForEachTime: it may have ceased to be.
func TestAVersionThatIsToBeCurrentIsAskedForEachTime(t *testing.T) {
	w := newWorld(t)
	first := w.put(password, "first")
	path := "/v1/" + password + "?versionStage=AWSCURRENT&versionId=" + first
	w.wantText(path, "first")
	w.put(password, "second")
	w.announce(password)
	w.untilCheck()
	if status, body, _ := w.get(path); status != http.StatusBadRequest || !strings.Contains(body, "not associated") {
		t.Errorf("got %d %s", status, body)
	}
}

// TestManyColdReadersAreOneCall: all who ask at the same time wait for the same answer.
func TestManyColdReadersAreOneCall(t *testing.T) {
	for _, query := range []string{"", "?versionStage=AWSCURRENT", "?versionStage=AWSPREVIOUS"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.put(password, "first")
			w.put(password, "first")
			gate := w.hold()
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() { w.wantText("/v1/"+password+query, "first") })
			}
			synctest.Wait()
			close(gate)
			wg.Wait()
			if calls := w.called(); len(calls) != 1 {
				t.Errorf("%q: Secrets Manager was called %d times, want once", query, len(calls))
			}
		})
	}
}

// TestMoreRequestsThanAllowed: AWS's agent answers 800 at once, and two pings more.
func TestMoreRequestsThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(password, "first")
		gate := w.hold()
		var wg sync.WaitGroup
		for range 800 {
			wg.Go(func() { w.wantText("/v1/"+password, "first") })
		}
		synctest.Wait()
		if status, body, _ := w.get("/v1/" + password); status != 429 || body != "Connection limit exceeded" {
			t.Errorf("got %d %s", status, body)
		}
		if status, body, _ := w.get("/ping"); status != 200 || body != "healthy" {
			t.Errorf("a ping: got %d %s", status, body)
		}
		close(gate)
		wg.Wait()
		w.wantText("/v1/"+password, "first")
	})
}

// TestAFetchFromBeforeAFreezeIsNotTheNextReadersFault: who asked first is gone, and between two invocations the environment
// may have been frozen.
func TestAFetchFromBeforeAFreezeIsNotTheNextReadersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(password, "first")
		lost := true
		w.behind(func(r *http.Request) (*http.Response, error) {
			if lost {
				lost = false
				time.Sleep(secretcache.DefaultFetchTimeout + time.Second) // the SDK sees its deadline only
				return nil, r.Context().Err()
			}
			return w.vault.RoundTripper().RoundTrip(r)
		})
		ctx, hangUp := context.WithTimeout(t.Context(), time.Second)
		defer hangUp()
		request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/"+password, nil)
		request.Header.Set("X-Aws-Parameters-Secrets-Token", token)
		end := w.cache.Begin(t.Context())
		w.endpoint.ServeHTTP(httptest.NewRecorder(), request)
		end()
		defer w.cache.Begin(t.Context())()
		w.wantText("/v1/"+password, "first")
	})
}
