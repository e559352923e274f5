package invalidation_test

import (
	"context"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// settled is when no answer is of before what is known any more. Dates run ahead of the clock by milliseconds.
const settled = late + time.Second

// TestDeletedWhenNotFoundTwice: Secrets Manager is eventually consistent, so one answer of "not found" proves nothing.
func TestDeletedWhenNotFoundTwice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.erase(neon)
		told := w.event(events.Deleted, neon, "")
		w.confirm(b, invalidation.Failed, told) // it may be of before the secret was there
		if since := w.row(neon).MissingSince; !since.IsZero() {
			t.Errorf("missing since %v by an answer that may be older than what is known", since)
		}
		time.Sleep(settled)
		missing := time.Now()
		w.confirm(b, invalidation.Failed, told)
		w.checkRow(neon, "active 2 (1)")
		time.Sleep(late - time.Second)
		w.confirm(b, invalidation.Failed, told)
		w.checkChanges("moved 2")

		time.Sleep(time.Second)
		w.confirm(b, invalidation.Appended, told)
		w.checkChanges("moved 2", "deleted ")
		if at := w.rows()[1].Changes[0].At; !at.Equal(missing) {
			t.Errorf("dated %v, want %v, when it was missing first", at, missing)
		}
		w.checkRow(neon, "deleted  ()")
		w.confirm(b, invalidation.Duplicate, told)

		_, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: neon}) // anew, with another ARN and no value yet
		w.done(err)
		w.confirm(b, invalidation.Unchanged, w.event(events.Check, neon, ""))
		w.checkRow(neon, "empty  ()")
		w.checkChanges("moved 2", "deleted ")
	})
}

// erased erases the secret and has the broadcaster notice.
func (w *world) erased(b *invalidation.Broadcaster) {
	w.t.Helper()
	time.Sleep(settled)
	w.erase(neon)
	told := w.event(events.Deleted, neon, "")
	w.confirm(b, invalidation.Failed, told)
	time.Sleep(late)
	w.confirm(b, invalidation.Appended, told)
}

func TestCreatedAnewIsRestored(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.erased(b)

		w.create(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(3)))
		w.checkChanges("moved 2", "deleted ", "restored 3")
	})
}

func TestFoundAgainIsNotDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		found := true
		b := w.broadcaster(describedBy(func(ctx context.Context, name string) (invalidation.Description, error) {
			if !found {
				return invalidation.Description{}, invalidation.ErrNotFound
			}
			return w.describer().Describe(ctx, name)
		}))
		w.known(b)
		time.Sleep(settled)
		found = false
		w.confirm(b, invalidation.Failed, hint(neon))
		found = true
		w.confirm(b, invalidation.Failed, hint(neon)) // which of the two answers is the older one?
		time.Sleep(late)
		w.confirm(b, invalidation.Unchanged, hint(neon))
		if since := w.row(neon).MissingSince; !since.IsZero() {
			t.Errorf("still missing since %v", since)
		}
		found = false
		w.confirm(b, invalidation.Failed, hint(neon)) // so this one is the first again
		w.checkChanges("moved 2")
	})
}

func TestRestored(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.delete(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Deleted, neon, ""))
		w.confirm(b, invalidation.Duplicate, w.event(events.Deleted, neon, ""))
		w.restore(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Restored, neon, ""))
		w.checkChanges("moved 2", "deleted ", "restored 2")
		w.checkRow(neon, "active 2 (1)")
	})
}

// TestDeletedOnceMore: a deleted secret can only be restored, so a later deletion proves that it was there in between.
func TestDeletedOnceMore(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.delete(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Deleted, neon, ""))
		w.restore(neon) // of which nobody tells
		w.delete(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Deleted, neon, ""))
		w.checkChanges("moved 2", "deleted ", "deleted ")
	})
}

// TestDeletedOnceMoreAndGone: the later event proves it, although nothing is there to be described.
func TestDeletedOnceMoreAndGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.delete(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Deleted, neon, ""))
		w.restore(neon) // of which nobody tells
		w.erase(neon)
		told := w.event(events.Deleted, neon, "")
		w.confirm(b, invalidation.Failed, told) // the answer may be of before it was known as deleted
		time.Sleep(settled)
		w.confirm(b, invalidation.Failed, told)
		time.Sleep(late)
		w.confirm(b, invalidation.Appended, told)
		w.confirm(b, invalidation.Duplicate, told)
		w.checkChanges("moved 2", "deleted ", "deleted ")
		if row := w.rows()[2]; row.Changes[0].At.Before(told.Time) {
			t.Errorf("dated %v, before the event of %v", row.Changes[0].At, told.Time)
		}
	})
}

// TestCreatedAnewAndNotSeenYet: an event newer than the deletion waits for the answers.
func TestCreatedAnewAndNotSeenYet(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.erased(b)

		began := time.Now()
		w.create(neon)
		told := w.event(events.Moved, neon, version(3))
		w.lag.Store(int64(time.Since(began) + time.Second))
		w.confirm(b, invalidation.Failed, told)
		w.lag.Store(0)
		w.confirm(b, invalidation.Appended, told)
		w.checkChanges("moved 2", "deleted ", "restored 3")
	})
}

