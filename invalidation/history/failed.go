package history

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Deliveries reads what became of revisions.
type Deliveries interface {
	// Deliveries returns those of a revision, also of another row that had it before the table was restored.
	Deliveries(ctx context.Context, revision int64) ([]invalidation.Delivery, error)
}

// A Selection says which deliveries are meant. What is zero selects nothing.
type Selection struct {
	Secret, Service string
	Revision        int64
	// Since and Until are of the append of the revision.
	Since, Until time.Time
}

// Owed returns the selected deliveries that failed or are pending, those of the newest revision first. It ends with the first
// error.
func Owed(ctx context.Context, log Log, deliveries Deliveries, s Selection) iter.Seq2[invalidation.Delivery, error] {
	return func(yield func(invalidation.Delivery, error) bool) {
		for row, err := range log.Rows(ctx, Span{From: s.Revision, To: s.Revision, NewestFirst: true}) {
			if err != nil {
				yield(invalidation.Delivery{}, err)
				return
			}
			if row.Time.Before(s.Since) {
				return
			}
			if !s.takes(row.Row) {
				continue
			}
			all, err := deliveries.Deliveries(ctx, row.Revision)
			if err != nil {
				yield(invalidation.Delivery{}, err)
				return
			}
			for _, d := range all {
				owed := d.Outcome == invalidation.Undelivered || d.Outcome == invalidation.Pending
				if d.Hash == row.Hash && owed && (s.Service == "" || d.Subscription == s.Service) && !yield(d, nil) {
					return
				}
			}
		}
	}
}

// takes reports whether a row that is not too old is selected.
func (s Selection) takes(row wire.Row) bool {
	if !s.Until.IsZero() && row.Time.After(s.Until) {
		return false
	}
	return s.Secret == "" || slices.ContainsFunc(row.Changes, func(c wire.Change) bool { return c.Name == s.Secret })
}
