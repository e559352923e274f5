package secretcache_test

import (
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// BenchmarkTimeNow is the baseline: a hit reads the clock once, which is most of what it costs.
func BenchmarkTimeNow(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		time.Now()
	}
}

// hot returns a secret that is cached, and stays so for as long as a benchmark runs.
func hot(b *testing.B) *secretcache.Secret {
	b.Helper()
	fake := secretcachetest.New(b)
	fake.Put(password, "first")
	secret := newCache(b, fake, func(cfg *secretcache.Config) {
		cfg.Clock, cfg.CheckEvery, cfg.TTL = nil, 24*time.Hour, 24*time.Hour
	}).Secret(password)
	wantText(b, secret, "first")
	b.ReportAllocs()
	return secret
}

func BenchmarkGetHit(b *testing.B) {
	secret, ctx := hot(b), b.Context()
	for b.Loop() {
		if _, err := secret.Get(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetHitParallel(b *testing.B) {
	secret, ctx := hot(b), b.Context()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := secret.Get(ctx); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkBusinessEvent is what a wrapped handler adds to an invocation.
func BenchmarkBusinessEvent(b *testing.B) {
	fake := secretcachetest.New(b)
	fake.Put(password, "first")
	cache := newCache(b, fake, func(cfg *secretcache.Config) { cfg.Clock, cfg.CheckEvery = nil, 24*time.Hour })
	wantText(b, cache.Secret(password), "first")
	handler := cache.Wrap(readingHandler(cache.Secret(password)))
	payload := []byte(`{"version":"0","source":"payments","detail-type":"Order Placed","detail":{"order":1,"note":"` + string(make([]byte, 4096)) + `"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := handler.Invoke(b.Context(), payload); err != nil {
			b.Fatal(err)
		}
	}
}
