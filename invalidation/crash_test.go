package invalidation_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A fault strikes at a broadcaster's nth call of a port, before the call has its effect or after.
type fault struct {
	at    int
	after bool
	dies  bool         // nothing the broadcaster does after the fault has an effect
	fail  func() error // what the call ends with, if it ends

	mu    sync.Mutex
	calls int
	dead  bool
}

// A kindOfFault is what a fault does at whichever step.
type kindOfFault struct{ dies, after bool }

func kindsOfFault() map[string]kindOfFault {
	return map[string]kindOfFault{
		"dies before its effect":  {true, false},
		"dies after its effect":   {true, true},
		"fails before its effect": {false, false},
		"fails after its effect":  {false, true},
	}
}

// at returns a fault at a step, and the context of whoever it strikes: it ends with the one that dies.
func (k kindOfFault) at(ctx context.Context, step int) (*fault, context.Context) {
	ctx, end := context.WithCancelCause(ctx)
	return &fault{at: step, after: k.after, dies: k.dies, fail: func() error {
		if k.dies {
			end(errInjected)
		}
		return errInjected
	}}, ctx
}

// strikes counts a call and says where the fault strikes it.
func (f *fault) strikes() (before, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return true, false
	}
	f.calls++
	if f.calls != f.at {
		return false, false
	}
	f.dead = f.dies
	return !f.after, f.after
}

func faulty[T any](f *fault, effect func() (T, error)) (T, error) {
	var none T
	before, after := f.strikes()
	if before {
		return none, f.fail()
	}
	result, err := effect()
	if after {
		return none, f.fail()
	}
	return result, err
}

func faultyWrite(f *fault, effect func() error) error {
	_, err := faulty(f, func() (struct{}, error) { return struct{}{}, effect() })
	return err
}

// ports are all that a broadcaster has of the world, behind a fault.
type ports struct {
	f       *fault
	secrets invalidation.Describer
	lister  invalidation.Lister
	store   *dynamodb.Store
	pusher  invalidation.Pusher
}

// behind returns a broadcaster's ports behind a fault.
func (w *world) behind(f *fault) ports { return ports{f, w.describer(), w.lister(), w.store, w} }

func (p ports) configure(cfg *invalidation.Config) {
	cfg.Secrets, cfg.Log, cfg.Fanouts, cfg.Pusher, cfg.Lister, cfg.Sweeps, cfg.Control = p, p, p, p, p, p, p
	cfg.Audience = invalidation.NewAudience("prod", "payments", p, p, nil)
}

func (p ports) Look(ctx context.Context, function string) (invalidation.FunctionState, error) {
	return faulty(p.f, func() (invalidation.FunctionState, error) { return willing{}.Look(ctx, function) })
}

func (p ports) Of(ctx context.Context, service string) ([]wire.Report, error) {
	return faulty(p.f, func() ([]wire.Report, error) { return willing{}.Of(ctx, service) })
}

func (p ports) All(ctx context.Context) ([]wire.Report, error) {
	return faulty(p.f, func() ([]wire.Report, error) { return willing{}.All(ctx) })
}

func (p ports) Pause(ctx context.Context) (invalidation.Pause, error) {
	return faulty(p.f, func() (invalidation.Pause, error) { return p.store.Pause(ctx) })
}

func (p ports) SetPause(context.Context, invalidation.Pause, invalidation.Command) error {
	panic("a broadcaster does not pause itself")
}

func (p ports) RecordCommand(ctx context.Context, by invalidation.Command) error {
	return faultyWrite(p.f, func() error { return p.store.RecordCommand(ctx, by) })
}

func (p ports) Reopen(ctx context.Context, f invalidation.Fanout, deliveries []invalidation.Delivery) error {
	return faultyWrite(p.f, func() error { return p.store.Reopen(ctx, f, deliveries) })
}

func (p ports) Holding(ctx context.Context) (invalidation.Holding, error) {
	return faulty(p.f, func() (invalidation.Holding, error) { return p.store.Holding(ctx) })
}

func (p ports) Manifest(ctx context.Context, digest string) ([]byte, error) {
	return faulty(p.f, func() ([]byte, error) { return p.store.Manifest(ctx, digest) })
}

