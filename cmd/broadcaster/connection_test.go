package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestACallThatHangsLeavesTimeForAnother: the message is done all the same.
func TestACallThatHangsLeavesTimeForAnother(t *testing.T) {
	for _, operation := range []string{"Query", "BatchGetItem", "DescribeSecret", "TransactWriteItems"} {
		t.Run(operation, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				l.receive(messages(tick)) // the log is begun
				event := moved(neon, l.put(t, neon, "one"))
				hung := false
				l.on(func(w *world) {
					w.onCall = func(r *http.Request, called, _ string) *refusal {
						if called == operation && !hung {
							hung = true
							<-r.Context().Done()
						}
						return nil
					}
				})
				l.receive(messages(event))
				l.wantHead(2)
				if !hung {
					t.Error("nothing hung")
				}
			})
		})
	}
}

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
	client := newClient(1)
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

// TestATickLeavesTimeToReconcile, however long the delivery of what is open would take.
func TestATickLeavesTimeToReconcile(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.handler.parts.PushTimeout = time.Minute
		l.receive(messages(tick))
		l.on(func(w *world) { w.onPush = func(r *http.Request) { <-r.Context().Done() } })
		l.put(t, neon, "one")
		l.receive(messages(hint(neon)))
		time.Sleep(5 * time.Minute)
		l.put(t, neon, "two")
		l.receive(messages(tick))
		l.wantHead(3)
	})
}
