package history

import (
	"context"
	"iter"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const (
	// followEvery is how long Follow waits between two looks.
	followEvery = time.Second
	// followFor is how long the deliveries of a revision are looked at whose fan-out is closed, and followRows of how many.
	followFor  = time.Minute
	followRows = 100
)

// An Event is what has newly happened: a revision, or what became of one of its deliveries.
type Event struct {
	Row      *Row
	Delivery *invalidation.Delivery
}

// Follow returns what happens from now on, beginning with the last rows of the log, until the context ends. It ends with the
// first other error.
func (r *Reader) Follow(ctx context.Context, last int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		snapshot, err := r.cfg.Store.Load(ctx, nil)
		if err != nil {
			yield(Event{}, err)
			return
		}
		f := follower{Reader: r, next: max(1, snapshot.Head.Revision-last+1), yield: yield}
		for {
			if err := f.look(ctx); err != nil {
				if ctx.Err() == nil {
					yield(Event{}, err)
				}
				return
			}
			if f.over || sleep(ctx, followEvery) != nil {
				return
			}
		}
	}
}

// A follower is one Follow under way.
type follower struct {
	*Reader
	next    int64
	watched []watched
	yield   func(Event, error) bool
	over    bool
}

// A watched is a revision whose deliveries are looked at.
type watched struct {
	row  Row
	seen map[[2]string]time.Time // when each delivery was written last, by service and function
}

// look yields what is new.
func (f *follower) look(ctx context.Context) error {
	for row, err := range f.cfg.Store.Rows(ctx, Span{From: f.next}) {
		if err != nil {
			return err
		}
		f.next = row.Revision + 1
		f.watched = append(f.watched, watched{row, map[[2]string]time.Time{}})
		if f.over = !f.yield(Event{Row: &row}, nil); f.over {
			return nil
		}
	}
	open, err := f.openRevisions(ctx)
	if err != nil {
		return err
	}
	f.watched = f.watched[max(0, len(f.watched)-followRows):]
	var kept []watched
	for _, w := range f.watched {
		if err := f.lookAtDeliveries(ctx, w); err != nil || f.over {
			return err
		}
		if open[w.row.Hash] || f.cfg.Now().Sub(w.row.Time) < followFor {
			kept = append(kept, w)
		}
	}
	f.watched = kept
	return nil
}

func (f *follower) lookAtDeliveries(ctx context.Context, w watched) error {
	for d, err := range f.cfg.Store.Outcomes(ctx, w.row.Revision, "") {
		if err != nil {
			return err
		}
		at := [2]string{d.Subscription, d.Function}
		if d.Hash != w.row.Hash || d.Time.Equal(w.seen[at]) {
			continue
		}
		w.seen[at] = d.Time
		if f.over = !f.yield(Event{Delivery: &d}, nil); f.over {
			return nil
		}
	}
	return nil
}
