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

const (
	// ahead is how many revisions' deliveries are asked for at once: each is a question of its own.
	ahead = 16
	// skew is how far apart two clocks of a broadcaster's may be: rows stand in the order of their revisions, and their times
	// nearly so.
	skew = time.Minute
)

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
		from, err := firstSince(ctx, store, since.Add(-skew))
		if err != nil {
			yield(Record{}, err)
			return
		}
		for row, err := range delivered(ctx, store, rowsUntil(ctx, store, from, until)) {
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

// firstSince returns a revision from which on every row since a time is found: by halves, as rows are in the order of time.
func firstSince(ctx context.Context, log history.Log, since time.Time) (int64, error) {
	head, err := one(ctx, log, history.Span{NewestFirst: true})
	if err != nil {
		return 0, err
	}
	low, high := int64(1), head.Revision+1
	for low < high {
		middle := low + (high-low)/2
		row, err := one(ctx, log, history.Span{From: middle})
		if err != nil {
			return 0, err
		}
		if row.Revision == 0 || !row.Time.Before(since) {
			high = middle
		} else {
			low = row.Revision + 1
		}
	}
	return low, nil
}

// one returns the first row of a span; the zero Row if there is none.
func one(ctx context.Context, log history.Log, span history.Span) (history.Row, error) {
	for row, err := range log.Rows(ctx, span) {
		return row, err
	}
	return history.Row{}, nil
}

// rowsUntil returns the rows from a revision on, up to those that are surely later than until.
func rowsUntil(ctx context.Context, log history.Log, from int64, until time.Time) iter.Seq2[history.Row, error] {
	return func(yield func(history.Row, error) bool) {
		for row, err := range log.Rows(ctx, history.Span{From: from}) {
			if err == nil && !until.IsZero() && row.Time.After(until.Add(skew)) {
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
	err        error
}

// delivered adds the deliveries to rows, in their order, asking for those of several rows at once.
func delivered(ctx context.Context, store Store, rows iter.Seq2[history.Row, error]) iter.Seq2[deliveredRow, error] {
	return func(yield func(deliveredRow, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var waiting []chan deliveredRow // in the order of the rows
		hand := func() bool {
			row := <-waiting[0]
			waiting = waiting[1:]
			return yield(row, row.err) && row.err == nil
		}
		for row, err := range rows {
			answer := make(chan deliveredRow, 1)
			waiting = append(waiting, answer)
			if err != nil || len(row.Changes) == 0 {
				answer <- deliveredRow{Row: row, err: err}
			} else {
				go func() { answer <- deliveriesOf(ctx, store, row) }()
			}
			if len(waiting) == ahead && !hand() {
				return
			}
		}
		for len(waiting) > 0 {
			if !hand() {
				return
			}
		}
	}
}

func deliveriesOf(ctx context.Context, store Store, row history.Row) deliveredRow {
	all, err := store.Deliveries(ctx, row.Revision)
	if err != nil {
		return deliveredRow{Row: row, err: fmt.Errorf("reading the deliveries of revision %d: %w", row.Revision, err)}
	}
	return deliveredRow{Row: row, deliveries: slices.DeleteFunc(all, func(d invalidation.Delivery) bool { return d.Hash != row.Hash })}
}
