package secretcache_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// unmovedSecrets goes on answering with the first answer, however it is asked.
type unmovedSecrets struct {
	secretcache.Secrets
	first *secretcache.Fetched
}

func (s *unmovedSecrets) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if s.first != nil {
		return *s.first, nil
	}
	got, err := s.Secrets.Get(ctx, id, versionID)
	if err == nil {
		s.first = &got
	}
	return got, err
}

// TestALateAnswerIsBetterThanNone: also where nothing may be cached. It is what a client without the log would serve.
func TestALateAnswerIsBetterThanNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache := newCache(t, fake, func(cfg *secretcache.Config) {
			cfg.Secrets = &disturbedSecrets{Secrets: &unmovedSecrets{Secrets: cfg.Secrets}, disturb: func(int) bool {
				fake.Advance(time.Millisecond) // an answer takes time: it is older than the TTL allows
				return false
			}}
		})
		secret := cache.Secret(password).WithTTL(0)
		wantText(t, secret, "first")
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		wantText(t, secret, "first")
		if got := cache.Counts(); got.Outdated != 1 {
			t.Errorf("it is the second exception of G1, counted: %+v", got)
		}
	})
}

// TestAKnownDeletionIsWhatTheErrorSays: also while Secrets Manager, eventually consistent as it is, still answers.
func TestAKnownDeletionIsWhatTheErrorSays(t *testing.T) {
	for name, change := range map[string]struct {
		by   func(*secretcachetest.Fake)
		want bool
	}{
		"a deletion":      {func(fake *secretcachetest.Fake) { fake.Delete(password) }, true},
		"another version": {func(fake *secretcachetest.Fake) { fake.Put(password, "second") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = &unmovedSecrets{Secrets: cfg.Secrets} }).Secret(password)
				wantText(t, secret, "first")
				fake.Advance(secretcache.DefaultTTL) // what is held may not be served either
				change.by(fake)
				fake.Advance(nextCheck)
				v, err := secret.Get(t.Context())
				if got := errors.Is(err, secretcache.ErrDeleted); got != change.want || v.Text() == "first" && change.want {
					t.Errorf("got %q, %v; ErrDeleted: %t, want %t", v.Text(), err, got, change.want)
				}
				if change.want && !strings.Contains(err.Error(), password) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// disturbedSecrets calls a function before each answer, with how many there were.
type disturbedSecrets struct {
	secretcache.Secrets
	calls   atomic.Int32
	disturb func(call int) (gone bool)
	deleted secretcache.Secrets // what answers once disturb has said that the secret is gone
}

func (s *disturbedSecrets) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if s.disturb(int(s.calls.Add(1))) {
		return s.deleted.Get(ctx, id, versionID)
	}
	return s.Secrets.Get(ctx, id, versionID)
}

// skewedClock is a clock whose wall clock somebody has set.
type skewedClock struct {
	secretcache.Clock
	by *time.Duration
}

func (c skewedClock) Now() (time.Duration, time.Time) {
	monotonic, wall := c.Clock.Now()
	return monotonic, wall.Add(*c.by)
}

// TestALateAnswerIsNoValueOfADeletedSecret: not if a clock is set, or much time passes, while the late answers come: only
// the log's own clock tells then whether they are to be believed.
func TestALateAnswerIsNoValueOfADeletedSecret(t *testing.T) {
	const first, tries = 1, 5
	for name, disturb := range map[string]func(fake *secretcachetest.Fake, wall *time.Duration, call int) (gone bool){
		"the wall clock goes back": func(_ *secretcachetest.Fake, wall *time.Duration, call int) bool {
			if call == first+2 {
				*wall -= time.Minute
			}
			return false
		},
		"the wall clock goes ahead": func(_ *secretcachetest.Fake, wall *time.Duration, call int) bool {
			if call == first+2 {
				*wall += 2 * time.Minute
			}
			return false
		},
		"the environment is frozen": func(fake *secretcachetest.Fake, _ *time.Duration, call int) bool {
			if call == first+tries {
				fake.Advance(time.Minute)
			}
			return call > first+tries
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, wall := secretcachetest.New(t), time.Duration(0)
				fake.Put(password, "first")
				secret := newCache(t, fake, func(cfg *secretcache.Config) {
					cfg.Clock = skewedClock{cfg.Clock, &wall}
					cfg.Secrets = &disturbedSecrets{
						Secrets: &unmovedSecrets{Secrets: cfg.Secrets}, deleted: cfg.Secrets,
						disturb: func(call int) bool { return disturb(fake, &wall, call) },
					}
				}).Secret(password)
				wantText(t, secret, "first")
				fake.Delete(password)
				fake.Advance(nextCheck)
				if v, err := secret.Get(t.Context()); !errors.Is(err, secretcache.ErrDeleted) {
					t.Errorf("got %q, %v; want ErrDeleted", v.Text(), err)
				}
			})
		})
	}
}
