package invalidation_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// TestAnAckFromBeforeARestoreClosesNothing: while a push is under way the tables are restored and the same revision is
// appended with another change. What the push then proves is of a row that is gone.
func TestAnAckFromBeforeARestoreClosesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.deliver(b)
		backup, err := w.tables.Backup(changesTable, operationsTable)
		if err != nil {
			t.Fatal(err)
		}
		w.create(stripe)
		w.confirm(b, invalidation.Appended, w.event(events.Moved, stripe, version(3)))
		w.deliver(w.broadcaster(pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
			if err := w.tables.Restore(backup); err != nil {
				t.Error(err)
			}
			w.put(neon)
			w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(4)))
			return encoded(t, ackOf(inv.Detail)), nil
		})))
		if diff := cmp.Diff([]int64{2}, w.open()); diff != "" {
			t.Fatalf("open (-want +got):\n%s", diff)
		}

		w.deliver(b)
		if diff := cmp.Diff([]int64{1, 2}, w.pushes()); diff != "" {
			t.Errorf("pushed revisions (-want +got):\n%s", diff)
		}
		if d := w.onlyDelivery(2); d.Outcome != invalidation.Acknowledged || d.Ack.Hash != w.rows()[1].Hash {
			t.Errorf("got %+v, want the ack of %s", d, w.rows()[1].Hash)
		}
		if len(w.open()) > 0 {
			t.Errorf("still open: %v", w.open())
		}
	})
}

// TestNothingIsClosedWithoutItsEvidence: a fan-out whose outcomes could not be recorded stays open, or a failed delivery
// would be seen nowhere.
func TestNothingIsClosedWithoutItsEvidence(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.known(w.broadcaster())
		gone := pushedTo(func(context.Context, string, wire.Invalidation) ([]byte, error) {
			return nil, invalidation.ErrPermanent
		})
		unrecorded := failingStore{w.store, func(operation string) error {
			if operation == "Record" {
				return errInjected
			}
			return nil
		}}
		err := w.broadcaster(gone, func(cfg *invalidation.Config) { cfg.Fanouts = unrecorded }).Deliver(t.Context())
		if !errors.Is(err, errInjected) {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff([]int64{1}, w.open()); diff != "" {
			t.Errorf("open (-want +got):\n%s", diff)
		}
		w.deliver(w.broadcaster(gone))
		if d := w.onlyDelivery(1); d.Outcome != invalidation.Undelivered || len(w.open()) > 0 {
			t.Errorf("got %+v, open %v", d, w.open())
		}
	})
}

// TestErrorsOfTheStoreAreNotDropped: each read and write of delivering.
func TestErrorsOfTheStoreAreNotDropped(t *testing.T) {
	operations := []string{"Open", "Row", "Deliveries", "Record", "Close"}
	for _, failing := range operations {
		t.Run(failing, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.known(w.broadcaster())
				var asked []string
				s := failingStore{w.store, func(operation string) error {
					asked = append(asked, operation)
					if operation == failing {
						return errInjected
					}
					return nil
				}}
				b := w.broadcaster(func(cfg *invalidation.Config) { cfg.Log, cfg.Fanouts = s, s })
				if err := b.Deliver(t.Context()); !errors.Is(err, errInjected) {
					t.Errorf("got %v after %v", err, asked)
				}
				if !slices.Contains(asked, failing) {
					t.Errorf("asked only for %v", asked)
				}
				w.deliver(w.broadcaster())
				if d := w.onlyDelivery(1); d.Outcome != invalidation.Acknowledged || len(w.open()) > 0 {
					t.Errorf("got %+v, open %v", d, w.open())
				}
			})
		})
	}
}

// TestNothingToDeliverCostsOneRead: which every invocation pays.
func TestNothingToDeliverCostsOneRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.known(w.broadcaster())
		w.deliver(w.broadcaster())
		var asked []string
		s := failingStore{w.store, func(operation string) error { asked = append(asked, operation); return nil }}
		w.deliver(w.broadcaster(func(cfg *invalidation.Config) { cfg.Log, cfg.Fanouts = s, s }))
		if want := []string{"Open"}; !slices.Equal(asked, want) {
			t.Errorf("asked for %v, want %v", asked, want)
		}
	})
}

// A failingStore asks before each operation of delivering.
type failingStore struct {
	*dynamodb.Store
	before func(operation string) error
}

func (s failingStore) Row(ctx context.Context, revision int64) (wire.Row, error) {
	if err := s.before("Row"); err != nil {
		return wire.Row{}, err
	}
	return s.Store.Row(ctx, revision)
}

func (s failingStore) Open(ctx context.Context) ([]invalidation.Fanout, error) {
	if err := s.before("Open"); err != nil {
		return nil, err
	}
	return s.Store.Open(ctx)
}

func (s failingStore) Deliveries(ctx context.Context, revision int64) ([]invalidation.Delivery, error) {
	if err := s.before("Deliveries"); err != nil {
		return nil, err
	}
	return s.Store.Deliveries(ctx, revision)
}

func (s failingStore) Record(ctx context.Context, deliveries []invalidation.Delivery) error {
	if err := s.before("Record"); err != nil {
		return err
	}
	return s.Store.Record(ctx, deliveries)
}

func (s failingStore) Close(ctx context.Context, f invalidation.Fanout) error {
	if err := s.before("Close"); err != nil {
		return err
	}
	return s.Store.Close(ctx, f)
}
