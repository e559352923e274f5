package secretcache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// lostAtFirst loses the first requests, as a freeze does: they run into their timeout.
type lostAtFirst struct {
	secretcache.Secrets
	left *int
}

func (s lostAtFirst) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if *s.left > 0 {
		*s.left--
		<-ctx.Done()
		return secretcache.Fetched{}, ctx.Err()
	}
	return s.Secrets.Get(ctx, id, versionID)
}

// TestAFetchLeftOnItsWayIsNotTheNextReadersFault: Lambda freezes an environment when its last invocation ends. A read that
// began afterwards waits for the fetch that was on its way then, and must not fail with it.
func TestAFetchLeftOnItsWayIsNotTheNextReadersFault(t *testing.T) {
	for name, c := range map[string]struct {
		invoked bool // the request that gave up was the only invocation
		fails   bool
	}{
		"the environment may have been frozen":       {invoked: true},
		"it cannot have been: nothing is to be seen": {fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				lost := 1
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
				invoke := givesUp.Invoke
				if c.invoked {
					invoke = cache.Wrap(givesUp).Invoke
				}
				if _, err := invoke(t.Context(), []byte(`{}`)); !errors.Is(err, context.DeadlineExceeded) {
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
