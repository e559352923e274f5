package secretcache

import (
	"context"
	"errors"
	"time"
)

// wait waits for a fetch, and returns false if ctx has ended first, or brief and what is held may be served meanwhile. The
// fetch goes on. rests are the cache's when the read began.
func (s *Secret) wait(ctx context.Context, f *fetch, brief <-chan time.Time, rests int64) bool {
	for {
		select {
		case <-f.done:
			return true
		case <-ctx.Done():
			return false
		case <-brief:
			if s.giveUpWaiting(f, rests) {
				return false
			}
			brief = nil
		}
	}
}

// giveUpWaiting reports whether what is held may be served although a fetch has not ended. It notes that for the reads
// after this one, until the environment rests: one that is thawed waits anew.
func (s *Secret) giveUpWaiting(f *fetch, rests int64) bool {
	c := s.cache
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := s.current()
	if e.fresh.Load() == e.held || !s.mayFallBackTo(e, now) {
		return false // the new version is there, and OnChange is being told, or there is nothing to serve
	}
	f.inVain = &rests // if it rested meanwhile, the wait was none
	return true
}

// waitedInVain reports whether a read has waited for the fetch on its way in vain and what is held is served without
// waiting again. The caller holds mu.
func (s *Secret) waitedInVain(e *entry, now instant) bool {
	return e.fetch != nil && e.fetch.inVain != nil && *e.fetch.inVain == s.cache.rests.Load() && s.mayFallBackTo(e, now)
}

// failedLately reports whether a newer version could not be fetched just now, so that what is held is served without
// asking at every read. The caller holds mu.
func (s *Secret) failedLately(e *entry, now instant) bool {
	return e.failed != nil && now.since(*e.failed) < s.cache.cfg.CheckEvery && s.mayFallBackTo(e, now)
}

func (s *Secret) mayFallBackTo(e *entry, now instant) bool {
	if e.held == nil || e.held.sent.before(s.after) || !s.is(e.held) {
		return false
	}
	return s.ttl > 0 && now.sinceAtBest(e.held.sent) <= s.ttl
}

// fallBackFrom ends a read that did not wait for its fetch. Who has gone is not served; whose deadline has passed is.
func (s *Secret) fallBackFrom(ctx context.Context) (Value, error) {
	switch err := ctx.Err(); {
	case err == nil:
		return s.fallBack(errLate, nil)
	case errors.Is(err, context.DeadlineExceeded):
		return s.fallBack(err, nil)
	default:
		return Value{}, s.wrap(err)
	}
}

// fallBack serves what is held until its TTL ends, although something newer is known to exist, or may; or else the late answer
// to this read, if there is one: a client without the log would serve that, also where nothing may be cached.
func (s *Secret) fallBack(err error, late *version) (Value, error) {
	c := s.cache
	now := c.now()
	c.mu.Lock()
	e := s.current()
	held := e.held
	ok := s.mayFallBackTo(e, now)
	if !ok && late != nil && now.since(late.sent) <= 2*c.cfg.FetchTimeout && s.is(late) { // its own request's and that of the one after it
		held, ok = late, true
	}
	outdated := ok && e.fresh.Load() != held
	first := outdated && !e.told
	switch {
	case outdated:
		c.counts.Outdated++
		e.told = true
	case ok && e.follows && !c.certain(now):
		c.counts.Uncertain++
	}
	c.mu.Unlock()
	if !ok {
		return Value{}, s.wrap(err)
	}
	if first {
		c.cfg.Logger.Warn("a changed secret cannot be fetched: the version before it is served until its TTL ends", "secret", s.id, "error", err)
	}
	return Value{held}, nil
}
