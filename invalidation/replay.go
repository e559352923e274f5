package invalidation

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const (
	// MaxReplayed is how many deliveries one Replay takes: it has to end within one invocation, and those of a revision fit into
	// one transaction, of 100 items at the most.
	MaxReplayed = 50
	// reopens is how often reopening is tried while others change the same deliveries.
	reopens = 3
	// maxAbout bounds what a command's record says that it was done to.
	maxAbout = 1 << 10
)

// Missed names a delivery that somebody wants again.
type Missed struct {
	Revision     int64  `json:"revision"`
	Subscription string `json:"subscription"`
	Function     string `json:"function"`
}

// Replayed is how a delivery stands that somebody wanted again.
type Replayed struct {
	Delivery
	// Left says why it is not sent again; empty if it is.
	Left string `json:"left,omitempty"`
}

// Replay makes failed deliveries pending again, as if they had never been tried; by is recorded first. What is pushed to their
// functions is what is current then, one push of the head for all that a function missed: Deliver does it, now or whenever it
// is called next. Deliveries that are not failed any more, as if somebody else replays them too, are left as they are.
func (b *Broadcaster) Replay(ctx context.Context, missed []Missed, by Command) ([]Replayed, error) {
	by.About = about(missed)
	if err := b.cfg.Control.RecordCommand(ctx, by); err != nil {
		return nil, err
	}
	var all []Replayed
	for _, of := range byRevision(missed) {
		replayed, err := b.reopen(ctx, of)
		if err != nil {
			return all, fmt.Errorf("replaying revision %d: %w", of[0].Revision, err)
		}
		all = append(all, replayed...)
	}
	return all, nil
}

// WouldReplay returns what Replay would come to, with how each delivery would then stand: pending if its function would be
// pushed to. It writes nothing.
func (b *Broadcaster) WouldReplay(ctx context.Context, missed []Missed) ([]Replayed, error) {
	subscriptions, err := b.cfg.Subscribed.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	var all []Replayed
	for _, of := range byRevision(missed) {
		f, replayed, err := b.replayable(ctx, of)
		if err != nil {
			return nil, fmt.Errorf("looking at revision %d: %w", of[0].Revision, err)
		}
		for i, would := range replayed {
			if would.Left == "" {
				replayed[i].Delivery = b.foresee(ctx, subscriptions.Match(f.Names), would.Delivery)
			}
		}
		all = append(all, replayed...)
	}
	return all, nil
}

// foresee returns a delivery that is pending as it will be before anything is pushed.
func (b *Broadcaster) foresee(ctx context.Context, matched []subscribers.Subscription, d Delivery) Delivery {
	d.Outcome, d.Reason = Skipped, NoReport // what is not one of its functions any more
	for _, s := range matched {
		if s.Service != d.Subscription {
			continue
		}
		for _, t := range b.targets(ctx, s) {
			if t.function == d.Function {
				d.Outcome, d.Reason = t.outcome, t.reason
			}
		}
	}
	return d
}

// reopen makes a revision's failed deliveries pending again, and begins anew if somebody else has changed one of them.
func (b *Broadcaster) reopen(ctx context.Context, missed []Missed) ([]Replayed, error) {
	for try := 1; ; try++ {
		f, replayed, err := b.replayable(ctx, missed)
		if err != nil {
			return nil, err
		}
		var again []Delivery
		for _, r := range replayed {
			if r.Left == "" {
				again = append(again, r.Delivery)
			}
		}
		if len(again) == 0 {
			return replayed, nil
		}
		f.Reopened = rand.Text()
		err = b.cfg.Control.Reopen(ctx, f, again)
		if err == nil || !errors.Is(err, ErrConflict) || try == reopens {
			return replayed, err
		}
	}
}

// replayable returns the deliveries of a revision that somebody wants again: as they are to be written, or why not. The fan-out
// is what its marker has to say.
func (b *Broadcaster) replayable(ctx context.Context, missed []Missed) (Fanout, []Replayed, error) {
	revision := missed[0].Revision
	row, err := b.cfg.Log.Row(ctx, revision)
	if err != nil {
		return Fanout{}, nil, err
	}
	before, err := b.cfg.Fanouts.Deliveries(ctx, revision)
	if err != nil {
		return Fanout{}, nil, err
	}
	subscriptions, err := b.cfg.Subscribed.Subscriptions(ctx)
	if err != nil {
		return Fanout{}, nil, err
	}
	f := Fanout{Position: Position{row.Revision, row.Hash}, Appended: row.Time}
	for _, c := range row.Changes {
		f.Names = append(f.Names, c.Name)
	}
	subscribed := map[string]bool{}
	for _, s := range subscriptions.Match(f.Names) {
		subscribed[s.Service] = true
	}
	var all []Replayed
	for _, m := range missed {
		is := Replayed{Delivery: Delivery{Revision: revision, Hash: row.Hash, Subscription: m.Subscription, Function: m.Function}}
		at := slices.IndexFunc(before, func(d Delivery) bool {
			return d.Hash == row.Hash && d.Subscription == m.Subscription && d.Function == m.Function
		})
		switch {
		case row.Revision == 0, at < 0:
			is.Left = "the log has no such delivery"
		case before[at].Outcome != Undelivered:
			is.Delivery, is.Left = before[at], "it is "+string(before[at].Outcome)
		case !subscribed[m.Subscription]:
			is.Delivery, is.Left = before[at], "the service is not subscribed any more"
		default:
			f.EventIDs = before[at].EventIDs
			is.EventIDs, is.Outcome, is.Time = f.EventIDs, Pending, b.cfg.Now().UTC()
		}
		all = append(all, is)
	}
	return f, all, nil
}

// byRevision returns the deliveries of each revision, the oldest first, each delivery once.
func byRevision(missed []Missed) [][]Missed {
	sorted := slices.Clone(missed)
	slices.SortFunc(sorted, func(x, y Missed) int {
		return cmp.Or(cmp.Compare(x.Revision, y.Revision), cmp.Compare(x.Subscription, y.Subscription), cmp.Compare(x.Function, y.Function))
	})
	var all [][]Missed
	for _, m := range slices.Compact(sorted) {
		if last := len(all) - 1; last >= 0 && all[last][0].Revision == m.Revision {
			all[last] = append(all[last], m)
		} else {
			all = append(all, []Missed{m})
		}
	}
	return all
}

// about says which deliveries were selected, by service.
func about(missed []Missed) string {
	sorted := slices.Clone(missed)
	slices.SortFunc(sorted, func(x, y Missed) int {
		return cmp.Or(strings.Compare(x.Subscription, y.Subscription), cmp.Compare(x.Revision, y.Revision))
	})
	sorted = slices.CompactFunc(sorted, func(x, y Missed) bool { return x.Subscription == y.Subscription && x.Revision == y.Revision })
	text, service := "", ""
	for _, m := range sorted {
		switch {
		case m.Subscription == service:
			text += fmt.Sprintf(", %d", m.Revision)
		case service == "":
			text += fmt.Sprintf("%s: %d", m.Subscription, m.Revision)
		default:
			text += fmt.Sprintf("; %s: %d", m.Subscription, m.Revision)
		}
		service = m.Subscription
	}
	return cutTo(text, maxAbout)
}
