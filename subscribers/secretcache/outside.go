package secretcache

import (
	"context"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// What a program asks and tells the cache that reads secrets for others, and does with some of them what the cache does not
// see: it may change them, or read them past it.

// ModeOf returns what reads of the secret with this name or ARN do with the log: Off if the log does not speak of it, and for
// an ARN while it is not known whose account it is of.
func (c *Cache) ModeOf(id string) Mode {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.tracks(id) || nameIn(id) != id && c.account == "" {
		return Off
	}
	return c.cfg.Mode
}

// Recent returns the newest change of a secret, if the log has told of it so lately that Secrets Manager may still answer with
// what was before. The secret is the one that Secrets Manager has said has this ARN when it was asked for id. The log is read
// first, as for a read of the secret. Recent returns false where the log is not followed, and where it is not known that the
// ARN is of the account that the log is of.
func (c *Cache) Recent(ctx context.Context, id, arn string) (change wire.Change, ok bool) {
	if nameIn(id) == id {
		c.learnAccount(arn)
	}
	if !c.knowsAccount() || c.ModeOf(arn) != On {
		return wire.Change{}, false
	}
	c.ensureChecked(ctx, nil)
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.knownOf(nameIn(arn))
	if known == nil || known.ageAt(now) > lateFor {
		return wire.Change{}, false
	}
	return known.Change, true
}

// Changing says that the caller begins to change the secret with each of these names, ARNs or partial ARNs, and returns what it
// calls when that is over: with whether the secret may have been changed. Then the next read asks Secrets Manager: what is held
// and what is on its way are not served any more, whatever becomes of that.
func (c *Cache) Changing(ids ...string) (over func(changed bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.changing[id]++
	}
	return func(changed bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, id := range ids {
			if c.changing[id]--; c.changing[id] == 0 {
				delete(c.changing, id)
			}
			if changed {
				c.changed(id)
			}
		}
	}
}

// IsChanging reports whether the caller is changing the secret with this name, ARN or partial ARN: nobody knows what is current
// then, and only what is read anew is.
func (c *Cache) IsChanging(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.changing {
		if mayBeOne(id, other) {
			return true
		}
	}
	return false
}

// changed drops what is held of a secret, and has it be read anew. The caller holds mu.
func (c *Cache) changed(id string) {
	for key, e := range c.entries {
		if mayBeOne(key, id) {
			e.held = nil
			c.mark(e)
		}
	}
}

// mayBeOne reports whether two ids may be of one secret, as far as the names in them tell.
func mayBeOne(id, other string) bool {
	return nameIn(id) == nameIn(other) || afterSecret(id) == nameIn(other) || nameIn(id) == afterSecret(other)
}

// KeptAs returns what Forget drops what the handle has read by: what the handle was made with, or the secret's name where that
// was an ARN of the own account, once an answer has told it.
func (s *Secret) KeptAs() string {
	e := s.entry.Load()
	if byName := e.alias.Load(); byName != nil {
		e = byName
	}
	return e.key
}

// Forget drops what is kept under a name, an ARN or a partial ARN, so that a process which is asked for ever more ids does not
// grow. What is kept of a secret of the own account is kept under its name, whatever it was asked for by. A fetch on its way
// does not bring it back; the next read by any handle does, but the OnChange functions are gone.
func (c *Cache) Forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		delete(c.entries, id)
		e.fresh.Store(nil) // which no answer fills any more: handles that have it find there is nothing, and look
	}
}
