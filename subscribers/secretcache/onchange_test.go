package secretcache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

func TestOnChangeIsToldOfEachOtherVersionOnce(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake).Secret(password)
	var told []string
	secret.OnChange(func(_ context.Context, v secretcache.Value) error {
		told = append(told, v.Text())
		return nil
	})
	read := func(want string, wantTold ...string) {
		t.Helper()
		fake.Advance(nextCheck)
		wantText(t, secret, want)
		if diff := cmp.Diff(wantTold, told); diff != "" {
			t.Error(diff)
		}
		told = nil
	}
	read("first")
	read("first")
	fake.Put(password, "second")
	read("second", "second")
	fake.Refresh(password)
	read("second")
	fake.Advance(secretcache.DefaultTTL)
	read("second")
	fake.Rollback(password)
	read("first", "first")
	fake.PutSilently(password, "third")
	fake.Advance(secretcache.DefaultTTL)
	read("third", "third")
	fake.Put(password, "fourth")
	fake.Put(password, "fifth")
	read("fifth", "fifth")
	fake.Delete(password)
	fake.Advance(nextCheck)
	if _, err := secret.Get(t.Context()); err == nil || told != nil {
		t.Errorf("a deletion: %v, told %v", err, told)
	}
	fake.Restore(password)
	read("fifth")
	fake.Delete(password)
	fake.Put(password, "sixth")
	read("sixth", "sixth")
}

func TestOnChangeIsDoneWhenAnyReadOfManyReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		secret := newCache(t, fake).Secret(password)
		wantText(t, secret, "first")
		told, done := 0, make(chan struct{})
		secret.OnChange(func(ctx context.Context, _ secretcache.Value) error {
			told++
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != secretcache.DefaultFetchTimeout {
				t.Errorf("its context ends at %v (%v)", deadline, ok)
			}
			<-done
			return nil
		})
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		returned := make(chan struct{})
		go func() {
			wantText(t, secret, "second")
			close(returned)
		}()
		synctest.Wait()
		select {
		case <-returned:
			t.Error("the read returned before OnChange did")
		default:
		}
		close(done)
		<-returned
		var readers sync.WaitGroup
		for range 32 {
			readers.Go(func() { wantText(t, secret, "second") })
		}
		readers.Wait()
		if told != 1 {
			t.Errorf("it was told %d times", told)
		}
	})
}

func TestWhatOnChangeRefusesIsServedAllTheSameAndReported(t *testing.T) {
	for name, refuse := range map[string]secretcache.OnChange{
		"error": func(_ context.Context, v secretcache.Value) error {
			return errors.New("login with " + v.Text() + " failed")
		},
		"panic": func(_ context.Context, v secretcache.Value) error { panic("login with " + v.Text() + " failed") },
	} {
		t.Run(name, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			out := &logged{}
			cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Logger = out.logger() })
			handler := cache.Wrap(notReached(t))
			secret := cache.Secret(password)
			others := 0
			secret.OnChange(refuse)
			secret.OnChange(func(context.Context, secretcache.Value) error { others++; return nil })
			wantText(t, secret, "first")

			version := fake.Put(password, canary)
			ack := push(t, handler, fake.Invalidation(password))
			want := []wire.SecretOutcome{{
				Name: password, VersionID: version, Outcome: wire.Failed, Reason: "an OnChange function refused the new version",
			}}
			if diff := cmp.Diff(want, ack.Secrets); diff != "" || ack.Problem != "" {
				t.Error(ack.Problem, diff)
			}
			wantText(t, secret, canary)
			if others != 1 {
				t.Errorf("the other OnChange was called %d times", others)
			}
			if got := out.String(); strings.Contains(got, canary) || !strings.Contains(got, "refused") || !strings.Contains(got, password) {
				t.Errorf("logged: %s", got)
			}
		})
	}
}

func TestAVersionAcceptedAfterARefusedOneIsVerified(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	handler := cache.Wrap(notReached(t))
	secret := cache.Secret(password)
	secret.OnChange(func(_ context.Context, v secretcache.Value) error {
		if v.Text() == "wrong" {
			return errors.New("login failed")
		}
		return nil
	})
	wantText(t, secret, "first")
	fake.Put(password, "wrong")
	push(t, handler, fake.Invalidation(password))
	version := fake.Put(password, "right")
	want := []wire.SecretOutcome{{Name: password, VersionID: version, Outcome: wire.Applied, Verified: true}}
	if diff := cmp.Diff(want, push(t, handler, fake.Invalidation(password)).Secrets); diff != "" {
		t.Error(diff)
	}
}
