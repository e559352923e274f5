package secretcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	// askAgainEvery bounds how often rejections make an environment ask for one secret: a wrong password in a loop must not
	// become a load on Secrets Manager.
	askAgainEvery = 5 * time.Second
	// maxUses is how often one Try calls use.
	maxUses = 3
)

// ErrRejected is what Rejected makes of an error.
var ErrRejected = errors.New("the credential was rejected")

// Rejected marks an error as the other side's word that the credential is wrong: errors.Is finds ErrRejected in it, its
// text stays. Mark authentication failures only, never a time-out or a network error, which say nothing of the credential.
func Rejected(err error) error {
	if err == nil {
		return nil
	}
	return rejectedError{err}
}

type rejectedError struct{ error }

func (r rejectedError) Unwrap() error { return r.error }

func (rejectedError) Is(target error) bool { return target == ErrRejected }

// A TryOption changes what Try does.
type TryOption func(*tryOptions)

type tryOptions struct {
	pending  bool
	rejected []func(error) bool
}

// Pending lets Try go on to AWSPENDING's version when AWSCURRENT's is rejected. A single-user rotation changes the
// password first and moves AWSCURRENT later: in between only AWSPENDING's works.
func Pending() TryOption { return func(o *tryOptions) { o.pending = true } }

// RejectedIf also counts the errors of use for which is returns true as rejections, as if Rejected had marked them.
func RejectedIf(is func(error) bool) TryOption {
	return func(o *tryOptions) { o.rejected = append(o.rejected, is) }
}

func (o *tryOptions) isRejection(err error) bool {
	return err != nil && (errors.Is(err, ErrRejected) || slices.ContainsFunc(o.rejected, func(is func(error) bool) bool { return is(err) }))
}