func (p ports) Keep(ctx context.Context, text []byte) error {
	return faultyWrite(p.f, func() error { return p.store.Keep(ctx, text) })
}

func (p ports) Hold(ctx context.Context, h invalidation.Holding, by *invalidation.Command) error {
	return faultyWrite(p.f, func() error { return p.store.Hold(ctx, h, by) })
}

func (p ports) List(ctx context.Context, prefix string) ([]invalidation.Listed, error) {
	return faulty(p.f, func() ([]invalidation.Listed, error) { return p.lister.List(ctx, prefix) })
}

func (p ports) Secrets(ctx context.Context) ([]invalidation.SecretRow, error) {
	return faulty(p.f, func() ([]invalidation.SecretRow, error) { return p.store.Secrets(ctx) })
}

func (p ports) Progress(ctx context.Context) (invalidation.Progress, error) {
	return faulty(p.f, func() (invalidation.Progress, error) { return p.store.Progress(ctx) })
}

func (p ports) SaveProgress(ctx context.Context, progress invalidation.Progress) error {
	return faultyWrite(p.f, func() error { return p.store.SaveProgress(ctx, progress) })
}

func (p ports) ClaimResume(ctx context.Context, now, due time.Time) (bool, error) {
	return faulty(p.f, func() (bool, error) { return p.store.ClaimResume(ctx, now, due) })
}

func (p ports) Describe(ctx context.Context, name string) (invalidation.Description, error) {
	return faulty(p.f, func() (invalidation.Description, error) { return p.secrets.Describe(ctx, name) })
}

func (p ports) Load(ctx context.Context, names []string) (invalidation.Snapshot, error) {
	return faulty(p.f, func() (invalidation.Snapshot, error) { return p.store.Load(ctx, names) })
}

func (p ports) Append(ctx context.Context, a invalidation.Append) (wire.Row, error) {
	return faulty(p.f, func() (wire.Row, error) { return p.store.Append(ctx, a) })
}

func (p ports) Note(ctx context.Context, row invalidation.SecretRow) error {
	return faultyWrite(p.f, func() error { return p.store.Note(ctx, row) })
}

func (p ports) Row(ctx context.Context, revision int64) (wire.Row, error) {
	return faulty(p.f, func() (wire.Row, error) { return p.store.Row(ctx, revision) })
}

func (p ports) Open(ctx context.Context) ([]invalidation.Fanout, error) {
	return faulty(p.f, func() ([]invalidation.Fanout, error) { return p.store.Open(ctx) })
}

func (p ports) Deliveries(ctx context.Context, revision int64) ([]invalidation.Delivery, error) {
	return faulty(p.f, func() ([]invalidation.Delivery, error) { return p.store.Deliveries(ctx, revision) })
}

func (p ports) Record(ctx context.Context, deliveries []invalidation.Delivery) error {
	return faultyWrite(p.f, func() error { return p.store.Record(ctx, deliveries) })
}

func (p ports) Close(ctx context.Context, f invalidation.Fanout) error {
	return faultyWrite(p.f, func() error { return p.store.Close(ctx, f) })
}

func (p ports) Push(ctx context.Context, function string, payload []byte) ([]byte, error) {
	return faulty(p.f, func() ([]byte, error) { return p.pusher.Push(ctx, function, payload) })
}

