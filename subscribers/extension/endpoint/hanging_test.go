package endpoint_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestASecretsManagerThatHangsIsWaitedForOnce in an invocation, by the first request that finds the secret changed: the
// others are served what is cached at once, however they follow each other.
func TestASecretsManagerThatHangsIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(password, "first")
		w.announce(password)
		w.wantText("/v1/"+password, "first")
		w.put(password, "second")
		w.announce(password)
		gate := w.hold()
		w.untilCheck()
		wantWait := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			w.wantText("/v1/"+password, "first")
			if took := time.Since(began); took != want {
				t.Errorf("a request took %v, want %v", took, want)
			}
		}
		wantWait(2 * time.Second)
		wantWait(0)
		end := w.cache.Begin(t.Context()) // the next invocation: the environment may have been frozen before it
		wantWait(2 * time.Second)
		wantWait(0)
		end()
		close(gate)
		synctest.Wait()
		if status, body, _ := w.get("/v1/" + password); status != http.StatusOK {
			t.Errorf("afterwards: %d %s", status, body)
		}
		w.wantText("/v1/"+password, "second")
	})
}
