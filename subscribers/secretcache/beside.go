package secretcache

import (
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A read that finds nothing in memory checks the log and fetches at once, and is served when both have come. Why that
// weakens neither G1 nor G3 stands in docs/decisions/0012-check-and-fetch-at-once.md.

// fetchBeside starts the check that is due, and beside it the fetch that this read needs whatever the check finds. It
// returns nil if there is no check to wait for, and no fetch if there is perhaps nothing to fetch.
func (s *Secret) fetchBeside(mine *version) (*check, *fetch) {
	c := s.cache
	now := c.now()
	if c.certain(now) {
		return nil, nil
	}
	k := c.startCheck(now, false)
	if k == nil {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := s.current()
	if s.inMemory(e, mine, now) != nil {
		return k, nil
	}
	return k, c.startFetch(e, s.id)
}

// fetchesBeside returns the fetches that were sent after the newest read of the log had begun. The caller holds mu.
func (c *Cache) fetchesBeside() map[*entry]*fetch {
	beside := map[*entry]*fetch{}
	for _, e := range c.entries {
		if e.fetch != nil && e.fetch.reads == c.reads {
			beside[e] = e.fetch
		}
	}
	return beside
}

// letGoOn takes back that fetches were superseded. The caller holds mu.
func (c *Cache) letGoOn(fetches map[*entry]*fetch) {
	for e, f := range fetches {
		e.fetch = f
		f.generation, f.marks = e.generation, c.marks
	}
}

// tellsAllSince reports whether the answer to a fetch that was sent so long before the page landed, or later, can be
// judged by the page, which is a tail: each row of the minute before and of the time since is kept to judge by.
func (p Page) tellsAllSince(elapsed time.Duration) bool {
	if p.Date.IsZero() {
		return false // then nobody can tell how far back it reaches
	}
	for _, row := range p.Rows {
		age := p.since(row.Time)
		if age-elapsed <= lateFor && (age > lateFor || !judges(row)) {
			return false
		}
	}
	return true
}

// judges reports whether an answer can be told from one of before a row's changes: not by a refresh, which names a version
// that was current before, nor by what this client cannot read.
func judges(row wire.Row) bool {
	for _, change := range row.Changes {
		if change.Kind == wire.Refresh {
			return false
		}
	}
	return row.Schema <= wire.Schema
}
