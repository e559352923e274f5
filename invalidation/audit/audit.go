// Package audit gathers the evidence of what the broadcaster did: every change and what became of it, who had what done and
// why, and whether the log is still what was written. It reads and never writes. It holds no AWS SDK, and nothing in it can
// hold a secret value.
package audit

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Store reads what has been written.
type Store interface {
	history.Log
	// Load reads the log's head, and the rows of the named secrets.
	Load(ctx context.Context, names []string) (invalidation.Snapshot, error)
	// Deliveries returns those of a revision, also of another row that had it before the table was restored: their hashes differ.
	Deliveries(ctx context.Context, revision int64) ([]invalidation.Delivery, error)
	// Commands returns what people had the broadcaster do, oldest first.
	Commands(ctx context.Context) ([]invalidation.Command, error)
}

// A Record is one piece of evidence: a change, or a command.
type Record struct {
	// Time is when the change was appended or the command carried out, by the broadcaster's clock.
	Time    time.Time             `json:"time"`
	Change  *Change               `json:"change,omitempty"`
	Command *invalidation.Command `json:"command,omitempty"`
}

// A Change is one change of one secret, what made it and what became of it.
type Change struct {
	wire.Change
	Revision int64  `json:"revision"`
	Hash     string `json:"hash"`
	// Causes are the events that made the revision; of a revision with several changes, all of them. Nil: the store has no
	// audit record.
	Causes []invalidation.Cause `json:"causes"`
	// Deliveries are how the revision's invalidations to the subscribed functions ended or stand.
	Deliveries []invalidation.Delivery `json:"deliveries"`
}

// Records returns what happened from since up to, not including, until, oldest first. Zero times are the beginning and the
// end. It ends with the first error. Its memory does not grow with the number of changes.
func Records(ctx context.Context, store Store, since, until time.Time) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		commands, err := store.Commands(ctx)
		if err != nil {
			yield(Record{}, fmt.Errorf("reading the commands: %w", err))
			return
		}
		commands = slices.DeleteFunc(commands, func(c invalidation.Command) bool { return !within(c.At, since, until) })
		slices.SortStableFunc(commands, func(a, b invalidation.Command) int { return a.At.Compare(b.At) })
		told := func(before time.Time) bool { // the commands up to a time
			for len(commands) > 0 && (before.IsZero() || commands[0].At.Before(before)) {
				c := commands[0]
				if commands = commands[1:]; !yield(Record{Time: c.At, Command: &c}, nil) {
					return false
				}
			}
			return true
		}
		snapshot, err := store.Load(ctx, nil)
		if err != nil {
			yield(Record{}, fmt.Errorf("reading the head: %w", err))
			return
		}
		from, err := history.FirstSince(ctx, store, snapshot.Head.Revision, since)
		if err != nil {
			yield(Record{}, err)
			return
		}
		rows := rowsUntil(ctx, store, from, until)
		for row, err := range history.SideBySide(rows, func(row history.Row) (deliveredRow, error) { return deliveriesOf(ctx, store, row) }) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if !within(row.Time, since, until) {
				continue
			}
			if !told(row.Time) {
				return
			}
			for _, c := range row.Changes {
				if !yield(Record{Time: row.Time, Change: &Change{c, row.Revision, row.Hash, row.Causes, row.deliveries}}, nil) {
					return
				}
			}
		}
		told(time.Time{})
	}
}

func within(t, since, until time.Time) bool {
	return !t.Before(since) && (until.IsZero() || t.Before(until))
}

// rowsUntil returns the rows from a revision on, up to those that are surely later than until.
func rowsUntil(ctx context.Context, log history.Log, from int64, until time.Time) iter.Seq2[history.Row, error] {
	return func(yield func(history.Row, error) bool) {
		for row, err := range log.Rows(ctx, history.Span{From: from}) {
			if err == nil && !until.IsZero() && row.Time.After(until.Add(history.Skew)) {
				return
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// A deliveredRow is a row and its deliveries.
type deliveredRow struct {
	history.Row
	deliveries []invalidation.Delivery
}

func deliveriesOf(ctx context.Context, store Store, row history.Row) (deliveredRow, error) {
	if len(row.Changes) == 0 {
		return deliveredRow{Row: row}, nil
	}
	all, err := store.Deliveries(ctx, row.Revision)
	if err != nil {
		return deliveredRow{}, fmt.Errorf("reading the deliveries of revision %d: %w", row.Revision, err)
	}
	return deliveredRow{row, slices.DeleteFunc(all, func(d invalidation.Delivery) bool { return d.Hash != row.Hash })}, nil
}