func TestANameThatNeverWas(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.confirm(b, invalidation.Unchanged, hint(neon))
		if row := w.row(neon); row.Sequence != 0 {
			t.Errorf("anybody's hint left %+v in the store", row)
		}
		told := w.event(events.Moved, neon, version(1)) // AWS's own: it was there and may be cached
		w.confirm(b, invalidation.Failed, told)
		time.Sleep(settled)
		w.confirm(b, invalidation.Failed, told)
		time.Sleep(late)
		w.confirm(b, invalidation.Appended, told)
		w.checkChanges("deleted ")
	})
}

// TestGoneAgainBeforeAnybodyLooked: an event proves that the secret was there after the first answer of "not found", so
// that answer is not of the deletion that the second is of.
func TestGoneAgainBeforeAnybodyLooked(t *testing.T) {
	for name, c := range map[string]struct {
		kind    events.Kind
		version string
	}{
		"its creation is told":    {events.Moved, version(3)},
		"its restoration is told": {events.Restored, ""},
		"its deletion is told":    {events.Deleted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := w.broadcaster()
				w.known(b)
				time.Sleep(settled)
				w.erase(neon)
				w.confirm(b, invalidation.Failed, hint(neon))
				time.Sleep(late / 2)
				w.create(neon)
				created := time.Now()
				told := w.event(c.kind, neon, c.version)
				w.erase(neon)

				time.Sleep(settled)
				w.confirm(b, invalidation.Failed, told)
				time.Sleep(late)
				w.confirm(b, invalidation.Appended, told)
				w.checkChanges("moved 2", "deleted ")
				if at := w.rows()[1].Changes[0].At; !at.After(created) {
					t.Errorf("dated %v, and a version of %v may be cached", at, created)
				}
			})
		})
	}
}

// TestAnAnswerOfBeforeTheEvent: it shows the state that the event tells of, but of an earlier time.
func TestAnAnswerOfBeforeTheEvent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var older *invalidation.Description
		b := w.broadcaster(describedBy(func(ctx context.Context, name string) (invalidation.Description, error) {
			if older != nil {
				return *older, nil
			}
			return w.describer().Describe(ctx, name)
		}))
		remember := func() *invalidation.Description {
			d, err := w.describer().Describe(t.Context(), neon)
			w.done(err)
			return &d
		}
		w.known(b)
		active := remember()
		time.Sleep(settled)
		w.delete(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Deleted, neon, ""))
		gone := remember()
		time.Sleep(settled)
		w.restore(neon) // of which nobody tells
		time.Sleep(settled)
		w.delete(neon)
		again := w.event(events.Deleted, neon, "")
		older = gone
		w.confirm(b, invalidation.Failed, again)
		older = nil
		w.confirm(b, invalidation.Appended, again)
		w.checkChanges("moved 2", "deleted ", "deleted ")

		other := w.broadcaster(describedBy(func(context.Context, string) (invalidation.Description, error) { return *active, nil }))
		w.restore(neon)
		w.confirm(other, invalidation.Failed, w.event(events.Restored, neon, ""))
	})
}

// TestWhatChangedInTheEventsSecondMayBeOfBefore: events are dated to the second, so the answer may be of before the event
// although its date is not.
func TestWhatChangedInTheEventsSecondMayBeOfBefore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var older *invalidation.Description
		b := w.broadcaster(describedBy(func(ctx context.Context, name string) (invalidation.Description, error) {
			if older != nil {
				return *older, nil
			}
			return w.describer().Describe(ctx, name)
		}))
		w.known(b)
		time.Sleep(settled + 100*time.Millisecond)
		w.moveCurrent(neon, 2, 1)
		w.moveCurrent(neon, 1, 2) // back where it was
		d, err := w.describer().Describe(t.Context(), neon)
		w.done(err)
		w.delete(neon)
		told := w.event(events.Deleted, neon, "")
		told.Time = d.LastChanged.Truncate(time.Second) // as of a deletion in the same second
		if !told.Time.Before(d.LastChanged) {
			t.Fatalf("the event of %v is not dated before the answer of %v", told.Time, d.LastChanged)
		}
		older = &d
		w.confirm(b, invalidation.Failed, told)
		older = nil
		w.confirm(b, invalidation.Appended, told)
		w.checkChanges("moved 2", "deleted ")
	})
}

// TestADomainMayKeepDeletedSecretsUntilTheirTTL: onDelete ttl notes a deletion and announces none.
func TestADomainMayKeepDeletedSecretsUntilTheirTTL(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster(func(cfg *invalidation.Config) {
			cfg.Subscribed = w.packaged(manifested(w.t, subscribers.Manifest{OnDelete: "ttl"}))
		})
		w.known(b)
		w.delete(neon)
		w.confirm(b, invalidation.Unchanged, w.event(events.Deleted, neon, ""))
		w.checkChanges("moved 2")
		w.checkRow(neon, "deleted 2 (1)")
		w.restore(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Restored, neon, ""))
		w.checkChanges("moved 2", "restored 2")
	})
}
