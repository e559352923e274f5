package endpoint_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

// write writes through the endpoint and returns with which status that is answered.
func (w *world) write(id, value string) (status int) {
	w.t.Helper()
	status, _ = w.sign("PutSecretValue", fmt.Sprintf(`{"SecretId":%q,"SecretString":%q,"ClientRequestToken":"%032d"}`, id, value, len(id+value)))
	return status
}

// idsOf returns by what a secret can be asked for: its name, its ARN and that without its suffix.
func (w *world) idsOf(name string) []string {
	w.t.Helper()
	d, err := w.vault.DescribeSecret(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return []string{name, d.ARN, d.ARN[:strings.LastIndexByte(d.ARN, '-')]}
}

// refuses returns what Secrets Manager answers if it refuses everything but writing.
func (w *world) refuses(kind string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("X-Amz-Target") == "secretsmanager.PutSecretValue" {
			return w.vault.RoundTripper().RoundTrip(r)
		}
		refused := httptest.NewRecorder()
		refused.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(refused, `{"__type":%q}`, kind)
		return refused.Result(), nil
	}
}

// TestWhoWritesThroughTheEndpointReadsWhatWasWritten: as without it, before anything has been announced, whatever the secret
// is called by, and whether the log speaks of it or not.
func TestWhoWritesThroughTheEndpointReadsWhatWasWritten(t *testing.T) {
	for _, name := range []string{password, outside} {
		for by := range 3 {
			for of := range 3 {
				w := newWorld(t)
				w.put(name, "first")
				ids := w.idsOf(name)
				w.wantText("/v1/"+ids[of], "first")
				w.write(ids[by], "second")
				w.wantText("/v1/"+ids[of], "second")
				if _, got := w.sign("GetSecretValue", `{"SecretId":"`+ids[of]+`"}`); !strings.Contains(got, `"second"`) {
					t.Errorf("written by %s, read by %s: got %s", ids[by], ids[of], got)
				}
			}
		}
	}
}

// TestNothingOlderIsFallenBackToThanWhatWasWritten, while it cannot be read: without the endpoint there is an error as well.
func TestNothingOlderIsFallenBackToThanWhatWasWritten(t *testing.T) {
	for _, name := range []string{password, outside} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.put(name, "first")
			w.wantText("/v1/"+name, "first")
			w.behind(w.refuses("ThrottlingException"))
			w.write(name, "second")
			if status, body, _ := w.get("/v1/" + name); status != http.StatusBadRequest || !strings.Contains(body, "ThrottlingException") {
				t.Errorf("got %d %s", status, body)
			}
			w.behind(nil)
			w.wantText("/v1/"+name, "second")
		})
	}
}

func TestWhatWasDeletedThroughTheEndpointIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(password, "first")
		w.wantText("/v1/"+password, "first")
		if status, answer := w.sign("DeleteSecret", `{"SecretId":"`+password+`"}`); status != http.StatusOK {
			t.Fatalf("got %d %s", status, answer)
		}
		w.behind(w.refuses("ThrottlingException"))
		if status, body, _ := w.get("/v1/" + password); !strings.Contains(body, "ThrottlingException") {
			t.Errorf("while it cannot be read: got %d %s", status, body)
		}
		w.behind(nil)
		if status, body, _ := w.get("/v1/" + password); !strings.Contains(body, "marked for deletion") {
			t.Errorf("got %d %s", status, body)
		}
	})
}

// TestAWriteWhoseAnswerGotLostIsReadBack: nobody knows whether it was done, so nothing from before is served.
func TestAWriteWhoseAnswerGotLostIsReadBack(t *testing.T) {
	for what, lost := range map[string]func() (*http.Response, error){
		"no answer": func() (*http.Response, error) { return nil, errors.New("connection reset") },
		"an error after it": func() (*http.Response, error) {
			answer := httptest.NewRecorder()
			answer.WriteHeader(http.StatusInternalServerError)
			return answer.Result(), nil
		},
	} {
		for by := range 3 {
			w := newWorld(t)
			w.put(password, "first")
			ids := w.idsOf(password)
			w.wantText("/v1/"+password, "first")
			w.behind(func(r *http.Request) (*http.Response, error) {
				if _, err := w.vault.RoundTripper().RoundTrip(r); err != nil {
					return nil, err
				}
				return lost()
			})
			if status := w.write(ids[by], "second"); status < http.StatusInternalServerError {
				t.Errorf("%s: got %d", what, status)
			}
			w.behind(nil)
			w.wantText("/v1/"+password, "second")
		}
	}
}

// TestWhatWasCreatedThroughTheEndpointIsRead, and not what was called so before.
func TestWhatWasCreatedThroughTheEndpointIsRead(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	w.wantText("/v1/"+password, "first")
	if _, err := w.vault.DeleteSecret(secrets.DeleteSecretInput{SecretID: password, ForceDeleteWithoutRecovery: true}); err != nil {
		t.Fatal(err)
	}
	body := `{"Name":"` + password + `","SecretString":"second","ClientRequestToken":"` + strings.Repeat("1", 32) + `"}`
	if status, answer := w.sign("CreateSecret", body); status != http.StatusOK {
		t.Fatalf("got %d %s", status, answer)
	}
	w.wantText("/v1/"+password, "second")
}

// TestAWriteThatWasRefusedChangesNothing: what is cached stays.
func TestAWriteThatWasRefusedChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	w.wantText("/v1/"+password, "first")
	w.behind(func(*http.Request) (*http.Response, error) {
		refused := httptest.NewRecorder()
		refused.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(refused, `{"__type":"LimitExceededException"}`)
		return refused.Result(), nil
	})
	w.write(password, "second")
	w.called()
	w.wantText("/v1/"+password, "first")
	w.wantCalls(0, "after a write that was refused")
}

// TestOtherVersionsFollowWhatWasWritten: the labels have moved.
func TestOtherVersionsFollowWhatWasWritten(t *testing.T) {
	for by := range 3 {
		w := newWorld(t)
		w.put(password, "first")
		w.put(password, "second")
		ids := w.idsOf(password)
		for _, of := range ids {
			w.wantText("/v1/"+of+"?versionStage=AWSPREVIOUS", "first")
		}
		w.write(ids[by], "third")
		for _, of := range ids {
			w.wantText("/v1/"+of+"?versionStage=AWSPREVIOUS", "second")
		}
	}
}
