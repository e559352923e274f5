package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// batches are the two calls whose answers may leave a part undone, for one batch.
func batches(w *world) map[string]func(ctx context.Context, n int) error {
	return map[string]func(ctx context.Context, n int) error{
		"BatchWriteItem": func(ctx context.Context, n int) error {
			var deliveries []invalidation.Delivery
			for i := range n {
				deliveries = append(deliveries, invalidation.Delivery{Revision: 1, Subscription: fmt.Sprint(i), Outcome: invalidation.Acknowledged})
			}
			return w.store.Record(ctx, deliveries)
		},
		"BatchGetItem": func(ctx context.Context, n int) error {
			var names []string
			for i := range n {
				names = append(names, fmt.Sprintf("%s-%d", neon, i))
			}
			_, err := w.store.Load(ctx, names)
			return err
		},
	}
}

// TestWhatIsLeftUnprocessedIsSentAgainAfterAPause: longer each time, up to a bound.
func TestWhatIsLeftUnprocessedIsSentAgainAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.transport.processAtMost(1)
		for operation, call := range batches(w) {
			before, began := w.transport.times(operation), time.Now()
			if err := call(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			at := w.transport.times(operation)[len(before):]
			if len(at) != 10 || at[0] != began {
				t.Fatalf("%s: called %d times, first after %v; want 10, at once", operation, len(at), at[0].Sub(began))
			}
			longest := 25 * time.Millisecond
			for i := range at[1:] {
				if pause := at[i+1].Sub(at[i]); pause < longest/2 || pause >= longest {
					t.Errorf("%s: pause %d took %v, want %v to %v", operation, i+1, pause, longest/2, longest)
				}
				longest = min(2*longest, time.Second)
			}
		}
	})
}

func TestWhatIsProcessedAtOnceNeedsNoPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for operation, call := range batches(w) {
			began := time.Now()
			if err := call(t.Context(), 250); err != nil { // in several batches
				t.Fatal(err)
			}
			if took := time.Since(began); took != 0 || w.transport.count(operation) < 3 {
				t.Errorf("%s: %d calls took %v, want none", operation, w.transport.count(operation), took)
			}
		}
	})
}

// TestAPauseEndsWithItsContext: the time that confirming has is not slept away.
func TestAPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.transport.processAtMost(1)
		for operation, call := range batches(w) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			began := time.Now()
			err := call(ctx, 25)
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 2*time.Second {
				t.Errorf("%s: %v after %v", operation, err, took)
			}
		}
	})
}
