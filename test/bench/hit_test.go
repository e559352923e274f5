package bench

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// BenchmarkGetHit is a cached read beside time.Now, which reads the same two clocks and is the floor under it. ns/op is
// what one caller spends on a read: if callers do not wait for each other, more of them change nothing but that they share
// the cores.
func BenchmarkGetHit(b *testing.B) {
	for _, with := range []struct{ callers, cores int }{{1, 1}, {2, 2}, {16, 2}} {
		b.Run(fmt.Sprintf("callers=%d/cores=%d", with.callers, with.cores), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(with.cores))
			const reads = 800_000 // of all callers together
			together := func(work func(n int)) time.Duration {
				return timed(func() {
					var wg sync.WaitGroup
					for range with.callers {
						wg.Go(func() { work(reads / with.callers) })
					}
					wg.Wait()
				}) * time.Duration(with.cores)
			}
			secret, ctx := cached(b), b.Context()
			var c comparison
			for b.Loop() {
				ours := together(func(n int) {
					for range n {
						if _, err := secret.Get(ctx); err != nil {
							b.Error(err)
						}
					}
				})
				c.add(ours, together(func(n int) {
					for range n {
						runtime.KeepAlive(time.Now())
					}
				}))
			}
			c.report(b, "time.Now", reads)
			b.ReportMetric(testing.AllocsPerRun(1000, func() { _, _ = secret.Get(ctx) }), "allocs/read")
		})
	}
}

// cached returns a secret that has been read, and needs neither the log nor Secrets Manager while a benchmark runs.
func cached(b *testing.B) *secretcache.Secret {
	b.Helper()
	const name = "/bank/test/payments/neon/password"
	fake := secretcachetest.New(b)
	fake.Put(name, "value")
	cfg := fake.Config()
	cfg.Clock, cfg.CheckEvery, cfg.TTL = nil, 24*time.Hour, 24*time.Hour
	cache, err := secretcache.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	secret := cache.Secret(name)
	if _, err := secret.Get(b.Context()); err != nil {
		b.Fatal(err)
	}
	return secret
}
