package connection

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestAConnectionThatRestedForLongIsNotUsedAgain: the other end may have dropped it while the function was frozen.
func TestAConnectionThatRestedForLongIsNotUsedAgain(t *testing.T) {
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	now := time.Now()
	client := New(nil)
	client.now = func() time.Time { return now }
	get := func() {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	for step, c := range []struct {
		after time.Duration
		want  int64
	}{{0, 1}, {trustIdleFor, 1}, {trustIdleFor + time.Second, 2}, {time.Second, 2}, {-time.Hour, 3}} {
		now = now.Add(c.after)
		get()
		if got := opened.Load(); got != c.want {
			t.Errorf("step %d: %d connections, want %d", step, got, c.want)
		}
	}
}
