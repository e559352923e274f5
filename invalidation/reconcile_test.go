package invalidation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// interval is how often the schedule has the broadcaster reconcile.
const interval = 5 * time.Minute

// reconcile reconciles, and must come to what is wanted.
func (w *world) reconcile(b *invalidation.Broadcaster, want invalidation.Reconciled) {
	w.t.Helper()
	got, err := b.Reconcile(w.t.Context())
	if err != nil {
		w.t.Errorf("reconciling: %v", err)
	}
	if got.Reports == nil {
		w.t.Error("the reports are not handed on")
	}
	got.Reports = nil
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("reconciled (-want +got):\n%s", diff)
	}
}

// settled is a world whose two secrets are known, and whose first reconcile is over.
func (w *world) settled(b *invalidation.Broadcaster) {
	w.t.Helper()
	w.known(b)
	w.create(stripe)
	w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 1, Full: true, Completed: true})
	w.deliver(b)
	time.Sleep(interval)
}

func (w *world) wantChanges(want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.changes()); diff != "" {
		w.t.Errorf("the log (-want +got):\n%s", diff)
	}
}

// TestAChangeWhoseEventNeverCame is found, whatever it was, and told as any other.
func TestAChangeWhoseEventNeverCame(t *testing.T) {
	const first = "1 moved " + neon + " 00000000-0000-4000-8000-000000000002"
	for name, c := range map[string]struct {
		happens func(w *world)
		want    string
	}{
		"a new version":       {func(w *world) { w.put(neon) }, "2 moved " + neon + " " + version(4)},
		"a rollback":          {func(w *world) { w.moveCurrent(neon, 2, 1) }, "2 moved " + neon + " " + version(1)},
		"a deletion":          {func(w *world) { w.delete(neon) }, "2 deleted " + neon + " "},
		"there and back":      {func(w *world) { w.put(neon); w.moveCurrent(neon, 4, 2) }, "2 refresh " + neon + " " + version(2)},
		"a new secret":        {func(w *world) { w.create("/bank/prod/payments/visa/key") }, "2 moved /bank/prod/payments/visa/key " + version(4)},
		"deleted and created": {func(w *world) { w.erase(neon); w.create(neon) }, "2 moved " + neon + " " + version(4)},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := w.broadcaster()
				w.settled(b)
				c.happens(w)
				listed := 2
				if name == "a new secret" {
					listed = 3
				}
				w.reconcile(b, invalidation.Reconciled{Listed: listed, Described: 1, Found: 1, Completed: true})
				w.wantChanges(first, c.want)
				w.deliver(b)
				if len(w.open()) > 0 || len(w.pushes()) != 2 {
					t.Errorf("open: %v, pushed: %v", w.open(), w.pushes())
				}
				w.reconcile(b, invalidation.Reconciled{Listed: listed, Completed: true})
			})
		})
	}
}

// TestASecretThatIsGoneForGood: one answer of "not found" proves nothing, two that are a lag apart do.
func TestASecretThatIsGoneForGood(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.settled(b)
		w.erase(neon)
		w.reconcile(b, invalidation.Reconciled{Listed: 1, Described: 1, Completed: true})
		w.wantChanges("1 moved " + neon + " " + version(2))
		time.Sleep(interval)
		w.reconcile(b, invalidation.Reconciled{Listed: 1, Described: 1, Found: 1, Completed: true})
		w.wantChanges("1 moved "+neon+" "+version(2), "2 deleted "+neon+" ")
		w.reconcile(b, invalidation.Reconciled{Listed: 1, Completed: true})
	})
}

// TestAListThatIsBehind takes nothing back, and what it does not show yet is found when it does.
func TestAListThatIsBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.settled(b)
		w.listLag.Store(int64(4 * time.Minute))
		w.put(neon)
		w.put(stripe)
		w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(4)))
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Completed: true})
		time.Sleep(interval)
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 1, Found: 1, Completed: true})
		w.wantChanges("1 moved "+neon+" "+version(2), "2 moved "+neon+" "+version(4), "3 moved "+stripe+" "+version(5))
	})
}

// TestANewSecretThatTheListDidNotShowYet: it changed before the last reconcile began, but within the list's lag.
func TestANewSecretThatTheListDidNotShowYet(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.settled(b)
		w.create("/bank/prod/payments/visa/key")
		w.listLag.Store(int64(4 * time.Minute))
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Completed: true})
		time.Sleep(interval)
		w.reconcile(b, invalidation.Reconciled{Listed: 3, Described: 1, Found: 1, Completed: true})
	})
}

