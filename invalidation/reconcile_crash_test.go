package invalidation_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// reconciled is a world with these secrets, all of them known; the first was announced.
func (w *world) reconciled(names ...string) {
	w.t.Helper()
	b := w.broadcaster()
	for _, name := range names {
		w.create(name)
	}
	w.confirm(b, invalidation.Appended, w.event(events.Moved, names[0], version(1)))
	w.sweep(b)
	w.deliver(b)
	time.Sleep(interval)
}

// sweep reconciles to the end.
func (w *world) sweep(b *invalidation.Broadcaster) invalidation.Reconciled {
	w.t.Helper()
	got, err := b.Reconcile(w.t.Context())
	if err != nil || !got.Completed {
		w.t.Errorf("reconciled %+v, %v", got, err)
	}
	return got
}

// TestAFaultAtEveryStepOfAReconcileLosesNothing stops a broadcaster at each call that it makes of a port while it looks for
// changes whose events never came. The next tick's, which shares nothing with it but the tables, finds what it left, and
// announces nothing twice.
func TestAFaultAtEveryStepOfAReconcileLosesNothing(t *testing.T) {
	const cards, visa = "/bank/prod/payments/cards/key", "/bank/prod/payments/visa/key"
	services := []subscribers.Service{
		{Name: "payments-api", Secrets: []string{"**"}},
		{Name: "payments-batch", Secrets: []string{"**"}},
		{Name: "payments-report", Secrets: []string{"**"}, Deliver: "pull"},
	}
	for scenario, c := range map[string]struct {
		happens func(w *world)
		changes []string
		calls   int // of a run without a fault: at least
	}{
		"a version, a deletion, a new secret, and a row that is only noted": {
			func(w *world) {
				w.reconciled(neon, stripe, cards)
				w.put(neon)
				w.delete(stripe)
				w.create(visa)
				w.put(cards, "AWSPENDING")
			},
			[]string{"moved " + neon, "moved " + neon, "deleted " + stripe, "moved " + visa},
			20,
		},
		"more than one row": {
			func(w *world) {
				w.reconciled(stripe)
				for i := range 10 {
					w.create(longName(i))
				}
			},
			bulkOf(10), 30,
		},
		"a secret that is gone for good, and was not found once": {
			func(w *world) {
				w.reconciled(neon, stripe)
				w.erase(neon)
				w.sweep(w.broadcaster())
				time.Sleep(interval)
			},
			[]string{"moved " + neon, "deleted " + neon},
			15,
		},
	} {
		for how, f := range kindsOfFault() {
			t.Run(scenario+", "+how, func(t *testing.T) {
				for step, last := 1, false; !last; step++ {
					inWorld(t, func(t *testing.T, w *world) {
						subscriptions := func(m invalidation.Manifests) func(*invalidation.Config) {
							return func(cfg *invalidation.Config) { cfg.Subscribed = packagedOn(m, subscribed(t, services...)) }
						}
						c.happens(w)
						time.Sleep(2 * interval) // longer than the list's lag: whether it is news shows by the last completed one only
						before := len(w.pushes())

						struck, ctx := f.at(t.Context(), step)
						first := w.broadcaster(subscriptions(w.behind(struck)), w.behind(struck).configure)
						_, _ = first.Reconcile(ctx) // whatever it says: it may not live to say it
						_ = first.Deliver(ctx)
						time.Sleep(interval)

						second := w.broadcaster(subscriptions(w.store))
						w.deliver(second)
						w.sweep(second)
						w.deliver(second)
						w.checkNothingLost(step, before, c.changes, services)
						if got := w.sweep(second); got.Found > 0 || got.Described > 0 {
							t.Errorf("step %d: the next one has something left: %+v", step, got)
						}
						if last = struck.calls < step; last && step <= c.calls {
							t.Errorf("a run without a fault has %d steps, want at least %d", struck.calls, c.calls)
						}
					})
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// TestAFaultAtEveryStepOfAFirstReconcileAnnouncesNothing: what was there for long is known in the end, and only known;
// what changes later is announced.
func TestAFaultAtEveryStepOfAFirstReconcileAnnouncesNothing(t *testing.T) {
	for how, f := range kindsOfFault() {
		t.Run(how, func(t *testing.T) {
			for step, last := 1, false; !last; step++ {
				inWorld(t, func(t *testing.T, w *world) {
					w.create(neon)
					w.create(stripe)
					struck, ctx := f.at(t.Context(), step)
					_, _ = w.broadcaster(w.behind(struck).configure).Reconcile(ctx)
					time.Sleep(interval)

					second := w.broadcaster()
					w.sweep(second)
					if diff := cmp.Diff([]string{}, w.changes()); diff != "" {
						t.Errorf("step %d: announced (-want +got):\n%s", step, diff)
					}
					for i, name := range []string{neon, stripe} {
						if row := w.row(name); row.Current != version(1+i) || row.State != invalidation.Active || row.Revision != 0 {
							t.Errorf("step %d: the row of %s is %+v", step, name, row)
						}
					}
					w.put(stripe)
					w.sweep(second)
					w.wantChanges("1 moved " + stripe + " " + version(3))
					if last = struck.calls < step; last && step <= 10 {
						t.Errorf("a run without a fault has %d steps, want at least 10", struck.calls)
					}
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}
