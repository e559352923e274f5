package secretcache

import "time"

// breakerAfter failed checks in a row open the breaker for breakerFor: reads no longer wait for the log then.
const (
	breakerAfter = 3
	breakerFor   = 10 * time.Second
)

// A breaker keeps reads from waiting for a log that does not answer.
type breaker struct {
	failures int // in a row
	opened   instant
	told     bool // that it does not
	tells    rarely
}

func (b *breaker) open(now instant) bool {
	return b.failures >= breakerAfter && now.since(b.opened) < breakerFor
}

// note records a check's result and returns what is to be logged, if anything, when the log goes and when it comes back.
func (b *breaker) note(err error, now instant) string {
	if err == nil {
		told := b.told
		b.failures, b.told = 0, false
		if told {
			return "the change log can be read again"
		}
		return ""
	}
	b.failures++
	b.opened = now
	if b.told || !b.tells.allows(now) {
		return ""
	}
	b.told = true
	return "the change log cannot be read: cached secrets are served until their TTL ends"
}
