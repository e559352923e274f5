package secretcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// A Secret is a handle to one secret of a Cache. It is safe for concurrent use.
type Secret struct {
	cache *Cache
	id    string
	arn   bool // id is an ARN or a partial ARN
	ttl   time.Duration
	after instant // what Secrets Manager was asked for before this is not good enough
	entry atomic.Pointer[entry]
}

// Value is one version of a secret. Whatever prints it prints "[secret]": only Text hands it out.
type Value struct{ v *version }

// Text returns the SecretString, or the SecretBinary's bytes.
func (v Value) Text() string {
	if v.v == nil {
		return ""
	}
	return v.v.text
}

// VersionID returns the id of the version this value belongs to; empty for the zero Value.
func (v Value) VersionID() string {
	if v.v == nil {
		return ""
	}
	return v.v.id
}

// Details is what Secrets Manager says of a version beside its value.
type Details struct {
	Name, ARN, VersionID string
	// Labels are the staging labels that the version had when it was fetched. They must not be changed.
	Labels []string
	// Created is the version's CreatedDate.
	Created time.Time
	// Binary: the value is a SecretBinary.
	Binary bool
}

// Details returns what is known of the version beside its value; zero for the zero Value.
func (v Value) Details() Details {
	if v.v == nil {
		return Details{}
	}
	return Details{Name: v.v.name, ARN: v.v.arn, VersionID: v.v.id, Labels: v.v.labels, Created: v.v.created, Binary: v.v.binary}
}

// String returns "[secret]".
func (Value) String() string { return "[secret]" }

// Format writes "[secret]" for every verb.
func (Value) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[secret]") }

// LogValue logs "[secret]".
func (Value) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText encodes "[secret]".
func (Value) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// WithTTL returns a handle to the same secret whose reads accept nothing cached longer ago than ttl. Zero fetches at each
// read; reads at the same time share a fetch.
func (s *Secret) WithTTL(ttl time.Duration) *Secret {
	other := s.copied()
	other.ttl = ttl
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.report.maxTTL = max(s.cache.report.maxTTL, ttl)
	return other
}

// Anew returns a handle to the same secret whose reads accept only what Secrets Manager was asked for after this call, and
// return an error if that gave nothing. Such reads at the same time share a fetch: while one is on its way that was sent
// too early for them, they wait for the next.
func (s *Secret) Anew() *Secret {
	other := s.copied()
	other.after = s.cache.now()
	return other
}

// copied returns a handle that is as this one.
func (s *Secret) copied() *Secret {
	other := &Secret{cache: s.cache, id: s.id, arn: s.arn, ttl: s.ttl, after: s.after}
	other.entry.Store(s.entry.Load())
	return other
}

// Get returns AWSCURRENT. A hit is a read of memory and of the clock: no lock, no allocation. Otherwise it waits for the
// log, for Secrets Manager, or for ctx. While the log cannot be read, or a newer version cannot be fetched, not within two
// seconds or not before ctx's deadline, it returns what is cached until the TTL ends; a deleted secret is not served once
// the deletion is known. The errors are ErrNotFound, ErrDeleted, ctx's, or whatever Secrets Manager's client said, wrapped
// with the secret's id.
func (s *Secret) Get(ctx context.Context) (Value, error) {
	now := s.cache.now()
	e := s.entry.Load()
	if !e.follows || s.cache.certain(now) {
		if v := e.fresh.Load(); v != nil && s.isYoungEnough(v, now) && s.is(v) {
			if e.tracked && !e.follows {
				e.ttl.raise(s.ttl)
				s.cache.observe(now)
			}
			return Value{v}, nil
		}
	}
	return s.read(ctx)
}

// observe reads the log beside a read that does not follow it: what it tells is counted.
func (c *Cache) observe(now instant) {
	if !c.certain(now) {
		c.startCheck(now, false)
	}
}

const (
	// rounds bounds how often a read begins again because a change was announced, or its check grew old, while it waited.
	rounds = 20
	// fallBackAfter is how long a read waits for the refetch of a changed secret while the version before may still be
	// served. A function's time-out may well be shorter than FetchTimeout.
	fallBackAfter = 2 * time.Second
)

