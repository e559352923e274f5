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

// begun is a handler of a program that has nothing to Wrap.
func begun(cache *secretcache.Cache, h secretcache.Handler) secretcache.Handler {
	return handlerFunc(func(ctx context.Context, payload []byte) ([]byte, error) {
		defer cache.Begin(ctx)()
		return h.Invoke(ctx, payload)
	})
}
