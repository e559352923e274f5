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

// TestDeletedWhenNotFoundTwice: Secrets Manager is eventually consistent, so one answer of "not found" proves nothing.
func TestDeletedWhenNotFoundTwice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.erase(neon)
		told := w.event(events.Deleted, neon, "")
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

func TestCreatedAnewIsRestored(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.erase(neon)
		told := w.event(events.Deleted, neon, "")
		w.confirm(b, invalidation.Failed, told)
		time.Sleep(late)
		w.confirm(b, invalidation.Appended, told)

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
		w.erase(neon)
		gone := w.event(events.Deleted, neon, "")
		w.confirm(b, invalidation.Failed, gone)
		time.Sleep(late)
		w.confirm(b, invalidation.Appended, gone)

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
		time.Sleep(late)
		w.confirm(b, invalidation.Appended, told)
		w.checkChanges("deleted ")
	})
}

// TestADomainMayKeepDeletedSecretsUntilTheirTTL: onDelete ttl notes a deletion and announces none.
func TestADomainMayKeepDeletedSecretsUntilTheirTTL(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		b := w.broadcaster(func(cfg *invalidation.Config) {
			cfg.Subscriptions = manifested(w.t, subscribers.Manifest{OnDelete: "ttl"})
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
