package history

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// How something was missed.
const (
	MissedPending = "pending" // a delivery that is still tried
	MissedFailed  = "failed"  // a delivery that was given up, or answered with a failure
	MissedParked  = "parked"  // a message in the dead-letter queue
	MissedFound   = "found"   // a change of which no event told: a tick found it
	// MissedByNobody: deliveries that failed or are pending, to services that are not subscribed any more. Nothing is to be done.
	MissedByNobody = "unsubscribed"
)

// A Group is what was missed for one cause, and what to do about it.
type Group struct {
	How    string `json:"how"`
	Reason string `json:"reason,omitempty"`
	Count  int    `json:"count"`
	// Services and Secrets name some of those that it is about, and More counts the others.
	Services []string `json:"services,omitempty"`
	Secrets  []string `json:"secrets,omitempty"`
	More     int      `json:"more,omitempty"`
	// First and Last are revisions, and Oldest and Newest when they were appended.
	First  int64     `json:"first,omitempty"`
	Last   int64     `json:"last,omitempty"`
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
	// Next is the command to type next; empty if nothing is to be done.
	Next string `json:"next,omitempty"`

	names map[string]bool
}

// maxNamed is how many names a group tells.
const maxNamed = 10

// Missed returns what was missed since a time: deliveries that are pending or failed and that no later ack of the same
// function has made good, messages that are parked, and changes that had to be found; grouped by cause. The queue may be nil.
func (r *Reader) Missed(ctx context.Context, since time.Time, queue Queue) ([]Group, error) {
	m := missed{groups: map[[2]string]*Group{}, acknowledged: map[[2]string]bool{}}
	open, err := r.cfg.Store.Open(ctx)
	if err != nil {
		return nil, err
	}
	var holds subscribed
	if err := holds.read(ctx, r); err != nil {
		return nil, err
	}
	from, err := r.firstSince(ctx, since)
	if err != nil {
		return nil, err
	}
	hashes := map[string]bool{}
	for _, f := range open {
		hashes[f.Hash] = true
		from = min(from, f.Revision) // what is still open is missed, however old
	}
	type looked struct {
		Told
		late []outcome
	}
	rows := r.cfg.Store.Rows(ctx, Span{From: from, NewestFirst: true})
	for is, err := range SideBySide(rows, func(row Row) (looked, error) {
		var is looked
		if row.Time.Before(since) && !hashes[row.Hash] {
			return is, nil
		}
		var err error
		is.Told, err = r.told(ctx, row, hashes, func(d invalidation.Delivery) {
			is.late = append(is.late, outcome{d.Subscription, d.Function, d.Outcome, d.Reason, holds.unsubscribed(d, row.Row)})
		})
		return is, err
	}) {
		if err != nil {
			return nil, err
		}
		m.add(is.Told, is.late)
	}
	if queue != nil {
		depths, err := queue.Depths(ctx)
		if err != nil {
			return nil, err
		}
		if depths.DeadLetters > 0 {
			m.group(MissedParked, "").Count = depths.DeadLetters
		}
	}
	return m.list(r.cfg.Env, r.cfg.Domain), nil
}

// An outcome is what is kept of a delivery while the revisions around it are looked at.
type outcome struct {
	service, function string
	outcome           invalidation.Outcome
	reason            invalidation.Reason
	unsubscribed      bool
}

type missed struct {
	groups       map[[2]string]*Group // by how and reason
	acknowledged map[[2]string]bool   // by service and function: a later revision was
}

// add takes a revision; the newer ones have been added.
func (m *missed) add(t Told, outcomes []outcome) {
	if len(t.Changes) == 0 {
		return
	}
	if t.Found {
		g := m.group(MissedFound, "")
		for _, c := range t.Changes {
			g.add(t, c.Name)
		}
	}
	if t.Open && len(outcomes) == 0 {
		m.group(MissedPending, "untried").add(t, "")
	}
	for _, o := range outcomes {
		at := [2]string{o.service, o.function}
		switch {
		case o.outcome == invalidation.Acknowledged:
			m.acknowledged[at] = true
		case o.unsubscribed && o.outcome != invalidation.Skipped && !m.acknowledged[at]:
			m.group(MissedByNobody, "").add(t, o.service)
		case o.outcome == invalidation.Pending:
			m.group(MissedPending, cmp.Or(string(o.reason), "untried")).add(t, o.service)
		case o.outcome == invalidation.Undelivered && !m.acknowledged[at]:
			m.group(MissedFailed, string(o.reason)).add(t, o.service)
		}
	}
}

func (m *missed) group(how, reason string) *Group {
	at := [2]string{how, reason}
	if m.groups[at] == nil {
		m.groups[at] = &Group{How: how, Reason: reason, names: map[string]bool{}}
	}
	return m.groups[at]
}

func (g *Group) add(t Told, name string) {
	g.Count++
	if name != "" {
		g.names[name] = true
	}
	g.Last, g.Newest = max(g.Last, t.Revision), newer(g.Newest, t.Appended)
	if g.First == 0 || t.Revision < g.First {
		g.First, g.Oldest = t.Revision, t.Appended
	}
}

func newer(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// list returns the groups, what failed first, with what to do next.
func (m *missed) list(env, domain string) []Group {
	order := []string{MissedFailed, MissedParked, MissedPending, MissedFound, MissedByNobody}
	all := []Group{}
	for _, g := range m.groups {
		names := slices.Sorted(maps.Keys(g.names))
		g.More = max(0, len(names)-maxNamed)
		names = names[:len(names)-g.More]
		if g.How == MissedFound {
			g.Secrets = names
		} else {
			g.Services = names
		}
		g.Next = g.next(env, domain)
		all = append(all, *g)
	}
	slices.SortFunc(all, func(a, b Group) int {
		return cmp.Or(slices.Index(order, a.How)-slices.Index(order, b.How), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// next returns the command to type next.
func (g *Group) next(env, domain string) string {
	command := func(name, rest string) string {
		return fmt.Sprintf("broadcaster %s --env %s --domain %s%s", name, env, domain, rest)
	}
	const why = " --reason REASON"
	of := ""
	if len(g.Services) == 1 && g.More == 0 {
		of = " --service " + g.Services[0]
	}
	switch {
	case g.How == MissedByNobody:
		return ""
	case g.How == MissedParked:
		return command("replay", " --from dlq"+why)
	case g.How == MissedFound:
		return command("doctor", "")
	case g.Reason == string(invalidation.Paused):
		return command("resume", why)
	case g.How == MissedPending: // it is tried again by itself
		return command("status", of)
	}
	switch invalidation.Reason(g.Reason) {
	case invalidation.NotApplied:
		return command("status", " --service "+g.Services[0])
	case invalidation.NoFunction, invalidation.NoAck:
		return command("subscriptions drift", "")
	case invalidation.NotPermitted, invalidation.Invalid:
		return command("doctor", "")
	default:
		return command("replay", of+why)
	}
}