// Try calls use with the current value, as Get returns it. If use returns a rejection (see Rejected), it reads the log and
// AWSCURRENT at once, whatever the age of what is cached, and calls use again if that brings another version; if it does
// not, or that one is rejected too, and Pending allows it, it calls use with AWSPENDING's version. So use is called three
// times at most, never twice with one version, and never again after any other error or once ctx has ended.
//
// All whose value is rejected share what is read, and it is read at most every five seconds for each secret, AWSPENDING
// too. What is read of AWSCURRENT is judged and cached like every fetch; AWSPENDING's version is never what Get returns,
// OnChange is told or a report says.
//
// An error of the first call that is no rejection is returned as it is. Any later one is wrapped, with the ids of the
// versions tried. In the modes Observe and Off a rejection has AWSCURRENT read too, but not the log.
func (s *Secret) Try(ctx context.Context, use func(ctx context.Context, v Value) error, options ...TryOption) error {
	var o tryOptions
	for _, option := range options {
		option(&o)
	}
	v, err := s.Get(ctx)
	if err != nil {
		return err
	}
	tried := []string{v.VersionID()}
	err = use(ctx, v)
	if !o.isRejection(err) {
		return err
	}
	for len(tried) < maxUses && o.isRejection(err) && ctx.Err() == nil {
		other, askErr := s.another(ctx, v, tried, o.pending)
		if askErr != nil {
			err = fmt.Errorf("%w; and asking for another version: %w", err, askErr)
			break
		}
		if other.v == nil {
			break
		}
		v = other
		tried = append(tried, v.VersionID())
		err = use(ctx, v)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("secret %s, tried with version %s: %w", s.id, strings.Join(tried, ", then "), err)
}

// another returns a version that has not been tried, after the given one was rejected: AWSCURRENT's, or else AWSPENDING's
// if it may. It returns the zero Value if there is none, with the reason if they could not all be read.
func (s *Secret) another(ctx context.Context, rejected Value, tried []string, pending bool) (Value, error) {
	var askErr error
	if a := s.askAgain(rejected.v); a != nil {
		askErr = a.wait(ctx)
	}
	v, err := s.Get(ctx)
	if err != nil {
		return Value{}, err
	}
	if !slices.Contains(tried, v.VersionID()) {
		return v, nil
	}
	if pending {
		a := s.askPending()
		err := a.wait(ctx)
		if err == nil && a.version != nil && s.is(a.version) && !slices.Contains(tried, a.version.id) {
			return Value{a.version}, nil
		}
		if askErr == nil {
			askErr = err
		}
	}
	return Value{}, askErr
}

// An asking is one request that a rejection has caused, and all who share it.
type asking struct {
	begun instant
	done  chan struct{}

	fetch   *fetch   // of AWSCURRENT
	version *version // of AWSPENDING, if there is one; set before done is closed, as is err
	err     error
}

// ask returns the asking to wait for, and whether it is a new one, which the caller starts. The caller holds mu.
func (c *Cache) ask(last **asking) (a *asking, isNew bool) {
	now := c.now()
	if *last == nil || now.since((*last).begun) >= askAgainEvery {
		*last, isNew = &asking{begun: now, done: make(chan struct{})}, true
	}
	return *last, isNew
}

// wait returns what went wrong, or ctx's error once it has ended.
func (a *asking) wait(ctx context.Context) error {
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askAgain has the log and AWSCURRENT read, and returns what to wait for: what has been brought is in the cache then. It
// returns nil if what was rejected has been replaced meanwhile, or if there is nothing to come.
func (s *Secret) askAgain(rejected *version) *asking {
	c := s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	e := s.current()
	if v := e.fresh.Load(); v != nil && v.id != rejected.id {
		return nil
	}
	e.rejected = rejected
	a, isNew := c.ask(&e.again)
	if isNew {
		c.cfg.Logger.Warn("a secret's value was rejected: the log and AWSCURRENT are read at once", "secret", s.id, "version", rejected.id)
		go c.runAgain(e, s.id, a)
	}
	if a.fetch != nil && a.fetch.version == rejected {
		return nil // it has brought this very version. And its OnChange may be who asks: to wait would be for itself
	}
	return a
}

// runAgain is not one caller's: it ends when the log and Secrets Manager have answered or their time-outs have passed.
func (c *Cache) runAgain(e *entry, id string, a *asking) {
	defer close(a.done)
	if e.follows {
		c.checkSince(context.Background(), a.begun) // first, so that what is fetched is judged by it
	}
	c.mu.Lock()
	c.supersedeFetch(e) // one on its way may have been sent before the rejection
	c.mu.Unlock()
	for range rounds {
		c.mu.Lock()
		f := c.startFetch(e, id)
		a.fetch = f
		c.mu.Unlock()
		<-f.done
		if a.err = f.err; !errors.Is(f.err, errSuperseded) {
			return
		}
	}
}

// askPending has AWSPENDING's version read, and returns what to wait for.
func (s *Secret) askPending() *asking {
	c := s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	e := s.current()
	a, isNew := c.ask(&e.pending)
	if isNew {
		go c.runPending(e.nameOr(s.id), a)
	}
	return a
}

func (c *Cache) runPending(id string, a *asking) {
	defer close(a.done)
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.FetchTimeout)
	defer cancel()
	got, err := c.cfg.Secrets.Pending(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Fetches++
	switch {
	case err == nil:
		a.version = newVersion(got, a.begun)
	case !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDeleted): // there often is none
		c.counts.FetchFailures++
		a.err = fmt.Errorf("reading AWSPENDING: %w", err)
	}
}

// replaced is called when a version has been fetched. If it takes the place of one that was rejected, nobody may have
// announced it yet; so it is kept like a change in the log, and a late answer does not bring the rejected version back. A
// change in the log that is later counts more, as always. The caller holds mu.
func (c *Cache) replaced(e *entry, v *version) {
	if e.rejected == nil || e.rejected.id == v.id {
		return
	}
	e.rejected = nil
	if e.name == "" {
		return // another account's, perhaps: what is known is known by the own account's names
	}
	if known, ok := c.known[e.name]; ok && !known.At.Before(v.created) {
		return
	}
	change := wire.Change{Name: e.name, Kind: wire.Moved, VersionID: v.id, At: v.created}
	c.known[e.name] = knownChange{Change: change, anchor: v.sent} // the next check dates it by the log's clock
}
