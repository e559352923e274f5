package invalidation_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// TestManySecretsAtOnceAreAppendedAsTheyAreDescribed: what does not fit into the time comes back, and is less each time.
func TestManySecretsAtOnceAreAppendedAsTheyAreDescribed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const many = 1000
		var signals []events.Signal
		for i := range many {
			name := fmt.Sprintf("/bank/prod/payments/service-%d/key", i)
			if _, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: "placeholder"}); err != nil {
				t.Fatal(err)
			}
			signals = append(signals, hint(name))
		}
		var describes atomic.Int64
		b := w.broadcaster(describedBy(func(ctx context.Context, name string) (invalidation.Description, error) {
			describes.Add(1)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return invalidation.Description{}, ctx.Err()
			}
			return w.describer().Describe(ctx, name)
		}))
		for receives := 1; len(signals) > 0; receives++ {
			handled, _ := b.Confirm(t.Context(), signals) // what failed comes back
			var back []events.Signal
			for i, how := range handled {
				if how == invalidation.Failed {
					back = append(back, signals[i])
				}
			}
			if len(back) == len(signals) || receives > 4 {
				t.Fatalf("receive %d: %d of %d come back", receives, len(back), len(signals))
			}
			signals = back
		}
		told := len(w.changes())
		if told != many {
			t.Errorf("%d changes in the log, want %d", told, many)
		}
		if n := describes.Load(); n > many*3/2 {
			t.Errorf("%d describes for %d secrets", n, many)
		}
	})
}

// TestThereAndBackInOneBatch: the event that proves it need not be the newest.
func TestThereAndBackInOneBatch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.moveCurrent(neon, 2, 1)
		there := w.event(events.Moved, neon, version(1))
		w.moveCurrent(neon, 1, 2)
		back := w.event(events.Moved, neon, version(2))
		w.confirm(b, invalidation.Appended, there, back)
		w.wantChanges("1 moved "+neon+" "+version(2), "2 refresh "+neon+" "+version(2))
	})
}

// TestAnotherSecretOfTheSameNameAndVersionID: made anew with the same token, so only its ARN tells.
func TestAnotherSecretOfTheSameNameAndVersionID(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		create := func() {
			_, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: neon, SecretString: "placeholder", ClientRequestToken: version(7)})
			w.done(err)
		}
		b := w.broadcaster()
		create()
		w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(7)))
		w.erase(neon)
		create()
		w.confirm(b, invalidation.Appended, hint(neon))
		w.wantChanges("1 moved "+neon+" "+version(7), "2 refresh "+neon+" "+version(7))
	})
}

// TestAFloodOfEventsAboutOneSecretIsOneRecord: of bounded size, whatever the events call themselves.
func TestAFloodOfEventsAboutOneSecretIsOneRecord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create(neon)
		var flood []events.Signal
		for range 5000 {
			s := hint(neon)
			s.EventID, s.Replay, s.Actor = strings.Repeat("é", 300), strings.Repeat("r", 5000), strings.Repeat("a", 5000)
			flood = append(flood, s)
		}
		w.confirm(w.broadcaster(), invalidation.Appended, flood...)
		w.wantChanges("1 moved " + neon + " " + version(1))
	})
}