func (s *Secret) read(ctx context.Context) (Value, error) {
	if err := ctx.Err(); err != nil {
		return Value{}, s.wrap(err)
	}
	c := s.cache
	var mine *version // fetched for this read: it is served even if its fetch took longer than the TTL
	var brief <-chan time.Time
	certain := true // until the log could not be read: then this read goes on without it
	rests, again := c.rests.Load(), false
	if c.cfg.Mode == Observe {
		c.observe(c.now())
	}
	for range rounds {
		var beside *fetch
		if s.follows() && certain {
			var k *check
			k, beside = s.fetchBeside(mine)
			certain = c.ensureChecked(ctx, k)
		}
		if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return Value{}, s.wrap(err)
		}
		v, f := s.serveOrFetch(mine, certain, beside)
		switch {
		case v != nil && !s.is(v):
			return s.direct(ctx)
		case v != nil:
			return Value{v}, nil
		case f == nil:
			continue // the check has grown old
		}
		if brief == nil {
			timer := time.NewTimer(fallBackAfter)
			defer timer.Stop()
			brief = timer.C
		}
		if !s.wait(ctx, f, brief, rests) {
			return s.fallBackFrom(ctx)
		}
		switch {
		case errors.Is(f.err, errSuperseded):
		case f.err != nil && (f.rests != rests || f.sent.before(s.after)) && !again:
			again = true // it began before the environment rested, or before this read: what became of it is not its fault
		case f.err != nil:
			return s.fallBack(f.err, f.late)
		default:
			mine = f.version
		}
	}
	return s.fallBack(errSuperseded, nil)
}

func (s *Secret) follows() bool { return s.entry.Load().follows }

// serveOrFetch returns a version that may be served now, or the fetch to wait for, or neither if the log has to be
// checked again. What was fetched beside the check is waited for unless it has been superseded.
func (s *Secret) serveOrFetch(mine *version, certain bool, beside *fetch) (*version, *fetch) {
	c := s.cache
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := s.current()
	e.ttl.raise(s.ttl)
	if beside != nil && (beside == e.fetch || beside.hasEnded()) {
		return nil, beside
	}
	if s.follows() && certain && !c.certain(now) {
		return nil, nil
	}
	v := s.inMemory(e, mine, now)
	switch {
	case v == nil:
		return nil, c.startFetch(e, s.id)
	case v != e.fresh.Load():
		c.counts.Outdated++
	case s.follows() && !certain:
		c.counts.Uncertain++
	}
	return v, nil
}

// inMemory returns what an entry has for this read, as far as the log does not speak against it, or nil. The caller
// holds mu.
func (s *Secret) inMemory(e *entry, mine *version, now instant) *version {
	v := e.fresh.Load()
	switch {
	case v != nil && (s.isYoungEnough(v, now) || v == mine && !v.sent.before(s.after) && now.since(v.sent) <= s.cache.cfg.FetchTimeout):
		return v
	case s.failedLately(e, now), s.waitedInVain(e, now):
		return e.held
	}
	return nil
}

// isYoungEnough reports whether a version's age allows it to be served.
func (s *Secret) isYoungEnough(v *version, now instant) bool {
	return now.since(v.sent) <= s.ttl && !v.sent.before(s.after)
}

// direct asks for a full ARN that is not the one of the secret now called by its name: it was deleted and created anew.
// The answer is Secrets Manager's and is not cached.
func (s *Secret) direct(ctx context.Context) (Value, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cache.cfg.FetchTimeout)
	defer cancel()
	sent := s.cache.now()
	got, err := s.cache.cfg.Secrets.Get(ctx, s.id, "")
	if err != nil {
		return Value{}, s.wrap(err)
	}
	return Value{newVersion(got, sent)}, nil
}

// current returns the handle's entry, by name once that is known, and made anew if it was forgotten. The caller holds mu.
func (s *Secret) current() *entry {
	e := s.cache.entryFor(s.entry.Load().key)
	if byName := e.alias.Load(); byName != nil {
		e = s.cache.entryFor(byName.key)
	}
	s.entry.Store(e)
	return e
}

// is reports whether a version belongs to what the handle was made with.
func (s *Secret) is(v *version) bool { return !s.arn || isOf(s.id, v.arn) }

func (s *Secret) wrap(err error) error { return fmt.Errorf("reading secret %s: %w", s.id, err) }