// TestWhatOnlyClientsAndTeamsKnowOf is looked at too.
func TestWhatOnlyClientsAndTeamsKnowOf(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const visa = "/bank/prod/payments/visa/key"
		r := ready()
		r.reports[0].Secrets = []wire.SecretOutcome{{Name: stripe}, {Name: "/bank/prod/kyc/sanctions/token"}}
		b := w.heard(r, subscribers.Service{Name: "payments-api", Function: "payments-api", Secrets: []string{"visa/key", "neon/*"}})
		w.reconcile(b, invalidation.Reconciled{Described: 2, Full: true, Completed: true}) // neither is there
		w.listLag.Store(int64(4 * time.Minute))
		time.Sleep(interval)
		w.create(stripe)
		w.create(visa)
		w.reconcile(b, invalidation.Reconciled{Described: 2, Found: 2, Completed: true})
		w.wantChanges("1 moved "+stripe+" "+version(1), "1 moved "+visa+" "+version(2))
	})
}

// TestOnceADayEverythingIsDescribed, whatever the list says.
func TestOnceADayEverythingIsDescribed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.settled(b)
		time.Sleep(24*time.Hour - interval - time.Second)
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Completed: true})
		time.Sleep(time.Second)
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 2, Full: true, Completed: true})
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Completed: true})
	})
}

// TestADomainThatKeepsDeletedSecretsUntilTheirTTL is not told of deletions by a reconcile either.
func TestADomainThatKeepsDeletedSecretsUntilTheirTTL(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster(func(cfg *invalidation.Config) {
			cfg.Subscribed = w.packaged(manifested(t, subscribers.Manifest{OnDelete: "ttl"}))
		})
		w.settled(b)
		w.delete(neon)
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 1, Completed: true})
		w.wantChanges("1 moved " + neon + " " + version(2))
	})
}

// TestWhatTheLogLacksAfterARestoreIsToldAgain: changes was restored, operations was not.
func TestWhatTheLogLacksAfterARestoreIsToldAgain(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(w *world, b *invalidation.Broadcaster)
		want    []string
	}{
		"a version": {func(w *world, b *invalidation.Broadcaster) {
			w.put(neon)
			w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(4)))
		}, []string{"2 refresh " + neon + " " + version(4)}},
		"a deletion": {func(w *world, b *invalidation.Broadcaster) {
			w.delete(neon)
			w.confirm(b, invalidation.Appended, w.event(events.Deleted, neon, ""))
		}, []string{"2 deleted " + neon + " "}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := w.broadcaster()
				w.settled(b)
				backup, err := w.tables.Backup(changesTable)
				if err != nil {
					t.Fatal(err)
				}
				c.happens(w, b)
				if err := w.tables.Restore(backup); err != nil {
					t.Fatal(err)
				}
				first := "1 moved " + neon + " " + version(2)
				w.wantChanges(first)
				w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 1, Found: 1, Completed: true})
				w.wantChanges(append([]string{first}, c.want...)...)
				w.reconcile(b, invalidation.Reconciled{Listed: 2, Completed: true})
			})
		})
	}
}

// counting counts what is asked of Secrets Manager.
type counting struct {
	invalidation.Describer
	invalidation.Lister
	describes, lists int
	before           func(name string) error
}

func (c *counting) Describe(ctx context.Context, id string) (invalidation.Description, error) {
	c.describes++
	if c.before != nil {
		if err := c.before(id); err != nil {
			return invalidation.Description{}, err
		}
	}
	return c.Describer.Describe(ctx, id)
}

func (c *counting) List(ctx context.Context, prefix string) ([]invalidation.Listed, error) {
	c.lists++
	return c.Lister.List(ctx, prefix)
}

func (w *world) counted(c *counting) *invalidation.Broadcaster {
	c.Describer, c.Lister = w.describer(), w.lister()
	return w.broadcaster(func(cfg *invalidation.Config) { cfg.Secrets, cfg.Lister = oneByOne{c, make(chan struct{}, 1)}, c })
}

// oneByOne lets a counting be used by one at a time.
type oneByOne struct {
	*counting
	turn chan struct{}
}

func (o oneByOne) Describe(ctx context.Context, id string) (invalidation.Description, error) {
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	return o.counting.Describe(ctx, id)
}

// TestAFirstDeploymentAnnouncesNothing: 10,000 secrets that have been there for long become known without a revision. What
// changed meanwhile, and whose event was lost, is announced: whether it had been looked at before or not.
func TestAFirstDeploymentAnnouncesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const many = 10_000
		name := func(i int) string { return fmt.Sprintf("/bank/prod/payments/service-%d/key", i) }
		for i := range many {
			if _, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: name(i), SecretString: "placeholder"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: "/bank/prod/payments-archive/a/key", SecretString: "placeholder"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		c := &counting{}
		c.before = func(string) error {
			if c.describes == 5_000 { // in the middle of the first reconcile, which goes by name
				time.Sleep(time.Second)
				w.put(name(0))    // looked at already
				w.put(name(9999)) // not yet
			}
			return nil
		}
		b := w.counted(c)
		w.reconcile(b, invalidation.Reconciled{Listed: many, Described: many, Found: 1, Full: true, Completed: true})
		c.before = nil
		if c.describes != many || c.lists != 1 {
			t.Errorf("%d describes and %d lists, want %d and 1", c.describes, c.lists, many)
		}
		time.Sleep(interval)
		w.reconcile(b, invalidation.Reconciled{Listed: many, Described: 1, Found: 1, Completed: true})
		w.wantChanges("1 moved "+name(9999)+" "+version(many+3), "2 moved "+name(0)+" "+version(many+2))
		c.describes = 0
		w.reconcile(b, invalidation.Reconciled{Listed: many, Completed: true})
		if c.describes != 0 {
			t.Errorf("%d describes although nothing moved", c.describes)
		}
	})
}

