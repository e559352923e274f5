package endpoint_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// warnings returns what has been warned of since the last time it was called, but for what the cache warns of.
func (w *world) warnings() (found []map[string]any) {
	w.t.Helper()
	for line := range strings.Lines(w.logged.take()) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			w.t.Fatal(err)
		}
		if strings.Contains(line, canary) {
			w.t.Errorf("a value was logged: %s", line)
		}
		if one["level"] == "WARN" && one["operation"] != nil {
			found = append(found, one)
		}
	}
	return found
}

// TestTroubleWithSecretsManagerIsWarnedOf: on call sees which secret, what was asked and why it was not answered, each kind of
// trouble once a minute at the most.
func TestTroubleWithSecretsManagerIsWarnedOf(t *testing.T) {
	ways := map[string]struct {
		ask       func(*world)
		operation string
		secret    string
	}{
		"an SDK's read":            {func(w *world) { w.sign("GetSecretValue", `{"SecretId":"`+password+`"}`) }, "GetSecretValue", password},
		"one that is passed on":    {func(w *world) { w.sign("GetSecretValue", `{"SecretId":"`+outside+`"}`) }, "GetSecretValue", outside},
		"a description":            {func(w *world) { w.sign("DescribeSecret", `{"SecretId":"`+outside+`"}`) }, "DescribeSecret", outside},
		"a write":                  {func(w *world) { w.write(password, canary) }, "PutSecretValue", password},
		"a batch":                  {func(w *world) { w.sign("BatchGetSecretValue", `{"SecretIdList":["`+password+`"]}`) }, "GetSecretValue", password},
		"the HTTP API":             {func(w *world) { w.get("/v1/" + password) }, "GetSecretValue", password},
		"another label":            {func(w *world) { w.get("/v1/" + password + "?versionStage=AWSPREVIOUS") }, "GetSecretValue", password},
		"a batch of several kinds": {func(w *world) { w.sign("BatchGetSecretValue", `{"SecretIdList":["`+password+`","`+outside+`"]}`) }, "GetSecretValue", ""},
	}
	kinds := []struct {
		status  int
		kind    string
		message string
		told    float64
		refused string
	}{
		{0, "", "Secrets Manager cannot be reached", 502, "ConnectionError"},
		{503, "ServiceUnavailable", "Secrets Manager cannot be reached", 503, "ServiceUnavailable"},
		{400, "ThrottlingException", "Secrets Manager answers to fewer requests than it is asked", 400, "ThrottlingException"},
		{400, "AccessDeniedException", "Secrets Manager denies what the function asks", 400, "AccessDeniedException"},
		{400, "DecryptionFailure", "Secrets Manager denies what the function asks", 400, "DecryptionFailure"},
	}
	for name, way := range ways {
		for _, kind := range kinds {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.refusing("", kind.status, kind.kind)
				way.ask(w)
				got := w.warnings()
				if len(got) != 1 || got[0]["msg"] != kind.message || got[0]["operation"] != way.operation || way.secret != "" && got[0]["secret"] != way.secret ||
					got[0]["status"] != kind.told || got[0]["type"] != kind.refused || got[0]["times"] != 1.0 {
					t.Errorf("%s, %s: got %v", name, kind.kind, got)
				}
				for range 3 {
					way.ask(w)
				}
				if got := w.warnings(); len(got) > 0 {
					t.Errorf("%s, %s: again at once: %v", name, kind.kind, got)
				}
				time.Sleep(time.Minute)
				way.ask(w)
				if got := w.warnings(); len(got) != 1 || got[0]["times"].(float64) < 4 {
					t.Errorf("%s, %s: after a minute: %v", name, kind.kind, got)
				}
			})
		}
	}
}

// TestAnAnswerThatIsNoneIsTrouble: what stands between answers in its own words.
func TestAnAnswerThatIsNoneIsTrouble(t *testing.T) {
	w := newWorld(t)
	w.behind(func(*http.Request) (*http.Response, error) {
		answer := httptest.NewRecorder()
		answer.WriteHeader(http.StatusServiceUnavailable)
		_, _ = answer.WriteString("<html>")
		return answer.Result(), nil
	})
	w.sign("ListSecrets", "{}")
	if got := w.warnings(); len(got) != 1 || got[0]["status"] != 503.0 {
		t.Errorf("got %v", got)
	}
}

// TestWhatIsNoTroubleIsNotWarnedOf: a secret that is not there may be asked for, and who asked may leave.
func TestWhatIsNoTroubleIsNotWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.get("/v1/" + password)
		w.sign("GetSecretValue", `{"SecretId":"`+password+`"}`)
		w.sign("DescribeSecret", `{"SecretId":"`+password+`"}`)
		w.sign("BatchGetSecretValue", `{"SecretIdList":["`+password+`"]}`)
		ctx, leave := context.WithCancel(t.Context())
		w.behind(func(r *http.Request) (*http.Response, error) {
			leave()
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		body := `{"SecretId":"` + outside + `"}`
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body))
		headers := w.signed("DescribeSecret", body)
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		w.endpoint.ServeHTTP(httptest.NewRecorder(), request)
		if got := w.warnings(); len(got) > 0 {
			t.Errorf("got %v", got)
		}
	})
}
