package history

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A Consumer is how one service stands with every secret that its environments report, or that was delivered to it of late.
type Consumer struct {
	Service      string        `json:"service"`
	Environments []Environment `json:"environments"`
	Secrets      []Held        `json:"secrets"`
}

// Held is one of these secrets.
type Held struct {
	Name     string    `json:"name"`
	Version  string    `json:"version,omitempty"`
	Revision int64     `json:"revision"`
	Appended time.Time `json:"appended,omitzero"`
	// Outcome is that of the newest change's delivery to the service, the worst one; empty without one.
	Outcome invalidation.Outcome `json:"outcome,omitempty"`
	Reason  invalidation.Reason  `json:"reason,omitempty"`
	// Current, Behind and Silent count the service's environments as those of a Secret's Service are.
	Current int `json:"current"`
	Behind  int `json:"behind"`
	Silent  int `json:"silent"`
	// Failures are of the environments that cannot use it, and of the deliveries that failed or are still tried.
	Failures []Failure `json:"failures,omitempty"`
}

// deliveredWithin is how long ago a delivery counts: what an environment holds and has not reported it took up since it
// reported, and it does that every six hours at the least.
const deliveredWithin = 6 * time.Hour

// Service returns how a service stands, or ErrUnknown if nothing was heard of it.
func (r *Reader) Service(ctx context.Context, service string) (Consumer, error) {
	reports, err := r.cfg.Reports.Of(ctx, service)
	if err != nil {
		return Consumer{}, err
	}
	names, err := r.delivered(ctx, service)
	if err != nil {
		return Consumer{}, err
	}
	if len(reports)+len(names) == 0 {
		return Consumer{}, fmt.Errorf("the service %s is %w: no environment has reported that name in the last day, and nothing was delivered to it", service, ErrUnknown)
	}
	for _, report := range reports {
		for _, s := range report.Secrets {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	snapshot, err := r.cfg.Store.Load(ctx, names)
	if err != nil {
		return Consumer{}, err
	}
	head, _, err := rowAt(ctx, r.cfg.Store, snapshot.Head.Revision)
	if err != nil {
		return Consumer{}, err
	}
	c := Consumer{Service: service, Environments: []Environment{}, Secrets: []Held{}}
	for _, report := range reports {
		c.Environments = append(c.Environments, environmentOf(report, "", head.Revision, head.Time, head.Revision))
	}
	slices.SortFunc(c.Environments, func(a, b Environment) int { return b.Reported.Compare(a.Reported) })
	for _, name := range names {
		held, err := r.held(ctx, service, snapshot.Secrets[name], name, reports, snapshot.Head.Revision)
		if err != nil {
			return Consumer{}, err
		}
		c.Secrets = append(c.Secrets, held)
	}
	return c, nil
}

// delivered returns the names of the secrets whose changes were to be delivered to a service of late.
func (r *Reader) delivered(ctx context.Context, service string) ([]string, error) {
	now := r.cfg.Now()
	from, err := r.firstSince(ctx, now.Add(-deliveredWithin))
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	rows := between(r.cfg.Store.Rows(ctx, Span{From: from}), now.Add(-deliveredWithin), now)
	for row, err := range SideBySide(rows, func(row Row) (Row, error) {
		for _, err := range r.cfg.Store.Outcomes(ctx, row.Revision, service) {
			return row, err // one is enough
		}
		return Row{}, nil
	}) {
		if err != nil {
			return nil, err
		}
		for _, c := range row.Changes {
			names[c.Name] = true
		}
	}
	return slices.Collect(maps.Keys(names)), nil
}

func (r *Reader) held(ctx context.Context, service string, row invalidation.SecretRow, name string, reports []wire.Report, head int64) (Held, error) {
	h, delivered := Held{Name: name, Version: row.Current, Revision: row.Revision}, Service{}
	if row.Revision > 0 {
		is, found, err := rowAt(ctx, r.cfg.Store, row.Revision)
		if err != nil {
			return h, err
		}
		if found {
			h.Appended = is.Time
		}
		for d, err := range r.cfg.Store.Outcomes(ctx, row.Revision, service) {
			if err != nil {
				return h, err
			}
			if d.Hash == is.Hash {
				delivered.addDelivery(d)
			}
		}
		h.Outcome, h.Reason = delivered.Outcome, delivered.Reason
		if delivered.LastFailure != nil {
			h.Failures = append(h.Failures, *delivered.LastFailure)
		}
	}
	for _, report := range reports {
		if !delivered.Subscribed && !holds(report, name) {
			continue
		}
		of := Service{}
		of.addEnvironment(environmentOf(report, name, row.Revision, h.Appended, head))
		h.Current, h.Behind, h.Silent = h.Current+of.Current, h.Behind+of.Behind, h.Silent+of.Silent
		told := func(f Failure) bool { return f.Environment == report.Environment } // in its ack
		if of.LastFailure != nil && !slices.ContainsFunc(h.Failures, told) {
			h.Failures = append(h.Failures, *of.LastFailure)
		}
	}
	return h, nil
}

// Services returns the names of all services that have reported, in order.
func (r *Reader) Services(ctx context.Context) ([]string, error) {
	reports, err := r.cfg.Reports.All(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, report := range reports {
		names[report.Service] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}
