package secretcache_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// lostAtFirst loses the first requests, as a freeze does: they run into their timeout.
type lostAtFirst struct {
	secretcache.Secrets
	left *atomic.Int32
}

func (s lostAtFirst) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if s.left.Add(-1) >= 0 {
		<-ctx.Done()
		return secretcache.Fetched{}, ctx.Err()
	}
	return s.Secrets.Get(ctx, id, versionID)
}

// TestAFetchLeftOnItsWayIsNotTheNextReadersFault: Lambda freezes an environment when its last invocation ends. A read that
// began afterwards waits for the fetch that was on its way then, and must not fail with it.
func TestAFetchLeftOnItsWayIsNotTheNextReadersFault(t *testing.T) {
	asIs := func(_ *secretcache.Cache, h secretcache.Handler) secretcache.Handler { return h }
	for name, c := range map[string]struct {
		// invoke is how the request that gave up was the only one at work, if the cache knows of it at all.
		invoke func(cache *secretcache.Cache, h secretcache.Handler) secretcache.Handler
		fails  bool
	}{
		"the environment may have been frozen":                {invoke: (*secretcache.Cache).Wrap},
		"the environment may have been frozen, without Wrap":  {invoke: begun},
		"it cannot have been, since nothing is to be seen of": {invoke: asIs, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				var lost atomic.Int32
				lost.Store(1)
				cache := newCache(t, fake, func(cfg *secretcache.Config) {
					cfg.Secrets, cfg.Clock = lostAtFirst{cfg.Secrets, &lost}, nil
				})
				secret := cache.Secret(password)
				givesUp := handlerFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
					ctx, cancel := context.WithTimeout(ctx, time.Second)
					defer cancel()
					_, err := secret.Get(ctx)
					return nil, err
				})
				if _, err := c.invoke(cache, givesUp).Invoke(t.Context(), []byte(`{}`)); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("the first request ended with %v", err)
				}
				value, err := secret.Get(t.Context())
				if failed := err != nil; failed != c.fails || !failed && value.Text() != "first" {
					t.Errorf("got %q, %v", value.Text(), err)
				}
			})
		})
	}
}

// lostInFreeze loses the first request: its time-out passes while nothing runs, and is noticed so much later.
type lostInFreeze struct {
	secretcache.Secrets
	calls *atomic.Int32
	later time.Duration
}

func (s lostInFreeze) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if s.calls.Add(1) > 1 {
		return s.Secrets.Get(ctx, id, versionID)
	}
	<-ctx.Done()
	time.Sleep(s.later)
	return secretcache.Fetched{}, ctx.Err()
}

// TestATimeOutThatIsNoticedTooLateWasNoWait: it may be noticed before the invocation that the environment was thawed for.
func TestATimeOutThatIsNoticedTooLateWasNoWait(t *testing.T) {
	for name, c := range map[string]struct {
		later time.Duration
		calls int32
	}{
		"in time":  {0, 1},
		"too late": {time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, calls := secretcachetest.New(t), &atomic.Int32{}
				fake.Put(password, "first")
				secret := newCache(t, fake, func(cfg *secretcache.Config) {
					cfg.Secrets, cfg.Clock = lostInFreeze{cfg.Secrets, calls, c.later}, nil
				}).Secret(password)
				if v, err := secret.Get(t.Context()); (err != nil) != (c.calls == 1) || calls.Load() != c.calls {
					t.Errorf("got %q, %v after %d requests, want %d", v.Text(), err, calls.Load(), c.calls)
				}
			})
		})
	}
}

// begun is a handler of a program that has nothing to Wrap.
func begun(cache *secretcache.Cache, h secretcache.Handler) secretcache.Handler {
	return handlerFunc(func(ctx context.Context, payload []byte) ([]byte, error) {
		defer cache.Begin(ctx)()
		return h.Invoke(ctx, payload)
	})
}

// throttled fails on demand.
type throttled struct {
	secretcache.Secrets
	down *atomic.Bool
}

func (s throttled) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if s.down.Load() {
		return secretcache.Fetched{}, errors.New("slow down")
	}
	return s.Secrets.Get(ctx, id, versionID)
}

// TestAWallClockThatWasSetBackMakesWhatIsHeldUncertain, not gone: while nothing newer can be had it is served.
func TestAWallClockThatWasSetBackMakesWhatIsHeldUncertain(t *testing.T) {
	fake, down, clock := secretcachetest.New(t), &atomic.Bool{}, &clocks{}
	set := func(monotonic, wall time.Duration) {
		clock.mu.Lock()
		defer clock.mu.Unlock()
		clock.monotonic, clock.wall = monotonic, wall
	}
	cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Clock, cfg.Secrets = clock, throttled{cfg.Secrets, down} })
	secret := cache.Secret(password)
	fake.Put(password, "first")
	wantText(t, secret, "first")
	down.Store(true)
	set(time.Second, -5*time.Second)
	wantText(t, secret, "first")
	wantText(t, secret, "first")
	if got := cache.Counts().Fetches; got != 2 {
		t.Errorf("%d fetches, want 2: it is not asked for at every read", got)
	}
	set(secretcache.DefaultTTL+time.Nanosecond, -5*time.Second)
	if v, err := secret.Get(t.Context()); err == nil {
		t.Errorf("got %q: the other clock tells that its TTL is over", v.Text())
	}
	down.Store(false)
	wantText(t, secret, "first")
}
