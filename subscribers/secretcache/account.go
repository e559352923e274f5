package secretcache

import (
	"context"
	"strings"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A name is looked up in the client's own account, an ARN names any. So before a name and an ARN are taken for one secret
// it must be known whose account the ARN is of; and the log speaks of the own account only. Which one that is is told by
// the first answer to a name: until then an ARN that follows the log is asked for by the name in it first, which costs
// nothing if it is one's own.

// request asks Secrets Manager for what a fetch is of.
func (c *Cache) request(ctx context.Context, e *entry, f *fetch, versionID string) (Fetched, error) {
	name := nameIn(f.id)
	if name == f.id || !e.follows || c.knowsAccount() {
		got, err := c.cfg.Secrets.Get(ctx, f.id, versionID)
		if err == nil && name == f.id {
			c.learnAccount(got.ARN)
		}
		return got, err
	}
	got, err := c.cfg.Secrets.Get(ctx, name, versionID)
	if err == nil {
		c.learnAccount(got.ARN)
		if isOf(f.id, got.ARN) {
			return got, nil
		}
		if accountOf(f.id) != accountOf(got.ARN) {
			return Fetched{}, errSuperseded // as its entry is now
		}
	}
	if ctx.Err() != nil {
		return got, err
	}
	return c.cfg.Secrets.Get(ctx, f.id, versionID)
}

func (c *Cache) knowsAccount() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.account != ""
}

// learnAccount is told the ARN of a secret that was asked for by its name.
func (c *Cache) learnAccount(arn string) { c.InAccount(accountOf(arn)) }

// InAccount says in which account names are looked up, for a program that knows: the one of the credentials that Secrets
// Manager is asked with. Who does not say loses nothing but the time in which an ARN may still be any account's: the first
// answer to a name tells as well. The first to tell counts; an empty id tells nothing.
func (c *Cache) InAccount(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account != "" || id == "" {
		return
	}
	c.account = id
	for id, e := range c.entries {
		switch {
		case e.name != "" || e.alias.Load() != nil:
		case !c.isOwn(id):
			delete(c.entries, id)
			c.replace(e, c.entryFor(id)) // which the log does not speak of
		case e.held != nil:
			c.resolve(e, e.held.name, e.held.arn)
		}
	}
}

// isOwn reports whether an ARN is of the account that names are looked up in, as far as that is known. The caller holds mu.
func (c *Cache) isOwn(arn string) bool { return c.account != "" && accountOf(arn) == c.account }

// replace has everything that is of one entry be of another. The caller holds mu.
func (c *Cache) replace(e, by *entry) {
	by.ttl.raise(e.ttl.get())
	by.onChange = append(by.onChange, e.onChange...)
	e.onChange = nil
	if by.lastID == "" { // else OnChange would not be told of the next
		by.held, by.lastID, by.verified, by.refused = e.held, e.lastID, e.verified, e.refused
		by.fresh.Store(e.fresh.Load())
	}
	e.alias.Store(by)
	e.fresh.Store(nil) // so that who has it looks for the alias
	e.held, e.fetch = nil, nil
	e.generation++
}

// markNameless marks what was asked for by an ARN and is called like a changed secret, if it is not known yet whose
// account that ARN is of. The caller holds mu.
func (c *Cache) markNameless(change wire.Change) {
	if c.account != "" {
		return
	}
	for _, e := range c.entries {
		if e.tracked && e.name == "" && e.held != nil && e.held.name == change.Name && !e.keeps(change) {
			c.invalidate(e)
			if change.Kind == wire.Deleted && c.cfg.Mode == On {
				e.held = nil
			}
		}
	}
}

const secretInARN = ":secret:"

// accountOf returns the account in an ARN, arn:aws:secretsmanager:region:account:secret:name-suffix
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_iam-permissions.html); empty for what is none.
func accountOf(arn string) string {
	front, _, ok := strings.Cut(arn, secretInARN)
	if !ok {
		return ""
	}
	return front[strings.LastIndex(front, ":")+1:]
}

// nameIn returns the name in an ARN, or in one without the hyphen and the six characters that an ARN ends in, if its name
// does not end so too. What is no ARN is a name.
func nameIn(id string) string {
	name := afterSecret(id)
	if suffix := len(name) - suffixLength; name != id && suffix > 0 && name[suffix] == '-' {
		return name[:suffix]
	}
	return name
}

// afterSecret returns the name in a partial ARN, even if that ends as an ARN does. What is no ARN is a name.
func afterSecret(id string) string {
	if _, name, ok := strings.Cut(id, secretInARN); ok && isARN(id) {
		return name
	}
	return id
}

func isARN(id string) bool { return strings.HasPrefix(id, "arn:") }

const suffixLength = len("-xxxxxx")

// isOf reports whether a secret with this ARN is what an id names, which is a name, an ARN or a partial ARN: one without
// its suffix (https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html).
func isOf(id, arn string) bool {
	if !isARN(id) || arn == id {
		return true
	}
	suffix, ok := strings.CutPrefix(arn, id+"-")
	return ok && len(suffix) == suffixLength-1
}
