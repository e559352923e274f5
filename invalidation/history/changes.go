package history

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A Told is a revision, and what became of it.
type Told struct {
	Revision int64                `json:"revision"`
	Hash     string               `json:"hash"`
	Appended time.Time            `json:"appended"`
	Changes  []wire.Change        `json:"changes"`
	Causes   []invalidation.Cause `json:"causes"`
	// Found: no event told of it, the broadcaster found it by itself.
	Found bool `json:"found"`
	// Open: its fan-out is under way.
	Open       bool  `json:"open"`
	Deliveries Tally `json:"deliveries"`
}

// A Tally counts deliveries by their outcome.
type Tally struct {
	Acknowledged int `json:"acknowledged"`
	Pending      int `json:"pending"`
	Failed       int `json:"failed"`
	Skipped      int `json:"skipped"`
	// Reasons counts the pending and the failed ones by why they are.
	Reasons map[invalidation.Reason]int `json:"reasons,omitempty"`
}

func (t *Tally) add(d invalidation.Delivery) {
	switch d.Outcome {
	case invalidation.Acknowledged:
		t.Acknowledged++
		return
	case invalidation.Skipped:
		t.Skipped++
		return
	case invalidation.Pending:
		t.Pending++
	case invalidation.Undelivered:
		t.Failed++
	}
	if t.Reasons == nil {
		t.Reasons = map[invalidation.Reason]int{}
	}
	t.Reasons[d.Reason]++
}

// Changes returns what was appended from one time to another, oldest first, and what became of it. It ends with the first
// error. Its memory grows with neither.
func (r *Reader) Changes(ctx context.Context, since, until time.Time) iter.Seq2[Told, error] {
	return func(yield func(Told, error) bool) {
		from, err := r.firstSince(ctx, since)
		if err != nil {
			yield(Told{}, err)
			return
		}
		open, err := r.openRevisions(ctx)
		if err != nil {
			yield(Told{}, err)
			return
		}
		rows := between(r.cfg.Store.Rows(ctx, Span{From: from}), since, until)
		for told, err := range SideBySide(rows, func(row Row) (Told, error) { return r.told(ctx, row, open, func(invalidation.Delivery) {}) }) {
			if !yield(told, err) || err != nil {
				return
			}
		}
	}
}

// openRevisions returns the hashes of the revisions whose fan-outs are under way.
func (r *Reader) openRevisions(ctx context.Context) (map[string]bool, error) {
	fanouts, err := r.cfg.Store.Open(ctx)
	open := make(map[string]bool, len(fanouts))
	for _, f := range fanouts {
		open[f.Hash] = true
	}
	return open, err
}

// told returns a row and what became of it. Each delivery is shown to see.
func (r *Reader) told(ctx context.Context, row Row, open map[string]bool, see func(invalidation.Delivery)) (Told, error) {
	t := Told{
		Revision: row.Revision, Hash: row.Hash, Appended: row.Time, Changes: row.Changes, Causes: row.Causes, Open: open[row.Hash],
		Found: slices.ContainsFunc(row.Causes, func(c invalidation.Cause) bool { return c.DetailType == invalidation.ReconcileDetailType }),
	}
	for d, err := range r.cfg.Store.Outcomes(ctx, row.Revision, "") {
		if err != nil {
			return t, err
		}
		if d.Hash == row.Hash {
			t.Deliveries.add(d)
			see(d)
		}
	}
	return t, nil
}

// Skew is how far the dates of neighbouring rows may be out of order, since several processes append.
const Skew = time.Minute

func (r *Reader) firstSince(ctx context.Context, since time.Time) (int64, error) {
	snapshot, err := r.cfg.Store.Load(ctx, nil)
	if err != nil {
		return 0, err
	}
	return FirstSince(ctx, r.cfg.Store, snapshot.Head.Revision, since)
}

// FirstSince returns the revision of the first row, in a log with this head, that may be dated at or after a time. It looks at few
// rows, whatever the log's length.
func FirstSince(ctx context.Context, log Log, head int64, since time.Time) (int64, error) {
	low, high := int64(1), head+1
	for low < high {
		middle := low + (high-low)/2
		row, found, err := rowAt(ctx, log, middle)
		if err != nil {
			return 0, err
		}
		if found && row.Time.Before(since.Add(-Skew)) {
			low = middle + 1
		} else { // or it is missing: then more is read than need be
			high = middle
		}
	}
	return low, nil
}

// between leaves out rows of another time, and those that tell of nothing.
func between(rows iter.Seq2[Row, error], since, until time.Time) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for row, err := range rows {
			if err == nil && (len(row.Changes) == 0 || row.Time.Before(since) || row.Time.After(until)) {
				continue
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// atOnce is how many revisions are looked at at once.
const atOnce = 8

// SideBySide asks about several rows at once and returns the answers in the rows' order.
func SideBySide[T any](rows iter.Seq2[Row, error], ask func(Row) (T, error)) iter.Seq2[T, error] {
	type answer struct {
		is  T
		err error
	}
	return func(yield func(T, error) bool) {
		var some []Row
		answered := func() (more bool) {
			answers := make([]answer, len(some))
			var wg sync.WaitGroup
			for i, row := range some {
				wg.Go(func() { answers[i].is, answers[i].err = ask(row) })
			}
			wg.Wait()
			some = some[:0]
			for _, a := range answers {
				if !yield(a.is, a.err) || a.err != nil {
					return false
				}
			}
			return true
		}
		for row, err := range rows {
			if err != nil {
				if answered() {
					var none T
					yield(none, err)
				}
				return
			}
			if some = append(some, row); len(some) == atOnce && !answered() {
				return
			}
		}
		answered()
	}
}
