package invalidation_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// known gives the world a secret whose version 2 is current and version 1 previous, and the log says so.
func (w *world) known(b *invalidation.Broadcaster) {
	w.t.Helper()
	w.create(neon)
	w.put(neon)
	w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(2)))
}

// TestOneSignal: what one signal comes to after version 2 of a secret became current and the log told it as revision 1.
func TestOneSignal(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(w *world) events.Signal // and what is told of it
		want    invalidation.Handling
		change  string // appended as revision 2; empty: none
		row     string // of the secret, afterwards: state current (previous)
	}{
		"a rotation is a move": {
			func(w *world) events.Signal { w.put(neon); return w.event(events.Moved, neon, version(3)) },
			invalidation.Appended, "moved 3", "active 3 (2)",
		},
		"a rollback is a move to an older version": {
			func(w *world) events.Signal {
				w.moveCurrent(neon, 2, 1)
				return w.event(events.Moved, neon, version(1))
			},
			invalidation.Appended, "moved 1", "active 1 (2)",
		},
		"an event that says only that something was called finds the move as well": {
			func(w *world) events.Signal { w.put(neon); return w.event(events.Check, neon, "") },
			invalidation.Appended, "moved 3", "active 3 (2)",
		},
		"several moves are told as the one that is current now": {
			func(w *world) events.Signal {
				w.put(neon)
				told := w.event(events.Moved, neon, version(3))
				w.put(neon)
				return told
			},
			invalidation.Appended, "moved 4", "active 4 (3)",
		},
		"the same event again is a duplicate": {
			func(w *world) events.Signal { return w.event(events.Moved, neon, version(2)) },
			invalidation.Duplicate, "", "active 2 (1)",
		},
		"the same version with another date is unchanged": {
			func(w *world) events.Signal {
				describing := "now with a description"
				_, err := w.secrets.UpdateSecret(secrets.UpdateSecretInput{SecretID: neon, Description: &describing})
				w.done(err)
				return w.event(events.Check, neon, "")
			},
			invalidation.Unchanged, "", "active 2 (1)",
		},
		"events about one change, dated seconds apart, are one": {
			func(w *world) events.Signal {
				changed := w.row(neon).Changed
				describing := "now with a description"
				_, err := w.secrets.UpdateSecret(secrets.UpdateSecretInput{SecretID: neon, Description: &describing})
				w.done(err)
				told := w.event(events.Moved, neon, version(2))
				told.Time = changed.Add(4 * time.Second)
				return told
			},
			invalidation.Duplicate, "", "active 2 (1)",
		},
		"the same version with another AWSPREVIOUS was elsewhere in between": {
			func(w *world) events.Signal {
				w.put(neon)
				w.moveCurrent(neon, 3, 2)
				return w.event(events.Check, neon, "")
			},
			invalidation.Appended, "refresh 2", "active 2 (3)",
		},
		"there and back is a refresh if an event proves it": {
			func(w *world) events.Signal {
				w.moveCurrent(neon, 2, 1)
				told := w.event(events.Moved, neon, version(1))
				w.moveCurrent(neon, 1, 2)
				return told
			},
			invalidation.Appended, "refresh 2", "active 2 (1)",
		},
		"there and back is a refresh if the way back is told": {
			func(w *world) events.Signal {
				w.moveCurrent(neon, 2, 1)
				w.moveCurrent(neon, 1, 2)
				return w.event(events.Moved, neon, version(2))
			},
			invalidation.Appended, "refresh 2", "active 2 (1)",
		},
		"an event from before the last change proves nothing": {
			func(w *world) events.Signal {
				told := w.event(events.Moved, neon, version(1))
				told.Time = told.Time.Add(-10 * time.Second)
				return told
			},
			invalidation.Unchanged, "", "active 2 (1)",
		},
		"a hint's version and time are not believed": {
			func(*world) events.Signal {
				told := hint(neon)
				told.Kind, told.VersionID, told.Time = events.Moved, version(9), time.Now().Add(time.Hour)
				return told
			},
			invalidation.Unchanged, "", "active 2 (1)",
		},
		"a hint makes the log say what DescribeSecret says": {
			func(w *world) events.Signal {
				w.put(neon)
				told := hint(neon)
				told.Kind, told.VersionID = events.Moved, version(9)
				return told
			},
			invalidation.Appended, "moved 3", "active 3 (2)",
		},
		"a hint of a deletion deletes nothing": {
			func(*world) events.Signal {
				told := hint(neon)
				told.Kind = events.Deleted
				return told
			},
			invalidation.Unchanged, "", "active 2 (1)",
		},
		"a version that waits with AWSPENDING changes nothing": {
			func(w *world) events.Signal { w.put(neon, secrets.Pending); return w.event(events.Check, neon, "") },
			invalidation.Unchanged, "", "active 2 (1)",
		},
		"a DeletedDate is a deletion": {
			func(w *world) events.Signal { w.delete(neon); return w.event(events.Deleted, neon, "") },
			invalidation.Appended, "deleted ", "deleted 2 (1)",
		},
		"a deletion that was taken back before anybody looked leaves things as they are": {
			func(w *world) events.Signal {
				w.delete(neon)
				told := w.event(events.Deleted, neon, "")
				w.restore(neon)
				return told
			},
			invalidation.Unchanged, "", "active 2 (1)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := w.broadcaster()
				w.known(b)
				w.confirm(b, c.want, c.happens(w))

				is := w.lastChanged(neon)
				if c.change == "" {
					w.checkChanges("moved 2")
				} else {
					w.checkChanges("moved 2", c.change)
					if rows := w.rows(); !rows[len(rows)-1].Changes[0].At.Equal(is) {
						t.Errorf("the change is dated %v, the secret %v", rows[len(rows)-1].Changes[0].At, is)
					}
				}
				w.checkRow(neon, c.row)
				if got := w.row(neon).LastChanged; !got.Equal(is) {
					t.Errorf("the row's date is %v, the secret's %v", got, is)
				}
			})
		})
	}
}

