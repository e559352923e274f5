package invalidation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// An interposed log lets another in between what a broadcaster reads and what it writes.
type interposed struct {
	invalidation.Log
	append, note func() // called before the first write of its kind
}

func (l *interposed) Append(ctx context.Context, a invalidation.Append) (wire.Row, error) {
	if first := l.append; first != nil {
		l.append = nil
		first()
	}
	return l.Log.Append(ctx, a)
}

func (l *interposed) Note(ctx context.Context, row invalidation.SecretRow) error {
	if first := l.note; first != nil {
		l.note = nil
		first()
	}
	return l.Log.Note(ctx, row)
}

// before has another broadcaster come in before the first append.
func (w *world) before(append func()) func(*invalidation.Config) {
	return func(cfg *invalidation.Config) { cfg.Log = &interposed{Log: w.store, append: append} }
}

func TestTwoBroadcastersRaceForOneHead(t *testing.T) {
	for name, c := range map[string]struct {
		other   string // the secret that the other tells of
		ours    invalidation.Handling
		changes []string
	}{
		"about one change: the loser reads again and finds it told": {
			neon, invalidation.Duplicate,
			[]string{"1 moved " + neon + " " + version(1)},
		},
		"about two changes: the loser takes the next revision": {
			stripe, invalidation.Appended,
			[]string{"1 moved " + stripe + " " + version(2), "2 moved " + neon + " " + version(1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.create(neon)
				w.create(stripe)
				versions := map[string]string{neon: version(1), stripe: version(2)}
				loser := w.broadcaster(w.before(func() {
					w.confirm(w.broadcaster(), invalidation.Appended, w.event(events.Moved, c.other, versions[c.other]))
				}))
				w.confirm(loser, c.ours, w.event(events.Moved, neon, version(1)))
				if diff := cmp.Diff(c.changes, w.changes()); diff != "" {
					t.Errorf("the log (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestARaceAboutARowAlone: what is noted without a revision may not undo what another noted or appended either.
func TestARaceAboutARowAlone(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.put(neon, "AWSPENDING")
		slow := w.broadcaster(func(cfg *invalidation.Config) {
			cfg.ConfirmWithin = time.Minute
			cfg.Log = &interposed{Log: w.store, note: func() {
				w.put(neon)
				w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(4)))
			}}
		})
		w.confirm(slow, invalidation.Unchanged, hint(neon))
		w.checkChanges("moved 2", "moved 4")
		w.checkRow(neon, "active 4 (2)")
	})
}

// TestTheRowBeforeMustBeTheOneThatWasRead: a restored table may have another row at the head's revision.
func TestTheRowBeforeMustBeTheOneThatWasRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		backup, err := w.tables.Backup(changesTable, operationsTable)
		if err != nil {
			t.Fatal(err)
		}
		w.create(stripe)
		w.confirm(b, invalidation.Appended, w.event(events.Moved, stripe, version(3))) // revision 2, soon lost
		w.put(neon)
		w.confirm(w.broadcaster(w.before(func() {
			if err := w.tables.Restore(backup); err != nil {
				t.Error(err)
			}
			w.confirm(b, invalidation.Appended, w.event(events.Moved, stripe, version(3))) // another revision 2
		})), invalidation.Appended, w.event(events.Moved, neon, version(4)))
		w.checkChanges("moved 2", "moved 3", "moved 4")
	})
}

// TestManyBroadcastersAtOnce: whoever wins, each change has one revision and the chain is whole.
func TestManyBroadcastersAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const processes, secretsEach = 4, 3
		var signals []events.Signal
		for i := range secretsEach {
			name := fmt.Sprintf("/bank/prod/payments/neon/database-%d", i)
			w.create(name)
			signals = append(signals, w.event(events.Moved, name, version(i+1)))
		}
		for p := range processes {
			for i := range signals {
				go func() {
					told := signals[(p+i)%len(signals)]
					if handled, err := w.broadcaster().Confirm(t.Context(), []events.Signal{told}); err != nil {
						t.Errorf("%s: %s, %v", told.Name, handled[0], err)
					}
				}()
			}
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(w.changes()); got != secretsEach {
			t.Errorf("got %d changes, want %d: %v", got, secretsEach, w.changes())
		}
	})
}

// TestATransactionThatMeetsAnotherIsTriedAgain: DynamoDB's TransactionConflict is a conflict, not an error.
func TestATransactionThatMeetsAnotherIsTriedAgain(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		w.create(neon)
		w.conflicts.Store(3)
		w.confirm(w.broadcaster(), invalidation.Appended, w.event(events.Moved, neon, version(1)))
		w.checkChanges("moved 1")
	})
}

// TestABulkTakesSeveralRows: rows hold what one read unit holds (which every look at the log checks), a transaction stays
// far below DynamoDB's limit, and no change is lost or told twice.
func TestABulkTakesSeveralRows(t *testing.T) {
	const many = 120 // more than DynamoDB gives or takes at once
	name := func(i int) string { return fmt.Sprintf("/bank/prod/payments/s/%d", i) }
	for kind, happens := range map[wire.Kind]func(w *world, i int) events.Signal{
		wire.Moved:   func(w *world, i int) events.Signal { w.put(name(i)); return w.event(events.Check, name(i), "") },
		wire.Deleted: func(w *world, i int) events.Signal { w.delete(name(i)); return w.event(events.Deleted, name(i), "") },
	} {
		t.Run(string(kind), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := w.broadcaster()
				var known, told []events.Signal
				for i := range many {
					w.create(name(i))
					known = append(known, hint(name(i)))
				}
				w.confirm(b, invalidation.Appended, known...)
				before := len(w.rows())
				for i := range many {
					told = append(told, happens(w, i))
				}
				w.confirm(b, invalidation.Appended, told...)

				times := map[string]int{}
				rows := w.rows()[before:]
				for _, row := range rows {
					if len(row.Changes) > 40 {
						t.Errorf("revision %d has %d changes", row.Revision, len(row.Changes))
					}
					for _, c := range row.Changes {
						times[c.Name]++
						if c.Kind != kind {
							t.Errorf("%s is %s, want %s", c.Name, c.Kind, kind)
						}
						if got := w.row(c.Name).Revision; got != row.Revision {
							t.Errorf("%s: its row is of revision %d, want %d", c.Name, got, row.Revision)
						}
					}
				}
				for i := range many {
					if times[name(i)] != 1 {
						t.Errorf("%s is told %d times", name(i), times[name(i)])
					}
				}
				if len(rows) > many/20 {
					t.Errorf("%d changes took %d rows", many, len(rows))
				}
			})
		})
	}
}

