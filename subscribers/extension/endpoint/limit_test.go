package endpoint_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/subscribers/extension/endpoint"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// atMost returns an option that has so many ids be cached.
func atMost(n int) option {
	return func(cfg *endpoint.Config, _ *secretcache.Config) { cfg.MaxSecrets = n }
}

// wantCalls compares how often Secrets Manager was called.
func (w *world) wantCalls(want int, what string) {
	w.t.Helper()
	if calls := w.called(); len(calls) != want {
		w.t.Errorf("%s: Secrets Manager was called %d times, want %d: %v", what, len(calls), want, calls)
	}
}

// TestWhatWasUsedLastIsKept: where there are more secrets than places, the one that was used longest ago goes. AWS's agent
// drops the one that was fetched longest ago.
func TestWhatWasUsedLastIsKept(t *testing.T) {
	for _, query := range []string{"", "?versionStage=AWSPREVIOUS"} {
		w := newWorld(t, atMost(2))
		read := func(i int) { w.wantText(fmt.Sprintf("/v1/%s-%d%s", password, i, query), "value") }
		for i := range 3 {
			w.put(fmt.Sprintf("%s-%d", password, i), "value")
			w.put(fmt.Sprintf("%s-%d", password, i), "value")
		}
		read(0)
		read(1)
		read(0)
		w.wantCalls(2, "cold")
		read(2)
		read(0)
		w.wantCalls(1, "the third takes the place of the second")
		read(1)
		read(0)
		w.wantCalls(1, "the second takes the place of the third")
	}
}

// TestAnARNTakesTwoPlaces: its own and its name's, and both stay while it is used.
func TestAnARNTakesTwoPlaces(t *testing.T) {
	w := newWorld(t, atMost(3))
	arns := map[string]string{}
	for _, name := range []string{password, outside} {
		w.put(name, "value")
		d, err := w.vault.DescribeSecret(name)
		if err != nil {
			t.Fatal(err)
		}
		arns[name] = d.ARN
	}
	for range 3 {
		w.wantText("/v1/"+arns[password], "value")
		w.wantText("/v1/"+password, "value")
	}
	w.wantCalls(1, "one ARN")
	w.wantText("/v1/"+arns[outside], "value")
	w.wantText("/v1/"+outside, "value")
	w.wantCalls(1, "another one")
	w.wantText("/v1/"+arns[password], "value")
	w.wantCalls(1, "the first one again")
}

// TestNoPlaceIsTakenByWhatIsNotThere, nor by what cannot be read.
func TestNoPlaceIsTakenByWhatIsNotThere(t *testing.T) {
	w := newWorld(t, atMost(2))
	w.put(password, "first")
	w.wantText("/v1/"+password, "first")
	w.wantText("/v1/"+password+"?versionStage=AWSCURRENT", "first")
	for i := range 10 {
		for _, query := range []string{"", "?versionStage=AWSPREVIOUS"} {
			if status, body, _ := w.get(fmt.Sprintf("/v1/none-%d%s", i, query)); status != 400 || !strings.Contains(body, "ResourceNotFoundException") {
				t.Errorf("not found: %d %s", status, body)
			}
		}
	}
	w.behind(func(r *http.Request) (*http.Response, error) {
		refused := httptest.NewRecorder()
		refused.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(refused, `{"__type":"AccessDeniedException"}`)
		return refused.Result(), nil
	})
	for i := range 10 {
		w.get(fmt.Sprintf("/v1/forbidden-%d", i))
	}
	w.behind(nil)
	w.called()
	w.wantText("/v1/"+password, "first")
	w.wantCalls(0, "what is there")
}

// TestWhatIsGoneTakesNoPlace any more.
func TestWhatIsGoneTakesNoPlace(t *testing.T) {
	w := newWorld(t, atMost(2))
	for _, name := range []string{password, outside, "/third"} {
		w.put(name, "value")
	}
	w.wantText("/v1/"+password, "value")
	w.wantText("/v1/"+outside, "value")
	if _, err := w.vault.DeleteSecret(secrets.DeleteSecretInput{SecretID: password, ForceDeleteWithoutRecovery: true}); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := w.get("/v1/" + password + "?refreshNow=true"); status != 400 {
		t.Errorf("got %d %s", status, body)
	}
	w.wantText("/v1//third", "value")
	w.called()
	w.wantText("/v1/"+outside, "value")
	w.wantCalls(0, "what was read before")
}

// TestWhatIsReadAfterItHadToGo: what gave place while it was read takes none afterwards.
func TestWhatIsReadAfterItHadToGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, atMost(1))
		w.put(password, "first")
		w.put(outside, "other")
		gate := w.hold()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.wantText("/v1/"+password, "first")
		}()
		synctest.Wait()
		go func() { w.get("/v1/" + outside) }()
		synctest.Wait()
		close(gate)
		<-done
		synctest.Wait()
		w.called()
		w.wantText("/v1/"+outside, "other")
		w.wantCalls(0, "what took the place")
		w.wantText("/v1/"+password, "first")
		w.wantCalls(1, "what gave place")
	})
}

// TestEndlessIdsDoNotFillTheMemory of a function, which pays for it.
func TestEndlessIdsDoNotFillTheMemory(t *testing.T) {
	w := newWorld(t, atMost(2))
	w.behind(func(r *http.Request) (*http.Response, error) {
		answer := httptest.NewRecorder()
		var asked struct {
			SecretID string `json:"SecretId"`
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			return nil, err
		}
		if strings.HasSuffix(asked.SecretID, "none") {
			answer.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(answer, `{"__type":"ResourceNotFoundException"}`)
		} else {
			fmt.Fprintf(answer, `{"Name":%q,"VersionId":"a","SecretString":"b"}`, asked.SecretID[strings.LastIndexByte(asked.SecretID, ':')+1:])
		}
		return answer.Result(), nil
	})
	const each, ids = 4 << 10, 100
	long := strings.Repeat("a", each)
	before := w.inUse()
	for i := range ids {
		for _, format := range []string{"%d%s", "%d%snone", "arn:aws:secretsmanager:eu-west-2:111122223333:secret:arn%d%s", "%d%s?versionStage=b", "%d%snone?versionStage=b"} {
			w.get(fmt.Sprintf("/v1/"+format, i, long))
		}
	}
	if grown := w.inUse() - before; grown > each*ids/2 {
		t.Errorf("%d bytes more are in use than before", grown)
	}
	runtime.KeepAlive(w.endpoint)
}

// inUse returns how many bytes are in use, without what the test itself keeps.
func (w *world) inUse() int64 {
	w.called()
	w.logged.take()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
