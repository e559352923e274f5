package secretcache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

func TestAHitAllocatesNothing(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Clock, cfg.CheckEvery = nil, time.Hour }).Secret(password)
	wantText(t, secret, "first")
	ctx := t.Context()
	allocations := testing.AllocsPerRun(1000, func() {
		if _, err := secret.Get(ctx); err != nil {
			t.Error(err)
		}
	})
	if allocations != 0 {
		t.Errorf("a hit allocates %v times", allocations)
	}
	wantFetches(t, fake, password, 1)
}

func TestAChangeIsServedAtTheNextCheck(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake).Secret(password)
	wantText(t, secret, "first")

	fake.Put(password, "second")
	fake.Advance(secretcache.DefaultCheckEvery - aChange)
	wantText(t, secret, "first") // the check is just young enough
	fake.Advance(time.Millisecond)
	wantText(t, secret, "second")
	fake.Rollback(password)
	fake.Advance(nextCheck)
	wantText(t, secret, "first")
	wantFetches(t, fake, password, 3)
}

func TestARefreshFetchesTheSameVersionAgain(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake).Secret(password)
	wantText(t, secret, "first")
	fake.Refresh(password)
	fake.Advance(nextCheck)
	wantText(t, secret, "first")
	wantFetches(t, fake, password, 2)
}

func TestOnlyWhatChangedIsFetchedAgain(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	fake.Put(apiKey, "first")
	cache := newCache(t, fake)
	wantText(t, cache.Secret(password), "first")
	wantText(t, cache.Secret(apiKey), "first")
	fake.Put(password, "second")
	fake.Advance(nextCheck)
	wantText(t, cache.Secret(apiKey), "first")
	wantText(t, cache.Secret(password), "second")
	wantFetches(t, fake, apiKey, 1)
	wantFetches(t, fake, password, 2)
}

func TestAColdReadIsOneCheckAndOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		var log *countedLog
		gate := make(chan struct{})
		cache := newCache(t, fake, func(cfg *secretcache.Config) {
			log = counted(cfg)
			log.gate = gate
			cfg.CheckTimeout = time.Minute // nobody waits that long for the gates
			cfg.CheckEvery = time.Hour
			cfg.Secrets = heldSecrets{cfg.Secrets, gate}
		})
		var readers sync.WaitGroup
		for range 32 {
			readers.Go(func() { wantText(t, cache.Secret(password), "first") })
		}
		synctest.Wait() // all wait for both
		if got := log.reads.Load(); got != 1 {
			t.Errorf("%d reads of the log, want 1", got)
		}
		wantFetches(t, fake, password, 1)
		close(gate)
		readers.Wait()
		wantFetches(t, fake, password, 1)
		if got := log.reads.Load(); got != 1 {
			t.Errorf("%d reads of the log, want 1", got)
		}
	})
}

// TestAReadThatComesWhileACheckEndsDoesNotCheckAgain: it may have seen the old check and find none on its way.
func TestAReadThatComesWhileACheckEndsDoesNotCheckAgain(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	var log *countedLog
	secret := newCache(t, fake, func(cfg *secretcache.Config) { log = counted(cfg) }).Secret(password)
	wantText(t, secret, "first")
	for round := range int64(500) {
		fake.Advance(nextCheck)
		var readers sync.WaitGroup
		for range 32 {
			readers.Go(func() { wantText(t, secret, "first") })
		}
		readers.Wait()
		if got := log.reads.Load(); got != round+2 {
			t.Fatalf("round %d: %d reads of the log, want %d", round, got, round+2)
		}
	}
}

// TestAFetchSentBeforeTheChangeDoesNotHideIt: the answer is of before the change, and comes after the check that told it.
func TestAFetchSentBeforeTheChangeDoesNotHideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		gate := make(chan struct{})
		cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = heldSecrets{cfg.Secrets, gate} })
		handler := cache.Wrap(notReached(t))
		var reader sync.WaitGroup
		reader.Go(func() { wantText(t, cache.Secret(password), "second") })
		synctest.Wait() // the first answer is on its way
		fake.Put(password, "second")
		if ack := push(t, handler, fake.Invalidation(password)); ack.Revision != 3 {
			t.Errorf("the check did not see the change: %+v", ack)
		}
		close(gate)
		reader.Wait()
		wantFetches(t, fake, password, 2)
	})
}

// TestAFetchSentBeforeARefreshDoesNotCount: nothing in its answer tells that it is of before.
func TestAFetchSentBeforeARefreshDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		gate := make(chan struct{})
		cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = heldSecrets{cfg.Secrets, gate} })
		handler := cache.Wrap(notReached(t))
		var reader sync.WaitGroup
		reader.Go(func() { wantText(t, cache.Secret(password), "first") })
		synctest.Wait()
		fake.Refresh(password)
		push(t, handler, fake.Invalidation(password))
		close(gate)
		reader.Wait()
		wantFetches(t, fake, password, 2)
	})
}

func TestNameARNAndPartialARNAreOneEntry(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	full := fake.ARN(password)
	secrets := []*secretcache.Secret{cache.Secret(password), cache.Secret(full), cache.Secret(full[:len(full)-7])}
	told := 0
	secrets[1].OnChange(func(context.Context, secretcache.Value) error { told++; return nil })
	for _, secret := range secrets {
		wantText(t, secret, "first")
	}
	before := fake.Fetches(password)
	for range 2 {
		for _, secret := range secrets {
			wantText(t, secret, "first")
		}
	}
	wantFetches(t, fake, password, before) // each is a hit

	fake.Put(password, "second")
	fake.Advance(nextCheck)
	for _, secret := range secrets {
		wantText(t, secret, "second")
	}
	wantFetches(t, fake, password, before+1) // one for all
	if told != 1 {
		t.Errorf("OnChange of one handle was called %d times, want once for all", told)
	}
}

