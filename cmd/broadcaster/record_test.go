package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A fan-out to many functions must not wait for DynamoDB more than for them, nor flood it.
func TestOutcomesAreWrittenAFewBatchesAtOnce(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		const services, batches, takes = 200, 8, callTimeout / 2
		m := subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: "prod", Domain: "payments"}
		for i := range services {
			m.Services = append(m.Services, subscribers.Service{Name: fmt.Sprintf("payments-%d", i), Secrets: []string{"neon/*"}})
		}
		s, err := subscribers.New(m, "prod", "payments")
		if err != nil {
			t.Fatal(err)
		}
		l.handler.parts.Subscribed = invalidation.NewSubscribed("prod", "payments", l.store(), invalidation.Packaged{Subscriptions: s})
		var (
			mu                  sync.Mutex
			underWay, most, all int
		)
		l.on(func(w *world) {
			w.onCall = func(_ *http.Request, operation, _ string) *refusal {
				if operation != "BatchWriteItem" {
					return nil
				}
				mu.Lock()
				underWay++
				most, all = max(most, underWay), all+1
				mu.Unlock()
				time.Sleep(takes)
				mu.Lock()
				underWay--
				mu.Unlock()
				return nil
			}
		})
		l.receive(messages(moved(neon, l.put(t, neon, "first"))))
		if all != batches || most != 4 {
			t.Errorf("%d writes, at most %d at once; want %d and 4", all, most, batches)
		}
		deliveries, open := l.deliveries(t, 2) // revision 1 began the log
		if len(deliveries) != services || open {
			t.Errorf("%d deliveries, open: %t", len(deliveries), open)
		}
	})
}
