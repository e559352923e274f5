package secretcache

import "time"

// Clock tells the time by two clocks at once.
type Clock interface {
	// Now returns the monotonic time since some fixed moment and the wall clock's time.
	Now() (monotonic time.Duration, wall time.Time)
}

// An instant is one reading of both clocks. Neither can be trusted alone on Lambda: a frozen machine's monotonic clock
// may stand still, and a wall clock may be set. So the time between two instants is known as a range only, and each use
// takes the end that is safe for it.
type instant struct {
	monotonic, wall int64 // nanoseconds
}

// unknown is longer than every limit, and far from overflowing.
const unknown = time.Duration(1 << 62)

// since returns the longest time that may have passed since the earlier instant. A wall clock that went back says
// nothing, so anything may have: the answer is then unknown.
func (i instant) since(earlier instant) time.Duration {
	wall := i.wall - earlier.wall
	if wall < 0 {
		return unknown
	}
	return time.Duration(max(wall, i.monotonic-earlier.monotonic))
}

// atLeastSince returns the shortest time that may have passed since the earlier instant.
func (i instant) atLeastSince(earlier instant) time.Duration {
	return time.Duration(max(0, min(i.wall-earlier.wall, i.monotonic-earlier.monotonic)))
}

// sinceAtBest returns the longest time that may have passed since the earlier instant if only one of the clocks is wrong: a
// wall clock that went back was set, and then the other is believed. For what is served only where nothing newer can be had.
func (i instant) sinceAtBest(earlier instant) time.Duration {
	return time.Duration(max(i.wall-earlier.wall, i.monotonic-earlier.monotonic))
}

// before reports whether i was read before other, by the clock that never goes back.
func (i instant) before(other instant) bool { return i.monotonic < other.monotonic }

// A rarely lets something happen once a minute at the most: what comes and goes must not fill the log.
type rarely struct{ last *instant }

func (r *rarely) allows(now instant) bool {
	if r.last != nil && now.since(*r.last) < time.Minute {
		return false
	}
	r.last = &now
	return true
}

// now reads both clocks: one time.Now, which is most of what a hit costs.
func (c *Cache) now() instant {
	if c.cfg.Clock != nil {
		monotonic, wall := c.cfg.Clock.Now()
		return instant{int64(monotonic), wall.UnixNano()}
	}
	t := time.Now()
	return instant{int64(t.Sub(c.base)), t.UnixNano()}
}
