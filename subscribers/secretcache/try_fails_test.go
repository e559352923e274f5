package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

func TestAnEndedContextEndsATry(t *testing.T) {
	t.Run("before the first call", func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		secret, db := newCache(t, fake).Secret(password), accepting("first")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := secret.Try(ctx, db.login); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		db.wantTried(t)
	})
	t.Run("in a call that was rejected", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			secret := newCache(t, fake).Secret(password)
			wantText(t, secret, "first")
			fake.PutSilently(password, "second")
			ctx, cancel := context.WithCancel(t.Context())
			db := accepting("second")
			err := secret.Try(ctx, func(ctx context.Context, v secretcache.Value) error {
				cancel()
				return db.login(ctx, v)
			})
			if !errors.Is(err, errLogin) {
				t.Errorf("got %v", err)
			}
			db.wantTried(t, "first")
			synctest.Wait() // whatever it started
			wantFetches(t, fake, password, 1)
		})
	})
	t.Run("while Secrets Manager is asked", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			gate := make(chan struct{}, 1)
			secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = heldSecrets{cfg.Secrets, gate} }).Secret(password)
			gate <- struct{}{}
			wantText(t, secret, "first")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			db := accepting("second")
			err := secret.Try(ctx, db.login)
			if !errors.Is(err, errLogin) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the rejection and the reason why it ended", err)
			}
			db.wantTried(t, "first")
			close(gate) // who asks later has what this one asked for
			synctest.Wait()
			wantFetches(t, fake, password, 2)
		})
	})
}

func TestAPanicInUseLeavesNothingBehind(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret, db := newCache(t, fake).Secret(password), accepting("second")
	wantText(t, secret, "first")
	fake.PutSilently(password, "second")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		calls := 0
		secret.Try(t.Context(), func(ctx context.Context, v secretcache.Value) error { //nolint:errcheck // it panics
			if calls++; calls == 2 {
				panic("in use")
			}
			return db.login(ctx, v)
		})
	}()
	db.wantTried(t, "first")
	wantLogin(t, secret, db)
	db.wantTried(t, "second")
}

func TestADeletedSecretIsNotTriedAgain(t *testing.T) {
	for name, remove := range map[string]func(*secretcachetest.Fake){
		"announced": func(f *secretcachetest.Fake) { f.Delete(password) },
		"silent":    func(f *secretcachetest.Fake) { f.BreakSecrets(fmt.Errorf("%w: %s", secretcache.ErrDeleted, password)) },
	} {
		t.Run(name, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			secret, db := newCache(t, fake).Secret(password), accepting("second")
			wantText(t, secret, "first")
			fake.PutPending(password, "second")
			remove(fake)
			err := secret.Try(t.Context(), db.login, secretcache.Pending())
			if !errors.Is(err, errLogin) || !errors.Is(err, secretcache.ErrDeleted) {
				t.Errorf("got %v, want the rejection and that the secret is deleted", err)
			}
			db.wantTried(t, "first")
			if err := secret.Try(t.Context(), db.login, secretcache.Pending()); !errors.Is(err, secretcache.ErrDeleted) {
				t.Errorf("got %v", err)
			}
			db.wantTried(t)
		})
	}
}

func TestWithoutSecretsManagerARejectionIsWhatItWas(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	secret, db := cache.Secret(password), accepting("second")
	wantText(t, secret, "first")
	fake.BreakSecrets(errBroken)
	for range 3 {
		err := secret.Try(t.Context(), db.login, secretcache.Pending())
		if !errors.Is(err, errLogin) || !errors.Is(err, errBroken) {
			t.Errorf("got %v, want the rejection and why nothing newer is known", err)
		}
		db.wantTried(t, "first")
	}
	wantFetches(t, fake, password, 3)
	wantText(t, secret, "first") // who does not log in with it is not worse off
	if got := cache.Counts(); got.Outdated != 0 || got.FetchFailures != 2 {
		t.Errorf("no newer version is known: %+v", got)
	}
}