// TestWhatTheAnswerShowsIsAppendedAlsoIfTheEventIsNewer: the event's own change follows once it shows.
func TestWhatTheAnswerShowsIsAppendedAlsoIfTheEventIsNewer(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.put(neon) // of which nobody tells
		began := time.Now()
		w.put(neon)
		told := w.event(events.Moved, neon, version(4))
		w.lag.Store(int64(time.Since(began) + time.Second))
		w.confirm(b, invalidation.Failed, told)
		w.checkChanges("moved 2", "moved 3")
		w.lag.Store(0)
		w.confirm(b, invalidation.Appended, told)
		w.checkChanges("moved 2", "moved 3", "moved 4")
	})
}

// TestTheWaitForAnAnswerIsBounded: what hangs comes back in time.
func TestTheWaitForAnAnswerIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.create(neon)
		began := time.Now()
		b := w.broadcaster(describedBy(func(ctx context.Context, _ string) (invalidation.Description, error) {
			<-ctx.Done()
			return invalidation.Description{}, ctx.Err()
		}))
		handled, err := b.Confirm(t.Context(), []events.Signal{hint(neon)})
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v, want 2 s", took)
		}
		if handled[0] != invalidation.Failed || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %s, %v", handled[0], err)
		}
	})
}

func TestBegin(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		begin := func(b *invalidation.Broadcaster) {
			if err := b.Begin(t.Context()); err != nil {
				t.Error(err)
			}
		}
		begin(w.broadcaster(w.before(func() { begin(w.broadcaster()) })))
		begin(w.broadcaster())
		rows := w.rows()
		if len(rows) != 1 || len(rows[0].Changes) != 0 || len(w.open()) != 0 {
			t.Errorf("got %v and open %v, want one row without changes and nothing to deliver", rows, w.open())
		}
		w.create(neon)
		w.confirm(w.broadcaster(), invalidation.Appended, w.event(events.Moved, neon, version(1)))
		begin(w.broadcaster())
		if diff := cmp.Diff([]string{"2 moved " + neon + " " + version(1)}, w.changes()); diff != "" {
			t.Errorf("the log (-want +got):\n%s", diff)
		}
	})
}

// TestASecretThatCannotBeAskedForHoldsNoOtherUp: it comes back alone.
func TestASecretThatCannotBeAskedForHoldsNoOtherUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster(describedBy(func(ctx context.Context, name string) (invalidation.Description, error) {
			if name == stripe {
				return invalidation.Description{}, errInjected
			}
			return w.describer().Describe(ctx, name)
		}))
		w.create(neon)
		handled, err := b.Confirm(t.Context(), []events.Signal{hint(stripe), hint(neon)})
		if diff := cmp.Diff([]invalidation.Handling{invalidation.Failed, invalidation.Appended}, handled); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if !errors.Is(err, errInjected) || !strings.Contains(err.Error(), stripe) || strings.Contains(err.Error(), neon) {
			t.Errorf("the error does not tell which secret and why: %v", err)
		}
		w.checkChanges("moved 1")
	})
}

// TestSignalsAboutOneSecretAreOneQuestion: one rotation makes up to eight events, in any order.
func TestSignalsAboutOneSecretAreOneQuestion(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		asked := 0
		b := w.broadcaster(describedBy(func(ctx context.Context, name string) (invalidation.Description, error) {
			asked++
			return w.describer().Describe(ctx, name)
		}))
		w.create(neon)
		first := w.event(events.Moved, neon, version(1))
		w.put(neon)
		w.confirm(b, invalidation.Appended,
			w.event(events.Check, neon, ""), w.event(events.Moved, neon, version(2)), hint(neon), first, w.event(events.Check, neon, ""))
		if asked != 1 {
			t.Errorf("asked %d times, want once", asked)
		}
		w.checkChanges("moved 2")
	})
}

func TestAnotherDomainsSecretIsMisrouted(t *testing.T) {
	for name, c := range map[string]struct{ env, domain string }{
		"another domain":          {"prod", "core"},
		"a domain that looks so":  {"prod", "payments-archive"},
		"another environment":     {"dev", "payments"},
		"neither is ours":         {"dev", "core"},
		"an environment too long": {"prod2", "payments"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := w.broadcaster(describedBy(func(context.Context, string) (invalidation.Description, error) {
					t.Error("another domain's secret was described")
					return invalidation.Description{}, errInjected
				}))
				told := w.event(events.Moved, fmt.Sprintf("/bank/%s/%s/neon/connection-string", c.env, c.domain), version(1))
				told.Env, told.Domain = c.env, c.domain
				w.confirm(b, invalidation.Misrouted, told)
				w.checkChanges()
			})
		})
	}
}
