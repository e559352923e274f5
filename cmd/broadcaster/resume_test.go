package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

func TestDeliveringEndsBeforeTheInvocationAndIsResumed(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.on(func(w *world) {
			w.onPush = func(r *http.Request) { <-r.Context().Done() }
		})
		event := moved(neon, l.put(t, neon, "one"))
		ctx, cancel := invocation(t)
		defer cancel()
		ctx, end := context.WithTimeout(ctx, 5*time.Second)
		defer end()
		began := time.Now()
		a, err := l.handler.handle(ctx, json.RawMessage(messages(event)))
		if took := time.Since(began); err != nil || len(a.Failures) > 0 || took > 5*time.Second-reserve {
			t.Fatalf("answered %+v, %v after %v", a, err, took)
		}
		if _, open := l.deliveries(t, 2); !open {
			t.Fatal("the fan-out is closed although the function has not answered")
		}
		l.on(func(w *world) { w.onPush = nil })
		l.restart()
		l.receive(messages(hint("mySecret"))) // of whatever kind
		if deliveries, open := l.deliveries(t, 2); open || len(deliveries) != 2 || deliveries[0].Outcome != invalidation.Acknowledged {
			t.Errorf("deliveries %+v, open %t", deliveries, open)
		}
	})
}

// TestAskingToBeResumedDoesNotOutliveTheInvocation: SQS hangs just when the time was spent on a function that hangs.
func TestAskingToBeResumedDoesNotOutliveTheInvocation(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.on(func(w *world) {
			w.onPush = func(r *http.Request) { <-r.Context().Done() }
			w.onCall = func(r *http.Request, operation, _ string) *refusal {
				if operation == "SendMessage" {
					<-r.Context().Done()
				}
				return nil
			}
		})
		event := moved(neon, l.put(t, neon, "one"))
		ctx, cancel := invocation(t)
		defer cancel()
		ctx, end := context.WithTimeout(ctx, 5*time.Second)
		defer end()
		began := time.Now()
		a, err := l.handler.handle(ctx, json.RawMessage(messages(event)))
		if took := time.Since(began); err != nil || len(a.Failures) > 0 || took >= 5*time.Second {
			t.Errorf("answered %+v, %v after %v", a, err, took)
		}
	})
}

func TestAFunctionThatCannotBeInvokedBringsNoMessageBack(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.on(func(w *world) {
			w.onCall = func(r *http.Request, _, _ string) *refusal {
				if strings.HasSuffix(r.URL.Path, "/invocations") {
					return &refusal{http.StatusForbidden, "AccessDeniedException"}
				}
				return nil
			}
		})
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		deliveries, open := l.deliveries(t, 2)
		if open || len(deliveries) != 2 || deliveries[0].Outcome != invalidation.Undelivered || deliveries[0].Attempts != 1 {
			t.Errorf("deliveries %+v, open %t", deliveries, open)
		}
	})
}

// TestWhatIsLeftPendingIsResumedByAMessageToOurselves.
func TestWhatIsLeftPendingIsResumedByAMessageToOurselves(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.on(func(w *world) {
			w.answer = func(out http.ResponseWriter, _ wire.Invalidation) bool {
				out.Header().Set("X-Amzn-Errortype", "TooManyRequestsException")
				out.WriteHeader(http.StatusTooManyRequests)
				return true
			}
		})
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		deliveries, open := l.deliveries(t, 2)
		if !open || deliveries[0].Outcome != invalidation.Pending || deliveries[0].Reason != invalidation.Throttled {
			t.Fatalf("deliveries %+v, open %t", deliveries, open)
		}
		if len(l.resumes) != 1 || l.resumes[0].after != 5*time.Second {
			t.Fatalf("messages to ourselves: %+v", l.resumes)
		}
		l.on(func(w *world) { w.answer = nil })
		time.Sleep(l.resumes[0].after)
		l.receive(messages(l.resumes[0].body))
		if deliveries, open := l.deliveries(t, 2); open || deliveries[0].Outcome != invalidation.Acknowledged {
			t.Errorf("deliveries %+v, open %t", deliveries, open)
		}
		l.wantOutcomes("appended", "resume")
		if len(l.resumes) != 1 {
			t.Errorf("messages to ourselves: %+v", l.resumes)
		}
	})
}

// What comes back is exactly what an operator has to see in the dead-letter queue.
func TestUnfinishedOutcomes(t *testing.T) {
	for outcome, want := range map[string]bool{
		string(invalidation.Appended): false, string(invalidation.Duplicate): false, string(invalidation.Unchanged): false,
		string(invalidation.Misrouted): false, string(invalidation.Failed): true,
		string(events.Ignored): false, string(events.Scheduled): false, string(events.Malformed): true, string(events.Unknown): true,
	} {
		if got := (&item{outcome: outcome}).unfinished(); got != want {
			t.Errorf("%s: got %t", outcome, got)
		}
	}
}
