package invalidation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Behind returns those of the reports whose environments were behind when they reported: the log had a newer revision than
// they knew for longer than their CheckEvery. An environment that is frozen or gone since is not: its report is of before.
func (b *Broadcaster) Behind(ctx context.Context, reports []wire.Report) ([]wire.Report, error) {
	head, err := b.cfg.Log.Row(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("reading the head: %w", err)
	}
	var (
		behind []wire.Report
		rows   = map[int64]wire.Row{head.Revision: head}
	)
	for _, r := range reports {
		if r.Revision < 0 || r.Revision >= head.Revision {
			continue
		}
		next, known := rows[r.Revision+1]
		if !known {
			if next, err = b.cfg.Log.Row(ctx, r.Revision+1); err != nil {
				return nil, fmt.Errorf("reading revision %d: %w", r.Revision+1, err)
			}
			rows[r.Revision+1] = next
		}
		checkEvery := time.Duration(r.CheckEverySeconds * float64(time.Second))
		if next.Revision > 0 && r.Time.After(next.Time.Add(checkEvery)) {
			behind = append(behind, r)
		}
	}
	return behind, nil
}

// Held returns those of the names that an environment which has reported since a time holds.
func Held(names []string, reports []wire.Report, since time.Time) []string {
	young := slices.DeleteFunc(slices.Clone(reports), func(r wire.Report) bool { return r.Time.Before(since) })
	in := inUse(young)
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, held := slices.BinarySearch(in, name)
		return !held
	})
}

// Standing returns how a revision's deliveries stand, one for each function of each subscription: what is not recorded yet as it
// is before anything is pushed.
func (b *Broadcaster) Standing(ctx context.Context, f Fanout) ([]Delivery, error) {
	recorded, err := b.cfg.Fanouts.Deliveries(ctx, f.Revision)
	if err != nil {
		return nil, fmt.Errorf("reading the deliveries of revision %d: %w", f.Revision, err)
	}
	subscriptions, err := b.cfg.Subscribed.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(recorded, func(d Delivery) bool { return d.Hash != f.Hash })
	for _, s := range subscriptions.Match(f.Names) {
		for _, t := range b.targets(ctx, s) {
			known := slices.ContainsFunc(all, func(d Delivery) bool { return d.Subscription == s.Service && d.Function == t.function })
			if !known {
				all = append(all, Delivery{
					Revision: f.Revision, Hash: f.Hash, Subscription: s.Service, Function: t.function, Outcome: t.outcome, Reason: t.reason,
				})
			}
		}
	}
	return all, nil
}