// describeChange is a row's only change in words.
func describeChange(t *testing.T, row wire.Row) string {
	t.Helper()
	if len(row.Changes) != 1 {
		t.Fatalf("revision %d has %d changes, want 1", row.Revision, len(row.Changes))
	}
	return string(row.Changes[0].Kind) + " " + number(row.Changes[0].VersionID)
}

// number is the number of a version by its id.
func number(versionID string) string {
	return strings.TrimLeft(strings.TrimPrefix(versionID, "00000000-0000-4000-8000-"), "0")
}

func (w *world) checkRow(name, want string) {
	w.t.Helper()
	row := w.row(name)
	if got := fmt.Sprintf("%s %s (%s)", row.State, number(row.Current), number(row.Previous)); got != want {
		w.t.Errorf("%s: the store has %q, want %q", name, got, want)
	}
}

func (w *world) lastChanged(name string) time.Time {
	w.t.Helper()
	is, err := w.secrets.DescribeSecret(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return is.LastChangedDate
}

func (w *world) checkChanges(want ...string) {
	w.t.Helper()
	var got []string
	for _, row := range w.rows() {
		got = append(got, describeChange(w.t, row))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("the log (-want +got):\n%s", diff)
	}
}

func TestAnEventNewerThanTheAnswerLooksAgain(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(w *world, b *invalidation.Broadcaster) // which the answers show
		happens func(w *world) events.Signal                // which they do not show yet
		change  string
	}{
		"a rotation": {
			func(*world, *invalidation.Broadcaster) {},
			func(w *world) events.Signal { w.put(neon); return w.event(events.Moved, neon, version(3)) },
			"moved 3",
		},
		"there and back": {
			func(*world, *invalidation.Broadcaster) {},
			func(w *world) events.Signal {
				w.moveCurrent(neon, 2, 1)
				w.moveCurrent(neon, 1, 2)
				return w.event(events.Moved, neon, version(2))
			},
			"refresh 2",
		},
		"a deletion": {
			func(*world, *invalidation.Broadcaster) {},
			func(w *world) events.Signal { w.delete(neon); return w.event(events.Deleted, neon, "") },
			"deleted ",
		},
		"a restore": {
			func(w *world, b *invalidation.Broadcaster) {
				w.delete(neon)
				w.confirm(b, invalidation.Appended, w.event(events.Deleted, neon, ""))
			},
			func(w *world) events.Signal { w.restore(neon); return w.event(events.Restored, neon, "") },
			"restored 2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := w.broadcaster()
				w.known(b)
				old := w.event(events.Moved, neon, version(2))
				c.before(w, b)
				began, revisions := time.Now(), len(w.rows())
				told := c.happens(w)

				w.lag.Store(int64(time.Since(began) + time.Second))
				w.confirm(b, invalidation.Failed, told, old, hint(neon)) // the newest of AWS's own counts
				if got := len(w.rows()); got != revisions {
					t.Errorf("got %d revisions, want %d", got, revisions)
				}

				asked := 0
				w.confirm(w.broadcaster(describedBy(func(ctx context.Context, name string) (invalidation.Description, error) {
					defer w.lag.Store(0) // the answers settle after the first
					asked++
					return w.describer().Describe(ctx, name)
				})), invalidation.Appended, told)
				if asked != 2 {
					t.Errorf("looked %d times, want 2", asked)
				}
				if rows := w.rows(); len(rows) != revisions+1 || describeChange(t, rows[revisions]) != c.change {
					t.Errorf("got %v, want %d rows and then %q", w.changes(), revisions, c.change)
				}
			})
		})
	}
}

