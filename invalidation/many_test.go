package invalidation_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// TestNeverMorePushesAtOnceThanAllowed: and no fewer.
func TestNeverMorePushesAtOnceThanAllowed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const most, all = 3, 8
		var (
			mu       sync.Mutex
			underWay int
			answer   = make(chan struct{})
			services []subscribers.Service
		)
		for i := range all {
			services = append(services, subscribers.Service{Name: fmt.Sprintf("service-%d", i), Secrets: []string{"neon/*"}})
		}
		count := func(by int) int {
			mu.Lock()
			defer mu.Unlock()
			underWay += by
			return underWay
		}
		b := w.broadcaster(pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
			count(1)
			<-answer
			count(-1)
			return encoded(t, ackOf(inv.Detail)), nil
		}), func(cfg *invalidation.Config) {
			cfg.MaxPushes, cfg.PushTimeout, cfg.Subscribed = most, time.Hour, w.packaged(subscribed(t, services...))
		})
		w.known(b)
		done := make(chan error)
		go func() { done <- b.Deliver(t.Context()) }()
		for left := all; left > 0; left-- {
			synctest.Wait()
			if got := count(0); got != min(most, left) {
				t.Errorf("%d under way with %d to go, want %d", got, left, min(most, left))
			}
			answer <- struct{}{}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := len(w.deliveries(1)); got != all {
			t.Errorf("got %d deliveries, want %d", got, all)
		}
	})
}

// TestManySubscriptions: more results than DynamoDB takes at once, and recorded as they come, so that a crash forgets few.
func TestManySubscriptions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const all, early, revisions = 60, 30, 3
		var services []subscribers.Service
		for i := range all {
			services = append(services, subscribers.Service{Name: fmt.Sprintf("service-%d", i), Secrets: []string{"neon/*"}})
		}
		var (
			pushes atomic.Int64
			answer = make(chan struct{})
		)
		b := w.broadcaster(pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
			if pushes.Add(1) > early {
				<-answer
			}
			return encoded(t, ackOf(inv.Detail)), nil
		}), func(cfg *invalidation.Config) { cfg.Subscribed = w.packaged(subscribed(t, services...)) })
		w.known(b)
		for v := 3; v < 2+revisions; v++ {
			w.put(neon)
			w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(v)))
		}
		acknowledged := func() (n int) {
			for revision := int64(1); revision <= revisions; revision++ {
				for _, d := range w.deliveries(revision) {
					if d.Outcome == invalidation.Acknowledged {
						n++
					}
				}
			}
			return n
		}
		done := make(chan error)
		go func() { done <- b.Deliver(t.Context()) }()
		synctest.Wait()
		if got := acknowledged(); got <= early*revisions-25-revisions || got > early*revisions {
			t.Errorf("with %d answers %d deliveries are recorded, want all but the last few of %d", early, got, early*revisions)
		}
		close(answer)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := acknowledged(); got != all*revisions || len(w.open()) > 0 {
			t.Errorf("%d of %d acknowledged, open %v", got, all*revisions, w.open())
		}
	})
}
