package secretcache_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

func observe(cfg *secretcache.Config) { cfg.Mode = secretcache.Observe }

func off(cfg *secretcache.Config) { cfg.Mode = secretcache.Off }

func TestObservingChangesNothingAndCounts(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake, observe)
	handler := cache.Wrap(notReached(t))
	secret := cache.Secret(password)
	push(t, handler, fake.Invalidation(password)) // the cursor is at the head before anything is cached
	wantText(t, secret, "first")

	fake.Put(password, "second")
	ack := push(t, handler, fake.Invalidation(password))
	want := []wire.SecretOutcome{{Name: password, Outcome: wire.Observed}}
	if diff := cmp.Diff(want, ack.Secrets); diff != "" || ack.Revision != 3 {
		t.Error(ack.Revision, diff)
	}
	if got := cache.Counts().Invalidated; got != 1 {
		t.Errorf("%d would have been invalidated, want 1", got)
	}
	wantText(t, secret, "first")
	fake.Delete(password)
	push(t, handler, fake.Invalidation(password))
	fake.Advance(secretcache.DefaultTTL - 2*aChange)
	wantText(t, secret, "first")
	wantFetches(t, fake, password, 1)

	fake.Restore(password)
	fake.Advance(time.Millisecond)
	wantText(t, secret, "second")
	if got := cache.Counts(); got.Uncertain != 0 || got.Outdated != 0 {
		t.Errorf("who only observes makes no promise to break: %+v", got)
	}
}

// TestObservingCountsBesideReadsOfMemory: a function whose handler is not wrapped reads memory only, for as long as the TTL is.
func TestObservingCountsBesideReadsOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache := newCache(t, fake, observe)
		secret := cache.Secret(password)
		wantText(t, secret, "first")
		synctest.Wait()
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		wantText(t, secret, "first")
		synctest.Wait()
		if got := cache.Counts().Invalidated; got != 1 {
			t.Errorf("%d would have been invalidated, want 1", got)
		}
		wantFetches(t, fake, password, 1)
	})
}

// TestObservingServesWhatSecretsManagerAnswers: no answer is late for who observes, and none is asked for twice.
func TestObservingServesWhatSecretsManagerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache := newCache(t, fake, observe, func(cfg *secretcache.Config) { cfg.Secrets = &unmovedSecrets{Secrets: cfg.Secrets} })
		secret := cache.Secret(password).WithTTL(0)
		wantText(t, secret, "first")
		synctest.Wait()
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		for range 2 { // the check is beside the first
			wantText(t, secret, "first")
			synctest.Wait()
			fake.Advance(time.Millisecond)
		}
		if got := cache.Counts(); got.Fetches != 3 || got.LateAnswers != 0 {
			t.Errorf("three reads without a cache: %+v", got)
		}
	})
}

func TestObservingWithABrokenLogCostsARunningFunctionNothing(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	fake.BreakLog(errBroken)
	secret := newCache(t, fake, observe).Secret(password)
	for range 5 {
		wantText(t, secret, "first")
		fake.Advance(secretcache.DefaultTTL / 2)
	}
	wantFetches(t, fake, password, 2)
}

func TestAPushWithoutTheLogIsObservedOnly(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake, observe)
	secret := cache.Secret(password)
	wantText(t, secret, "first")
	fake.BreakLog(errBroken)
	fake.Put(password, "second")
	if ack := push(t, cache.Wrap(notReached(t)), fake.Invalidation(password)); ack.Problem == "" || ack.Secrets != nil {
		t.Errorf("got %+v", ack)
	}
	wantText(t, secret, "first")
	wantFetches(t, fake, password, 1)
}

func TestWhoIsOffNeverReadsTheLog(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	var log *countedLog
	out := &logged{}
	cache := newCache(t, fake, off, func(cfg *secretcache.Config) {
		log = counted(cfg)
		cfg.Logger = out.logger()
	})
	if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "off") {
		t.Errorf("want one line that says so: %s", out)
	}
	secret := cache.Secret(password)
	wantText(t, secret, "first")
	fake.Put(password, "second")
	ack := push(t, cache.Wrap(notReached(t)), fake.Invalidation(password))
	if ack.Problem != "the client is off" || ack.Secrets != nil || ack.Revision != 0 {
		t.Errorf("got %+v", ack)
	}
	if _, err := cache.Wrap(readingHandler(secret)).Invoke(t.Context(), []byte(`{}`)); err != nil {
		t.Error(err)
	}
	fake.Advance(secretcache.DefaultTTL - aChange)
	wantText(t, secret, "first")
	fake.Advance(time.Millisecond)
	wantText(t, secret, "second")
	if got := log.reads.Load(); got != 0 {
		t.Errorf("the log was read %d times", got)
	}
	if got := fake.Reports(); len(got) != 0 {
		t.Errorf("it reported %+v", got)
	}
}

// TestObservingCountsWhatWouldHaveBeenServed: nothing that was past its TTL, by whichever handle it was read.
func TestObservingCountsWhatWouldHaveBeenServed(t *testing.T) {
	for name, tc := range map[string]struct {
		ttls []time.Duration
		want int64
	}{
		"none":                  {[]time.Duration{time.Second}, 0},
		"one":                   {[]time.Duration{time.Minute}, 1},
		"by a hit's longer TTL": {[]time.Duration{time.Second, time.Minute}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			cache := newCache(t, fake, observe)
			for _, ttl := range tc.ttls {
				wantText(t, cache.Secret(password).WithTTL(ttl), "first")
			}
			handler := cache.Wrap(notReached(t))
			push(t, handler, fake.Invalidation(password)) // the first check
			fake.Advance(nextCheck)
			fake.Put(password, "second")
			push(t, handler, fake.Invalidation(password))
			if got := cache.Counts().Invalidated; got != tc.want {
				t.Errorf("%d counted, want %d", got, tc.want)
			}
		})
	}
}