func TestTheFullARNOfARecreatedSecretGoesToSecretsManager(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	old := fake.ARN(password)
	cache := newCache(t, fake)
	byName, byOldARN := cache.Secret(password), cache.Secret(old)
	wantText(t, byName, "first")
	wantText(t, byOldARN, "first")

	fake.Delete(password)
	fake.Put(password, "second")
	fake.Advance(nextCheck)
	wantText(t, byName, "second")
	if _, err := byOldARN.Get(t.Context()); !errors.Is(err, secretcache.ErrNotFound) {
		t.Errorf("the old ARN: %v, want what Secrets Manager says of it", err)
	}
	wantFetches(t, fake, old, 1)
	wantText(t, cache.Secret(fake.ARN(password)), "second")
	wantText(t, cache.Secret(old[:len(old)-7]), "second") // without the suffix it is the new one's as well
}

func TestOutsideTheDomainTheTTLAloneApplies(t *testing.T) {
	for _, name := range []string{
		"/bank/test/kyc/provider/api-key", "/bank/prod/payments/neon/password", "/bank/test/payments-archive/neon/password",
		"/bank/test/payment/neon/password", "payments/password",
	} {
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(name, "first")
			var log *countedLog
			secret := newCache(t, fake, func(cfg *secretcache.Config) { log = counted(cfg) }).Secret(name)
			wantText(t, secret, "first")
			fake.Put(name, "second")
			fake.Advance(secretcache.DefaultTTL - aChange)
			wantText(t, secret, "first")
			fake.Advance(time.Millisecond)
			wantText(t, secret, "second")
			if got := log.reads.Load(); got != 0 {
				t.Errorf("the log was read %d times for it", got)
			}
		})
	}
}

func TestTheTTLAlwaysApplies(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake).Secret(password)
	short := secret.WithTTL(10 * time.Second)
	wantText(t, secret, "first")
	fake.PutSilently(password, "second")
	fake.Advance(10*time.Second - aChange)
	wantText(t, short, "first")
	fake.Advance(time.Millisecond)
	wantText(t, secret, "first")
	wantText(t, short, "second")
	wantText(t, secret, "second") // what one handle fetched all have
	wantFetches(t, fake, password, 2)
}

func TestATTLOfZeroFetchesAtEachRead(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake).Secret(password).WithTTL(0)
	for range 3 {
		fake.Advance(time.Nanosecond)
		wantText(t, secret, "first")
	}
	wantFetches(t, fake, password, 3)
}

func TestADeletedSecretIsNotServed(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake).Secret(password)
	wantText(t, secret, "first")
	fake.Delete(password)
	fake.Advance(nextCheck)
	for range 2 { // what is not there is not cached either
		if _, err := secret.Get(t.Context()); !errors.Is(err, secretcache.ErrDeleted) || !strings.Contains(err.Error(), password) {
			t.Errorf("got %v", err)
		}
	}
	wantFetches(t, fake, password, 3)
	fake.BreakSecrets(errors.New("throttled"))
	if _, err := secret.Get(t.Context()); err == nil {
		t.Error("a deleted secret was served because Secrets Manager did not answer")
	}
	fake.BreakSecrets(nil)
	fake.Restore(password)
	fake.Advance(nextCheck)
	wantText(t, secret, "first")
}

func TestWhatIsNotThereIsAskedForAgain(t *testing.T) {
	fake := secretcachetest.New(t)
	secret := newCache(t, fake).Secret(password)
	if _, err := secret.Get(t.Context()); !errors.Is(err, secretcache.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	fake.PutSilently(password, "first")
	wantText(t, secret, "first")
}

func TestAVersionThatCannotBeFetchedLeavesTheOneBefore(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	out := &logged{}
	cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Logger = out.logger() })
	secret := cache.Secret(password)
	wantText(t, secret, "first")
	cause := errors.New("throttled")
	fake.BreakSecrets(cause)
	fake.Put(password, "second")
	fake.Advance(nextCheck)
	for range 3 {
		wantText(t, secret, "first")
	}
	wantFetches(t, fake, password, 2) // not asked for at every read
	if got := cache.Counts(); got.Outdated != 3 || got.FetchFailures != 1 || got.Uncertain != 0 {
		t.Errorf("got %+v", got)
	}
	if got := strings.Count(out.String(), "cannot be fetched"); got != 1 {
		t.Errorf("it was logged %d times: %s", got, out)
	}
	fake.Advance(secretcache.DefaultTTL)
	if _, err := secret.Get(t.Context()); !errors.Is(err, cause) {
		t.Errorf("after its TTL: %v", err)
	}
	fake.BreakSecrets(nil)
	wantText(t, secret, "second")
}

func TestAReadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		gate := make(chan struct{})
		secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = heldSecrets{cfg.Secrets, gate} }).Secret(password)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := secret.Get(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), password) {
			t.Errorf("got %v", err)
		}
		close(gate)
		wantText(t, secret, "first") // what it had asked for is there for the next
		wantFetches(t, fake, password, 1)
	})
}
