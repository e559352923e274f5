package history

import (
	"context"
	"iter"
	"slices"
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

func (e Event) time() time.Time {
	if e.Row != nil {
		return e.Row.Time
	}
	return e.Delivery.Time
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

// look yields what is new, in the order of time. Of more than followRows rows the first ones go ahead: nobody looks at their
// deliveries.
func (f *follower) look(ctx context.Context) error {
	var news []Event
	for row, err := range f.cfg.Store.Rows(ctx, Span{From: f.next}) {
		if err != nil {
			return err
		}
		f.next = row.Revision + 1
		f.watched = append(f.watched, watched{row, map[[2]string]time.Time{}})
		if news = append(news, Event{Row: &row}); len(news) <= followRows {
			continue
		}
		if f.over = !f.yield(news[0], nil); f.over {
			return nil
		}
		news = news[1:]
	}
	open, err := f.openRevisions(ctx)
	if err != nil {
		return err
	}
	f.watched = f.watched[max(0, len(f.watched)-followRows):]
	var kept []watched
	for _, w := range f.watched {
		if news, err = f.withDeliveries(ctx, news, w); err != nil {
			return err
		}
		if open[w.row.Hash] || f.cfg.Now().Sub(w.row.Time) < followFor {
			kept = append(kept, w)
		}
	}
	f.watched = kept
	slices.SortStableFunc(news, func(a, b Event) int { return a.time().Compare(b.time()) })
	for _, e := range news {
		if f.over = !f.yield(e, nil); f.over {
			break
		}
	}
	return nil
}

// withDeliveries appends what newly became of a revision's deliveries.
func (f *follower) withDeliveries(ctx context.Context, news []Event, w watched) ([]Event, error) {
	for d, err := range f.cfg.Store.Outcomes(ctx, w.row.Revision, "") {
		if err != nil {
			return nil, err
		}
		at := [2]string{d.Subscription, d.Function}
		if d.Hash != w.row.Hash || d.Time.Equal(w.seen[at]) {
			continue
		}
		w.seen[at] = d.Time
		news = append(news, Event{Delivery: &d})
	}
	return news, nil
}
