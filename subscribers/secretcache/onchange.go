package secretcache

import (
	"context"
	"fmt"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// OnChange is told each time another version of a secret than before has been fetched, before the read that caused it
// returns: it drops what was made with the old one, such as a connection pool. It is told of one version after the other:
// what is fetched while it runs is told afterwards, only the newest of that, and the reads do not wait for it. So it may
// read the secret itself. Its error, or a panic in it, makes the ack
// and the report say failed, and its type is logged, not its text, which might quote a value; the new version is served
// all the same. The context ends after FetchTimeout.
type OnChange func(ctx context.Context, v Value) error

// OnChange registers f for as long as the cache lives. It is not called for the first version read.
func (s *Secret) OnChange(f OnChange) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	e := s.current()
	e.onChange = append(e.onChange, f)
}

// toTell notes that another version than before is held, and returns whether the caller is to tell OnChange of it: it is
// not while OnChange is being told of another. The caller holds mu.
func (e *entry) toTell(v *version) bool {
	e.lastID, e.refused = v.id, "" // before the call: what is fetched meanwhile is compared with it
	if e.telling != nil {
		e.next = v
		return false
	}
	e.telling = make(chan struct{})
	return true
}

// tellChange calls an entry's OnChange functions with a new version and notes what they made of it, unless that is not
// what is held any more.
func (c *Cache) tellChange(e *entry, v *version) {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.FetchTimeout)
	defer cancel()
	c.mu.Lock()
	told := append([]OnChange(nil), e.onChange...)
	c.mu.Unlock()
	outcome := "an OnChange function did not return" // until all have: one may end its goroutine
	defer func() { c.noteTold(e, v, outcome) }()
	refused := ""
	for _, f := range told {
		if err := callSafely(ctx, f, Value{v}); err != nil && refused == "" {
			refused = wire.ReasonRefused
			c.cfg.Logger.Error(refused, "secret", e.name, "version", v.id, "errorType", fmt.Sprintf("%T", err))
		}
	}
	outcome = refused
}

// noteTold ends the telling of a version, and begins that of the next one if there is any.
func (c *Cache) noteTold(e *entry, v *version, refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.lastID == v.id {
		e.refused = refused
		if refused == "" {
			e.verified = v.id
		}
	}
	c.report.due = true
	next := e.next
	e.next = nil
	if next != nil && next.id != v.id {
		go c.tellChange(e, next)
		return
	}
	close(e.telling)
	e.telling = nil
}

func callSafely(ctx context.Context, f OnChange, v Value) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in OnChange: a %T", r)
		}
	}()
	return f(ctx, v)
}

// waitTold waits until OnChange has been told of what an entry holds, or ctx has ended.
func (c *Cache) waitTold(ctx context.Context, e *entry) {
	c.mu.Lock()
	telling := e.telling
	c.mu.Unlock()
	if telling == nil {
		return
	}
	select {
	case <-telling:
	case <-ctx.Done():
	}
}
