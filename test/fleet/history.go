package fleet

import (
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A moment is one state of a secret's AWSCURRENT, in the order in which they came: the truth.
type moment struct {
	at                time.Time // Secrets Manager's LastChangedDate
	version, previous string    // what AWSCURRENT and AWSPREVIOUS named; no version: it could not be read
}

// A coverage is how far the log told of a secret from a time on: up to which of its moments. -1 is nothing.
type coverage struct {
	from   time.Time
	moment int
	dated  time.Time // what the newest row says the change was dated
}

// history is what really happened, to secrets and to the log. Nothing in it comes from the code under test but the rows
// that were committed to the table.
type history struct {
	moments map[string][]moment
	covered map[string][]coverage
	applied map[string]map[string]int // by a row's hash: how far whoever has applied it knows of each secret
	live    []wire.Row                // the rows in the table

	previous map[string]string // of every row that ever was, by their hashes
}

func newHistory() *history {
	return &history{
		moments: map[string][]moment{}, covered: map[string][]coverage{}, applied: map[string]map[string]int{"": {}}, previous: map[string]string{},
	}
}

// happened notes a moment, unless AWSCURRENT was not touched.
func (h *history) happened(name string, is moment) {
	if last := h.current(name); last >= 0 {
		if before := h.moments[name][last]; before.same(is) {
			return
		} else if is.at.Before(before.at) {
			is.at = before.at // dates never stand still, so they may run ahead of a deletion of the same millisecond
		}
	}
	h.moments[name] = append(h.moments[name], is)
}

// same reports whether two moments look alike, whatever their dates.
func (m moment) same(other moment) bool {
	return m.version == other.version && m.previous == other.previous
}

// momentOf returns which moment a change in the log tells of.
func (h *history) momentOf(c wire.Change) int {
	last := -1
	for i, m := range h.moments[c.Name] {
		if !m.at.After(c.At) {
			last = i
		}
	}
	return last
}

// latest returns the last moment at which a version was current, or -1.
func (h *history) latest(name, version string) int {
	for i := len(h.moments[name]) - 1; i >= 0; i-- {
		if h.moments[name][i].version == version {
			return i
		}
	}
	return -1
}

func (h *history) current(name string) int { return len(h.moments[name]) - 1 }

// appended notes a committed row.
func (h *history) appended(row wire.Row, now time.Time) {
	h.live = append(h.live, row)
	h.previous[row.Hash] = row.PreviousHash
	known := map[string]int{}
	for name, m := range h.applied[row.PreviousHash] {
		known[name] = m
	}
	for _, c := range row.Changes {
		m := h.momentOf(c)
		if before, ok := known[c.Name]; !ok || m > before {
			known[c.Name] = m
		}
		h.covered[c.Name] = append(h.covered[c.Name], coverage{now, max(m, h.coveredNow(c.Name)), c.At})
	}
	h.applied[row.Hash] = known
}

// rewound notes that the table was restored to its first n rows.
func (h *history) rewound(n int, now time.Time) {
	h.live = h.live[:n]
	head := ""
	if n > 0 {
		head = h.live[n-1].Hash
	}
	for name := range h.covered {
		m, ok := h.applied[head][name]
		if !ok {
			m = -1
		}
		h.covered[name] = append(h.covered[name], coverage{now, m, h.dated(name)})
	}
}

// dated returns the date of a secret's newest change in the log, or zero.
func (h *history) dated(name string) time.Time {
	for i := len(h.live) - 1; i >= 0; i-- {
		for _, c := range h.live[i].Changes {
			if c.Name == name {
				return c.At
			}
		}
	}
	return time.Time{}
}

// coverage returns how far the log tells of a secret now.
func (h *history) coverage(name string) coverage {
	if c := h.covered[name]; len(c) > 0 {
		return c[len(c)-1]
	}
	return coverage{moment: -1}
}

func (h *history) coveredNow(name string) int { return h.coverage(name).moment }

// coveredThroughout returns how far the log told of a secret at every time between from and to.
func (h *history) coveredThroughout(name string, from, to time.Time) int {
	m := -1
	for _, c := range h.covered[name] {
		switch {
		case c.from.Before(from):
			m = c.moment
		case !c.from.After(to):
			m = min(m, c.moment)
		}
	}
	return m
}

// behind is how many rows a check applies one by one; further behind, a client begins at the head.
const behind = 100

// leaps reports whether whoever went from one row to another may not have read all that is between them.
func (h *history) leaps(from, to string) bool {
	for range behind {
		if to == from {
			return false
		}
		to = h.previous[to]
	}
	return to != from
}

// toldAt returns when the log first told of a secret's moment, or of a later one.
func (h *history) toldAt(name string, moment int) time.Time {
	for _, c := range h.covered[name] {
		if c.moment >= moment {
			return c.from
		}
	}
	return time.Time{}
}

// appliedBy returns how far whoever stands at the row with this hash knows of a secret; -1 is nothing.
func (h *history) appliedBy(hash, name string) int {
	if m, ok := h.applied[hash][name]; ok {
		return m
	}
	return -1
}
