package secretcache_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

const refusal = "an OnChange function refused the new version"

// TestOnChangeIsToldOfOneVersionAfterTheOther: one that takes long must not have the last word about a later version.
func TestOnChangeIsToldOfOneVersionAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache := newCache(t, fake)
		secret := cache.Secret(password)
		wantText(t, secret, "first")
		slow := make(chan struct{})
		var calls []string
		secret.OnChange(func(_ context.Context, v secretcache.Value) error {
			calls = append(calls, "begin "+v.Text())
			defer func() { calls = append(calls, "end "+v.Text()) }()
			if v.Text() == "second" {
				<-slow
				return nil
			}
			return errors.New("login failed")
		})
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		go secret.Get(t.Context()) //nolint:errcheck // it waits for OnChange
		synctest.Wait()
		third := fake.Put(password, "third")
		fake.Advance(nextCheck)
		wantText(t, secret, "third") // it is not held up by an OnChange that hangs
		acks := make(chan wire.Ack)
		go func() { acks <- push(t, cache.Wrap(notReached(t)), fake.Invalidation(password)) }()
		synctest.Wait()
		select {
		case ack := <-acks:
			t.Errorf("there was an ack before OnChange was told: %+v", ack.Secrets)
		default:
			close(slow)
		}
		want := []wire.SecretOutcome{{Name: password, VersionID: third, Outcome: wire.Failed, Reason: refusal}}
		if diff := cmp.Diff(want, (<-acks).Secrets); diff != "" {
			t.Error(diff)
		}
		fake.Advance(secretcache.DefaultTTL + time.Second)
		wantText(t, secret, "third") // the same version again
		synctest.Wait()
		if diff := cmp.Diff([]string{"begin second", "end second", "begin third", "end third"}, calls); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, push(t, cache.Wrap(notReached(t)), fake.Invalidation(password)).Secrets); diff != "" {
			t.Errorf("after a refetch: %s", diff)
		}
	})
}

// TestAVersionThatComesBackWhileOnChangeRunsIsNotToldTwice: what was in between was never current for anybody.
func TestAVersionThatComesBackWhileOnChangeRunsIsNotToldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache := newCache(t, fake)
		secret := cache.Secret(password)
		wantText(t, secret, "first")
		slow := make(chan struct{})
		var told []string
		secret.OnChange(func(_ context.Context, v secretcache.Value) error {
			told = append(told, v.Text())
			<-slow
			return nil
		})
		second := fake.Put(password, "second")
		fake.Advance(nextCheck)
		go secret.Get(t.Context()) //nolint:errcheck // it waits for OnChange
		synctest.Wait()
		fake.Put(password, "third")
		fake.Advance(nextCheck)
		wantText(t, secret, "third")
		fake.Rollback(password)
		fake.Advance(nextCheck)
		wantText(t, secret, "second")
		close(slow)
		ack := push(t, cache.Wrap(notReached(t)), fake.Invalidation(password))
		want := []wire.SecretOutcome{{Name: password, VersionID: second, Outcome: wire.Applied, Verified: true}}
		if diff := cmp.Diff(want, ack.Secrets); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"second"}, told); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnOnChangeThatEndsItsGoroutineIsARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache := newCache(t, fake)
		secret := cache.Secret(password)
		wantText(t, secret, "first")
		secret.OnChange(func(_ context.Context, v secretcache.Value) error {
			if v.Text() == "second" {
				runtime.Goexit()
			}
			return nil
		})
		for _, test := range []struct {
			text string
			want wire.SecretOutcome
		}{
			{"second", wire.SecretOutcome{Outcome: wire.Failed, Reason: "an OnChange function did not return"}},
			{"third", wire.SecretOutcome{Outcome: wire.Applied, Verified: true}},
		} {
			test.want.Name, test.want.VersionID = password, fake.Put(password, test.text)
			ack := push(t, cache.Wrap(notReached(t)), fake.Invalidation(password))
			if diff := cmp.Diff([]wire.SecretOutcome{test.want}, ack.Secrets); diff != "" {
				t.Error(diff)
			}
		}
	})
}

// TestOnChangeMayReadTheSecret: at any TTL, and also when that brings another version.
func TestOnChangeMayReadTheSecret(t *testing.T) {
	for name, test := range map[string]struct {
		change   bool
		wantTold []string
	}{
		"the same version":  {false, []string{"second"}},
		"one that is newer": {true, []string{"second", "third"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				secret := newCache(t, fake).Secret(password)
				wantText(t, secret, "first")
				var told []string
				secret.OnChange(func(_ context.Context, v secretcache.Value) error {
					if told = append(told, v.Text()); len(told) > 2 {
						return errors.New("it is told of what it reads")
					}
					if test.change && len(told) == 1 {
						fake.Put(password, "third")
					}
					fake.Advance(nextCheck)
					wantText(t, secret.WithTTL(0), test.wantTold[len(test.wantTold)-1])
					wantText(t, secret, test.wantTold[len(test.wantTold)-1])
					return nil
				})
				fake.Put(password, "second")
				fake.Advance(nextCheck)
				wantText(t, secret, test.wantTold[len(test.wantTold)-1])
				synctest.Wait()
				if diff := cmp.Diff(test.wantTold, told); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
