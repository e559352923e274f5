package main

import (
	"net/http"
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
