package secretcache

import (
	"context"
	"strings"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// What a program asks and tells the cache that reads secrets for others, and does with some of them what the cache does not
// see: it may change them, or read them past it.

// suffixLength is how much longer an ARN is than the partial one: a hyphen and six characters.
const suffixLength = 7

// ModeOf returns what reads of the secret with this name or ARN do with the log: Off if the log does not speak of it.
func (c *Cache) ModeOf(id string) Mode {
	if !c.tracks(id) {
		return Off
	}
	return c.cfg.Mode
}

// Recent returns the newest change of the secret with this name, if the log has told of it so lately that Secrets Manager may
// still answer with what was before. The log is read first, as for a read of the secret. It returns false where the log is
// not followed.
func (c *Cache) Recent(ctx context.Context, name string) (change wire.Change, ok bool) {
	if c.ModeOf(name) != On {
		return wire.Change{}, false
	}
	c.ensureChecked(ctx)
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.knownOf(name)
	if known == nil || known.ageAt(now) > lateFor {
		return wire.Change{}, false
	}
	return known.Change, true
}

// Changed says that the caller has changed the secret with this name, ARN or partial ARN, or may have: the next read asks
// Secrets Manager. What is held and what is on its way are not served any more, whatever becomes of that.
func (c *Cache) Changed(id string) {
	ids := []string{id}
	if _, name, ok := strings.Cut(id, ":secret:"); ok {
		ids = append(ids, name, name[:max(0, len(name)-suffixLength)]) // one of them is its name; what is not costs a fetch
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marks++ // a fetch of an ARN on its way may be of it
	for _, id := range ids {
		if e := c.entries[id]; e != nil {
			e.held = nil
			c.mark(e)
		}
	}
}

// Forget drops what is kept under a name, an ARN or a partial ARN, so that a process which is asked for ever more ids does not
// grow. What is kept of a secret is kept under its name, whatever it was asked for by; under an ARN there is only what name
// it has. A fetch on its way does not bring it back; the next read by any handle does, but the OnChange functions are gone.
func (c *Cache) Forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		delete(c.entries, id)
		e.fresh.Store(nil) // which no answer fills any more: handles that have it find there is nothing, and look
	}
}