// TestAFaultAtEveryStepLosesNothing stops a broadcaster at each call that it makes of a port, one run for each. Another
// one, which shares nothing with it but the tables, then gets the same events once more.
func TestAFaultAtEveryStepLosesNothing(t *testing.T) {
	services := []subscribers.Service{
		{Name: "payments-api", Secrets: []string{"**"}},
		{Name: "payments-batch", Secrets: []string{"**"}},
		{Name: "payments-report", Secrets: []string{"**"}, Deliver: "pull"},
	}
	for scenario, c := range map[string]struct {
		happens func(w *world) []events.Signal
		changes []string
		calls   int // of a run without a fault: at least
	}{
		"one rotation": {
			func(w *world) []events.Signal {
				w.known(w.broadcaster())
				w.deliver(w.broadcaster())
				w.put(neon)
				return []events.Signal{w.event(events.Moved, neon, version(3))}
			},
			[]string{"moved " + neon, "moved " + neon},
			10,
		},
		"more than one row, and a row of a secret that is only noted": {
			func(w *world) []events.Signal {
				w.create(stripe)
				w.confirm(w.broadcaster(), invalidation.Appended, w.event(events.Moved, stripe, version(1)))
				w.deliver(w.broadcaster())
				w.put(stripe, "AWSPENDING")
				told := []events.Signal{w.event(events.Check, stripe, "")}
				for i := range 10 {
					w.create(longName(i))
					told = append(told, w.event(events.Moved, longName(i), version(3+i)))
				}
				return told
			},
			bulkOf(10), 25,
		},
		"a deletion that was noted before": {
			func(w *world) []events.Signal {
				w.known(w.broadcaster())
				w.deliver(w.broadcaster())
				time.Sleep(settled)
				w.erase(neon)
				told := w.event(events.Deleted, neon, "")
				w.confirm(w.broadcaster(), invalidation.Failed, told)
				time.Sleep(late)
				return []events.Signal{told}
			},
			[]string{"moved " + neon, "deleted " + neon},
			10,
		},
	} {
		for how, f := range kindsOfFault() {
			t.Run(scenario+", "+how, func(t *testing.T) {
				for step, last := 1, false; !last; step++ {
					inWorld(t, func(t *testing.T, w *world) {
						subscriptions := func(m invalidation.Manifests) func(*invalidation.Config) {
							return func(cfg *invalidation.Config) { cfg.Subscribed = packagedOn(m, subscribed(t, services...)) }
						}
						told := c.happens(w)
						before := len(w.pushes())

						struck, ctx := f.at(t.Context(), step)
						first := w.broadcaster(subscriptions(w.behind(struck)), w.behind(struck).configure)
						_, _ = first.Confirm(ctx, told) // whatever it says: it may not live to say it
						_ = first.Deliver(ctx)

						second := w.broadcaster(subscriptions(w.store))
						if handled, err := second.Confirm(t.Context(), told); err != nil {
							t.Errorf("step %d: the second ends with %v, %v", step, handled, err)
						}
						w.deliver(second)
						time.Sleep(10 * time.Second) // what the first had tried is due
						w.deliver(second)
						w.checkNothingLost(step, before, c.changes, services)
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

// longName is of a secret of which few go into one row.
func longName(i int) string {
	return fmt.Sprintf("/bank/prod/payments/neon/%s-%d", strings.Repeat("long-", 80), i)
}

func bulkOf(n int) []string {
	changes := []string{"moved " + stripe}
	for i := range n {
		changes = append(changes, "moved "+longName(i))
	}
	return changes
}

// checkNothingLost: each change has one revision, each revision after the first an outcome for each subscription, and no
// fan-out is open.
func (w *world) checkNothingLost(step, pushedBefore int, changes []string, services []subscribers.Service) {
	w.t.Helper()
	var got []string
	rows := w.rows()
	for _, row := range rows {
		for _, c := range row.Changes {
			got = append(got, string(c.Kind)+" "+c.Name)
		}
		outcomes := map[string]invalidation.Outcome{}
		for _, d := range w.deliveries(row.Revision) {
			outcomes[d.Subscription] = d.Outcome
		}
		for _, s := range services {
			want := invalidation.Acknowledged
			if s.Deliver == "pull" {
				want = invalidation.Skipped
			}
			if row.Revision > 1 && outcomes[s.Name] != want {
				w.t.Errorf("step %d: revision %d to %s is %q, want %s", step, row.Revision, s.Name, outcomes[s.Name], want)
			}
		}
	}
	slices.Sort(got) // in whichever order they got through
	if diff := cmp.Diff(slices.Sorted(slices.Values(changes)), got); diff != "" {
		w.t.Errorf("step %d: the log (-want +got):\n%s", step, diff)
	}
	if open := w.open(); len(open) > 0 {
		w.t.Errorf("step %d: open: %v", step, open)
	}
	head := 0
	for _, revision := range w.pushes()[pushedBefore:] {
		if revision == int64(len(rows)) {
			head++
		}
	}
	if head < 2 {
		w.t.Errorf("step %d: the head was pushed %d times, want once for each of two subscriptions", step, head)
	}
}