// TestAnEventIsNotWaitedForForEver: what an event claims and no answer shows a minute later is not so.
func TestAnEventIsNotWaitedForForEver(t *testing.T) {
	for name, c := range map[string]struct {
		kind    events.Kind
		version string
	}{
		"a version that never was": {events.Moved, version(9)},
		"a deletion":               {events.Deleted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(_ *testing.T, w *world) {
				b := w.broadcaster()
				w.known(b)
				told := w.event(c.kind, neon, c.version)
				told.Time = time.Now()
				w.confirm(b, invalidation.Failed, told)
				time.Sleep(late + 2*time.Second)
				handled, err := b.Confirm(w.t.Context(), []events.Signal{told})
				if handled[0] == invalidation.Failed {
					w.t.Errorf("still waited for: %v", err)
				}
			})
		})
	}
}

// TestAnOlderAnswerIsNeverAppended: not even when it is asked for long after.
func TestAnOlderAnswerIsNeverAppended(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.create(neon)
		w.put(neon)
		is := w.lastChanged(neon)
		w.put(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(3)))

		for _, after := range []time.Duration{0, 10 * late} {
			time.Sleep(after)
			w.lag.Store(int64(time.Since(is))) // as it was with version 2
			w.confirm(b, invalidation.Failed, hint(neon))
		}
		w.checkChanges("moved 3")
		w.checkRow(neon, "active 3 (2)")

		w.lag.Store(0)
		w.confirm(b, invalidation.Unchanged, hint(neon))
	})
}

// TestTwoAnswersOfOneDate: which of them is newer shows only when they have settled.
func TestTwoAnswersOfOneDate(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		now := time.Now()
		answer := invalidation.Description{Current: version(1), LastChanged: now}
		b := w.broadcaster(describedBy(func(context.Context, string) (invalidation.Description, error) { return answer, nil }))
		w.confirm(b, invalidation.Appended, hint(neon))

		answer.Current, answer.Previous = version(2), version(1)
		w.confirm(b, invalidation.Failed, hint(neon))
		time.Sleep(late - time.Second)
		w.confirm(b, invalidation.Failed, hint(neon))
		w.checkChanges("moved 1")

		time.Sleep(time.Second)
		w.confirm(b, invalidation.Appended, hint(neon))
		w.checkChanges("moved 1", "moved 2")
	})
}

// TestWithoutAWSCURRENT: there is nothing yet that a cache could hold.
func TestWithoutAWSCURRENT(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster()
		_, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: neon})
		w.done(err)
		w.confirm(b, invalidation.Unchanged, w.event(events.Check, neon, ""))
		w.checkChanges()
		w.checkRow(neon, "empty  ()")
		w.put(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(2)))
		w.checkChanges("moved 2")
	})
}

// describedBy puts a scripted answer in the place of Secrets Manager.
func describedBy(describe func(ctx context.Context, name string) (invalidation.Description, error)) func(*invalidation.Config) {
	return func(cfg *invalidation.Config) { cfg.Secrets = describing(describe) }
}

type describing func(ctx context.Context, name string) (invalidation.Description, error)

func (d describing) Describe(ctx context.Context, name string) (invalidation.Description, error) {
	return d(ctx, name)
}
