package secretcache_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

func TestProbeSlowOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache := newCache(t, fake)
		secret := cache.Secret(password)
		wantText(t, secret, "first")
		gate := make(chan struct{})
		var told []string
		secret.OnChange(func(_ context.Context, v secretcache.Value) error { told = append(told, v.Text()); <-gate; return nil })
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		go secret.Get(t.Context())
		synctest.Wait()
		v, err := secret.Get(t.Context())
		t.Log("second reader", v.Text(), err)
		fake.Refresh(password)
		fake.Advance(nextCheck)
		go secret.Get(t.Context())
		synctest.Wait()
		close(gate)
		synctest.Wait()
		t.Log("told", told)
	})
}

func TestProbeTwoVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache := newCache(t, fake)
		h := cache.Wrap(notReached(t))
		secret := cache.Secret(password)
		wantText(t, secret, "first")
		gate := make(chan struct{})
		var told []string
		secret.OnChange(func(_ context.Context, v secretcache.Value) error {
			if v.Text() == "second" {
				<-gate
			}
			told = append(told, v.Text())
			return nil
		})
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		go secret.Get(t.Context())
		synctest.Wait()
		fake.Put(password, "third")
		fake.Advance(nextCheck)
		go secret.Get(t.Context())
		synctest.Wait()
		close(gate)
		synctest.Wait()
		t.Log("told", told)
		fake.Refresh(password)
		a := push(t, h, fake.Invalidation(password))
		t.Logf("%+v told %v", a, told)
	})
}
