package endpoint_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/subscribers/extension/endpoint"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

func inMode(mode secretcache.Mode) option {
	return func(_ *endpoint.Config, cfg *secretcache.Config) { cfg.Mode = mode }
}

// wantCalled compares how Secrets Manager was called: an operation and its body each time.
func (w *world) wantCalled(want ...string) {
	w.t.Helper()
	var got []string
	for _, c := range w.called() {
		got = append(got, c.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Error(diff)
	}
}

// sign asks as an SDK does, and returns the answer.
func (w *world) sign(operation, body string) (status int, answer string) {
	w.t.Helper()
	status, answer, _ = w.ask(http.MethodPost, "/", body, w.signed(operation, body)...)
	return status, answer
}

// TestWhatNoLogSpeaksOfIsReadEachTimeByAnSDK, as it was before this endpoint came; code for AWS's extension has it cached, as
// it was too.
func TestWhatNoLogSpeaksOfIsReadEachTimeByAnSDK(t *testing.T) {
	for name, o := range map[string]option{
		outside:                             inMode(secretcache.On),
		"/bank/prod/payments-archive/key":   inMode(secretcache.On),
		"/bank/prod/payments/neon/key":      inMode(secretcache.Off),
		"/bank/prod/payments/neon/uncached": atMost(0),
		"/bank/prod/payments/neon/neither": func(cfg *endpoint.Config, cacheCfg *secretcache.Config) {
			cfg.MaxSecrets, cacheCfg.Mode = 0, secretcache.Observe
		},
	} {
		w := newWorld(t, o)
		client := w.client()
		for i := range 3 {
			want := fmt.Sprint(i)
			w.put(name, want)
			for _, id := range w.idsOf(name) {
				if got := read(t, client, ofID(id)); got != want {
					t.Errorf("%s: got %q, want %q", id, got, want)
				}
			}
			w.called()
			batch := `{"SecretIdList":["` + name + `"]}`
			w.sign("BatchGetSecretValue", batch)
			w.wantCalled("BatchGetSecretValue " + batch)
		}
		if name == outside {
			w.wantText("/v1/"+name, "2")
			w.put(name, "3")
			w.wantText("/v1/"+name, "2")
			if got := read(t, client, ofID(name)); got != "3" {
				t.Errorf("beside the HTTP API an SDK reads %q", got)
			}
		}
	}
}

// TestABatchOfSeveralKindsIsReadLikeEach.
func TestABatchOfSeveralKindsIsReadLikeEach(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	w.put(outside, "other")
	for range 3 {
		_, answer := w.sign("BatchGetSecretValue", `{"SecretIdList":["`+password+`","`+outside+`"]}`)
		if !strings.Contains(answer, `"first"`) || !strings.Contains(answer, `"other"`) || !strings.HasSuffix(answer, `"Errors":[]}`) {
			t.Errorf("got %s", answer)
		}
	}
	alone := `GetSecretValue {"SecretId":"` + outside + `"}`
	w.wantCalled(`GetSecretValue {"SecretId":"`+password+`"}`, alone, alone, alone)
}

// TestWhatWouldBeInvalidatedIsCountedBesideAnSDK: while the log is only observed the SDK's reads are passed on, and the cache
// reads beside them.
func TestWhatWouldBeInvalidatedIsCountedBesideAnSDK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMode(secretcache.Observe))
		const other = "/bank/prod/payments/neon/other"
		w.put(password, "first")
		w.put(other, "other")
		one, both := `{"SecretId":"`+password+`"}`, `{"SecretIdList":["`+password+`","`+other+`"]}`
		gate := w.hold()
		go w.sign("GetSecretValue", one)
		synctest.Wait()
		w.wantCalled("GetSecretValue "+one, "GetSecretValue "+one) // at the same time
		close(gate)
		for range 2 {
			w.sign("GetSecretValue", one)
			w.sign("BatchGetSecretValue", both)
			synctest.Wait()
		}
		w.wantCalled("GetSecretValue "+one, "BatchGetSecretValue "+both, "GetSecretValue "+one, "BatchGetSecretValue "+both,
			`GetSecretValue {"SecretId":"`+other+`"}`) // the cache's own
		w.put(password, "second")
		w.put(other, "second")
		w.announce(password, other)
		w.untilCheck()
		w.sign("GetSecretValue", one)
		synctest.Wait()
		if counts := w.cache.Counts(); counts.Invalidated != 2 {
			t.Errorf("got %+v, want two invalidations counted", counts)
		}
	})
}