// TestAReconcileThatIsCutShortIsNotCompleted: the next one goes on, and announces what changed since the first began.
func TestAReconcileThatIsCutShortIsNotCompleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create(neon)
		w.create(stripe)
		ctx, stop := context.WithCancel(t.Context())
		c := &counting{before: func(string) error { stop(); return context.Canceled }}
		b := w.counted(c)
		got, err := b.Reconcile(ctx)
		if !errors.Is(err, context.Canceled) || got.Completed {
			t.Errorf("got %+v, %v", got, err)
		}
		c.before = nil
		w.put(stripe)
		time.Sleep(interval)
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 2, Found: 1, Full: true, Completed: true})
		w.wantChanges("1 moved " + stripe + " " + version(3))
	})
}

// TestASecretThatCannotBeDescribedHoldsUpNoOther: it stays suspect, and what is not known yet stays news.
func TestASecretThatCannotBeDescribedHoldsUpNoOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create(neon)
		w.create(stripe)
		denied := stripe
		c := &counting{}
		c.before = func(id string) error {
			if id == denied {
				return errInjected
			}
			return nil
		}
		b := w.counted(c)
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 2, Failed: 1, Full: true})
		w.put(neon)
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 2, Found: 1, Failed: 1})
		w.put(stripe)
		denied = ""
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 1, Found: 1, Completed: true})
		denied = neon // known by now
		w.put(neon)
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 1, Failed: 1, Completed: true})
		denied = ""
		w.reconcile(b, invalidation.Reconciled{Listed: 2, Described: 1, Found: 1, Completed: true})
	})
}

// TestAReconcileThatNeedsSeveralInvocations: each goes on where the one before stopped, and what is suspect comes first.
func TestAReconcileThatNeedsSeveralInvocations(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const many = 400
		name := func(i int) string { return fmt.Sprintf("/bank/prod/payments/service-%03d/key", i) }
		for i := range many {
			if _, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: name(i), SecretString: "placeholder"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		c := &counting{before: func(string) error { time.Sleep(100 * time.Millisecond); return nil }} // one by one
		b := w.counted(c)
		tick := func() (invalidation.Reconciled, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a quarter of what is needed
			defer cancel()
			defer time.Sleep(interval)
			return b.Reconcile(ctx)
		}
		ticks := func() (n int) {
			for n = 1; n < 10; n++ {
				if got, err := tick(); err == nil && got.Completed {
					break
				}
			}
			return n
		}
		if n := ticks(); n > 6 {
			t.Errorf("the first deployment took %d ticks", n)
		}
		time.Sleep(24 * time.Hour)
		if got, err := tick(); err == nil || !got.Full {
			t.Errorf("a full pass ended at once: %+v, %v", got, err)
		}
		w.put(name(many - 1))
		if got, _ := tick(); got.Found != 1 || !got.Completed {
			t.Errorf("what is suspect did not come first: %+v", got)
		}
		c.describes = 0
		for range 6 {
			if _, err := tick(); err == nil {
				break
			}
		}
		if c.describes > many {
			t.Errorf("%d describes for the rest of a pass over %d secrets", c.describes, many)
		}
		w.reconcile(b, invalidation.Reconciled{Listed: many, Completed: true})
	})
}

func TestReconcileTellsWhatCannotBeReadOrWritten(t *testing.T) {
	for want, table := range map[string]string{
		"reading how far reconciling has come: ": operationsTable,
		"loading the head: ":                     changesTable,
	} {
		inWorld(t, func(t *testing.T, w *world) {
			b := w.broadcaster()
			w.settled(b)
			w.drop(table)
			if _, err := b.Reconcile(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s…", err, want)
			}
		})
	}
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster(func(cfg *invalidation.Config) { cfg.Lister = noLister{} })
		if _, err := b.Reconcile(t.Context()); !errors.Is(err, errInjected) || !strings.HasPrefix(err.Error(), "listing secrets: ") {
			t.Errorf("got %v", err)
		}
		r := ready()
		r.readErr = errInjected
		if _, err := w.heard(r).Reconcile(t.Context()); !errors.Is(err, errInjected) || !strings.HasPrefix(err.Error(), "reading which secrets are in use: ") {
			t.Errorf("got %v", err)
		}
	})
}

type noLister struct{}

func (noLister) List(context.Context, string) ([]invalidation.Listed, error) { return nil, errInjected }
