package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

func TestTheFirstInvocationOfAnyKindBeginsTheLogOnce(t *testing.T) {
	for name, payload := range map[string]string{"tick": tick, "no event": messages("{}"), "unknown": messages(`{"source":"aws.kms","detail-type":"KMS Key Deleted"}`), "ignored": messages(moved("mySecret", "v1"))} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				for range 3 {
					if _, err := l.invoke(payload); err != nil {
						t.Fatal(err)
					}
				}
				l.wantHead(1)
			})
		})
	}
}

func TestATickBeginsALogThatWasEmptiedMeanwhile(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(tick))
		fresh := newWorld(t)
		l.tables = fresh.tables
		l.receive(messages(hint("mySecret")))
		l.wantHead(0)
		l.receive(messages(tick))
		l.wantHead(1)
	})
}

func TestATickThatCannotBeginTheLogFails(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.on(func(w *world) {
			w.onCall = func(*http.Request, string, string) *refusal {
				return &refusal{http.StatusBadRequest, "AccessDeniedException"}
			}
		})
		l.receive(messages(tick), "m1")
		if _, err := l.invoke(tick); err == nil || !strings.HasPrefix(err.Error(), `event "tick-1": failed: loading the head: `) {
			t.Errorf("directly invoked: got %v", err)
		}
	})
}

// TestATickFindsAChangeWhoseEventNeverCame, and delivers it.
func TestATickFindsAChangeWhoseEventNeverCame(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.put(t, neon, "one")
		l.receive(messages(tick)) // it was there before anybody looked
		l.wantHead(1)
		time.Sleep(5 * time.Minute)
		versionID := l.put(t, neon, "two")
		l.receive(messages(tick))
		l.wantHead(2)
		if row := l.head(t); len(row.Changes) != 1 || row.Changes[0].VersionID != versionID {
			t.Errorf("the log says %+v", row.Changes)
		}
		if deliveries, open := l.deliveries(t, 2); open || len(deliveries) != 2 || deliveries[0].Outcome != invalidation.Acknowledged {
			t.Errorf("deliveries %+v, open %t", deliveries, open)
		}
		for _, want := range []string{
			`"msg":"a change whose event never came"`,
			`"msg":"reconciled","requestId":"request-1","listed":1,"described":1,"found":1,"full":false,"completed":true`,
		} {
			if !strings.Contains(l.logs.String(), want) {
				t.Errorf("no log line has %s in\n%s", want, l.logs)
			}
		}
	})
}

// TestReconcilingLeavesTimeToDeliver: and says what it could not do.
func TestReconcilingLeavesTimeToDeliver(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(tick))
		l.on(func(w *world) {
			w.onCall = func(r *http.Request, operation, _ string) *refusal {
				if operation == "ListSecrets" {
					<-r.Context().Done()
				}
				return nil
			}
		})
		began := time.Now()
		l.receive(messages(tick))
		if took, most := time.Since(began), time.Second+time.Minute-deliverReserve; took > most {
			t.Errorf("it took %v, want at most %v", took, most)
		}
		if !strings.Contains(l.logs.String(), `"msg":"reconciling: the next tick begins again"`) {
			t.Errorf("no error is logged in\n%s", l.logs)
		}
	})
}
