package secretcache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// partialARN is a secret's ARN without its suffix.
func partialARN(fake *secretcachetest.Fake, name string) string {
	arn := fake.ARN(name)
	return arn[:strings.LastIndexByte(arn, '-')]
}

func TestModeOf(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	for mode, want := range map[secretcache.Mode]secretcache.Mode{
		secretcache.On: secretcache.On, secretcache.Observe: secretcache.Observe, secretcache.Off: secretcache.Off,
	} {
		cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Mode = mode })
		if got := cache.ModeOf(fake.ARN(password)); got != secretcache.Off {
			t.Errorf("mode %s, an ARN of who knows which account: got %s", mode, got)
		}
		cache.InAccount(secretcachetest.Account)
		for _, id := range []string{password, fake.ARN(password), partialARN(fake, password)} {
			if got := cache.ModeOf(id); got != want {
				t.Errorf("mode %s, %s: got %s", mode, id, got)
			}
		}
		for _, id := range []string{"/bank/test/payments-archive/key", theirs} {
			if got := cache.ModeOf(id); got != secretcache.Off {
				t.Errorf("mode %s, outside, %s: got %s", mode, id, got)
			}
		}
	}
}

// TestReadsAnewShareTheFetchAfterTheyWereAskedFor: one is on its way, the next is shared by all who came after it was sent.
func TestReadsAnewShareTheFetchAfterTheyWereAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache, gates := newSequence(t, fake, 2)
		secret := cache.Secret(password)
		var wg sync.WaitGroup
		wg.Go(func() { wantText(t, secret, "first") })
		synctest.Wait() // the fetch has been sent
		fake.PutSilently(password, "second")
		for range 100 {
			anew := secret.Anew()
			wg.Go(func() { wantText(t, anew, "second") })
		}
		synctest.Wait()
		close(gates[0])
		synctest.Wait()
		wantFetches(t, fake, password, 2)
		wantText(t, secret, "first") // which is cached, and a read anew takes nothing away from it
		close(gates[1])
		wg.Wait()
		wantText(t, secret, "second")
		wantFetches(t, fake, password, 2)
	})
}

// A sequence holds each answer of Secrets Manager back until its gate is opened, all further ones until the last is: they
// are of when they were asked for.
type sequence struct {
	secretcache.Secrets
	mu    sync.Mutex
	gates []chan struct{}
}

// newSequence returns a cache behind a sequence, and the sequence's gates.
func newSequence(t *testing.T, fake *secretcachetest.Fake, n int) (*secretcache.Cache, []chan struct{}) {
	t.Helper()
	held := &sequence{}
	for range n {
		held.gates = append(held.gates, make(chan struct{}))
	}
	gates := held.gates
	return newCache(t, fake, func(cfg *secretcache.Config) { held.Secrets, cfg.Secrets = cfg.Secrets, held }), gates
}

func (s *sequence) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	fetched, err := s.Secrets.Get(ctx, id, versionID)
	s.mu.Lock()
	gate := s.gates[0]
	s.gates = s.gates[min(1, len(s.gates)-1):]
	s.mu.Unlock()
	<-gate
	return fetched, err
}

// TestAReadAnewIsNotToldWhatFailedBeforeIt, nor served what was fetched before it.
func TestAReadAnewIsNotToldWhatFailedBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache, gates := newSequence(t, fake, 2)
		secret := cache.Secret(password)
		fake.BreakSecrets(errors.New("throttled"))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := secret.Get(t.Context()); err == nil {
				t.Error("it was read although Secrets Manager was broken")
			}
		})
		synctest.Wait()
		fake.BreakSecrets(nil)
		fake.Advance(aChange)
		anew := secret.Anew()
		wg.Go(func() { wantText(t, anew, "first") })
		synctest.Wait()
		close(gates[0])
		synctest.Wait()
		close(gates[1])
		wg.Wait()
		fake.BreakSecrets(errors.New("throttled"))
		fake.Advance(time.Second)
		if v, err := secret.Anew().Get(t.Context()); err == nil {
			t.Errorf("got %v, although what is served must be new", v)
		}
		wantText(t, secret, "first")
	})
}

func TestRecentIsWhatTheLogToldOfInTheLastMinute(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	fake.Advance(time.Hour)
	second := fake.Put(password, "second")
	cache := newCache(t, fake)
	change, ok := cache.Recent(t.Context(), password, fake.ARN(password))
	if !ok || change.VersionID != second || change.Kind != wire.Moved {
		t.Errorf("got %+v, %t", change, ok)
	}
	fake.Advance(nextCheck)
	fake.Delete(password)
	if change, ok := cache.Recent(t.Context(), password, fake.ARN(password)); !ok || change.Kind != wire.Deleted {
		t.Errorf("after the next change: got %+v, %t", change, ok)
	}
	fake.BreakLog(errors.New("throttled")) // by now no check has forgotten it
	fake.Advance(time.Minute + time.Second)
	if change, ok := cache.Recent(t.Context(), password, fake.ARN(password)); ok {
		t.Errorf("after a minute: got %+v", change)
	}
	fake.BreakLog(nil)
	for _, mode := range []secretcache.Mode{secretcache.Observe, secretcache.Off} {
		other := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Mode = mode })
		if change, ok := other.Recent(t.Context(), password, fake.ARN(password)); ok {
			t.Errorf("mode %s: got %+v", mode, change)
		}
	}
}

// TestTheLogSaysNothingOfAnotherAccountsSecret, nor of one whose account is not known.
func TestTheLogSaysNothingOfAnotherAccountsSecret(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	arn := fake.ARN(password)
	if change, ok := cache.Recent(t.Context(), arn, arn); ok {
		t.Errorf("nobody knows whose it is: got %+v", change)
	}
	if _, ok := cache.Recent(t.Context(), password, arn); !ok { // the answer to a name is of the own account
		t.Error("by its name: nothing")
	}
	if _, ok := cache.Recent(t.Context(), arn, arn); !ok {
		t.Error("once that is known: nothing")
	}
	foreign := strings.Replace(arn, secretcachetest.Account, "444455556666", 1)
	if change, ok := cache.Recent(t.Context(), foreign, foreign); ok {
		t.Errorf("another account's: got %+v", change)
	}
}

// TestWhatItsCallerHasChangedIsReadAnew: by whichever id it is changed, and by whichever it was read.
func TestWhatItsCallerHasChangedIsReadAnew(t *testing.T) {
	for _, name := range []string{password, "/bank/test/payments/neon/key-abcdef"} { // which ends as an ARN does
		fake := secretcachetest.New(t)
		fake.Put(name, "first")
		ids := []string{name, fake.ARN(name), partialARN(fake, name)}
		for _, by := range ids {
			for _, of := range ids {
				cache := newCache(t, fake)
				secret := cache.Secret(of)
				fake.PutSilently(name, "before")
				wantText(t, secret, "before")
				fake.PutSilently(name, "after")
				wantText(t, secret, "before")
				cache.Changing(by)(true)
				fake.BreakSecrets(errors.New("throttled"))
				if v, err := secret.Get(t.Context()); err == nil {
					t.Errorf("changed by %s, read by %s: while it cannot be read %q is served", by, of, v.Text())
				}
				fake.BreakSecrets(nil)
				wantText(t, secret, "after")
			}
		}
	}
}

// TestAnotherAccountsSecretThatWasChangedIsReadAnew: it is kept under each ARN that it was asked for by.
func TestAnotherAccountsSecretThatWasChangedIsReadAnew(t *testing.T) {
	cache, _, asked := withTwoAccounts(t)
	ids := []string{theirs, theirs[:strings.LastIndexByte(theirs, '-')]}
	for _, by := range ids {
		for _, of := range ids {
			secret := cache.Secret(of)
			wantText(t, secret, "theirs")
			before := asked.Load()
			cache.Changing(by)(true)
			wantText(t, secret, "theirs")
			if asked.Load() == before {
				t.Errorf("changed by %s, read by %s: it was not asked for anew", by, of)
			}
		}
	}
}

// TestAnAnswerOnItsWayIsOfBeforeTheChange, also to an ARN whose name nobody knows yet.
func TestAnAnswerOnItsWayIsOfBeforeTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		for _, of := range []string{password, fake.ARN(password)} {
			fake.PutSilently(password, "before")
			gate := make(chan struct{})
			cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = heldSecrets{cfg.Secrets, gate} })
			var wg sync.WaitGroup
			wg.Go(func() { wantText(t, cache.Secret(of), "after") })
			synctest.Wait()
			fake.PutSilently(password, "after")
			cache.Changing(password)(true)
			close(gate)
			wg.Wait()
			wantText(t, cache.Secret(of), "after")
		}
	})
}

// TestWhatIsForgottenIsReadAnew: handles from before go on, and follow the log as before.
func TestWhatIsForgottenIsReadAnew(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	arn := fake.ARN(password)
	handles := []*secretcache.Secret{cache.Secret(password), cache.Secret(arn), cache.Secret(arn).WithTTL(time.Minute)}
	read := func(want string, fetches int) {
		t.Helper()
		for _, secret := range handles {
			wantText(t, secret, want)
		}
		wantFetches(t, fake, password, fetches)
	}
	read("first", 2) // by its name, and once by the ARN whose name is not known yet
	cache.Forget("/none")
	cache.Forget(arn)
	read("first", 2) // the name is known of these handles
	wantText(t, cache.Secret(arn), "first")
	wantFetches(t, fake, password, 3)
	cache.Forget(password)
	fake.PutSilently(password, "second")
	wantText(t, cache.Secret(arn), "second")
	read("second", 4)
	fake.Put(password, "third")
	fake.Advance(nextCheck)
	read("third", 5)
}

// TestAnAnswerOnItsWayDoesNotBringBackWhatIsForgotten, whoever asked for it: nothing would tell it of a change any more.
func TestAnAnswerOnItsWayDoesNotBringBackWhatIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache, gates := newSequence(t, fake, 3)
		close(gates[0])
		secret := cache.Secret(password)
		wantText(t, secret, "first")
		other := secret.WithTTL(time.Hour)
		done := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			done <- secret.Try(ctx, func(context.Context, secretcache.Value) error { return secretcache.ErrRejected })
		}()
		synctest.Wait() // what the rejection asks is on its way
		cache.Forget(password)
		close(gates[1])
		synctest.Wait() // and again
		close(gates[2])
		if err := <-done; !errors.Is(err, secretcache.ErrRejected) {
			t.Errorf("got %v", err)
		}
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		wantText(t, cache.Secret(password), "second")
		wantText(t, other, "second")
	})
}

// TestALateAnswerDoesNotBringBackWhatIsForgotten either: it is served to who waits for it, and kept under no name.
func TestALateAnswerDoesNotBringBackWhatIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		var asked atomic.Int32
		cache := newCache(t, fake, func(cfg *secretcache.Config) {
			cfg.Secrets = &disturbedSecrets{Secrets: &unmovedSecrets{Secrets: cfg.Secrets}, disturb: func(int) bool {
				asked.Add(1)
				return false
			}}
		})
		arn := fake.ARN(password)
		wantText(t, cache.Secret(arn), "first")
		cache.Forget(arn)
		cache.Forget(password)
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		done := make(chan struct{})
		go func() {
			defer close(done)
			wantText(t, cache.Secret(arn), "first")
		}()
		time.Sleep(100 * time.Millisecond) // between two tries
		cache.Forget(arn)
		<-done
		asked.Store(0)
		wantText(t, cache.Secret(password), "first")
		if asked.Load() == 0 {
			t.Error("what came after it was forgotten is served by its name")
		}
	})
}

// TestWhatIsBeingChanged is known until the last change is over, by whatever id; a change that was not made takes nothing away.
func TestWhatIsBeingChanged(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	ids := []string{password, fake.ARN(password), partialARN(fake, password)}
	want := func(want bool) {
		t.Helper()
		for _, id := range ids {
			if got := cache.IsChanging(id); got != want {
				t.Errorf("%s: got %t, want %t", id, got, want)
			}
		}
		if cache.IsChanging("/bank/test/payments/neon/key") {
			t.Error("another secret is being changed")
		}
	}
	secret := cache.Secret(password)
	wantText(t, secret, "first")
	fake.PutSilently(password, "second")
	for _, id := range ids {
		want(false)
		one, other := cache.Changing(id, "/another"), cache.Changing(id)
		want(true)
		one(false)
		want(true)
		other(false)
		want(false)
		wantText(t, secret, "first")
	}
	cache.Changing(password)(true)
	wantText(t, secret, "second")
}

// TestWhatAHandleHasReadIsKeptAs the secret's name, once that is known.
func TestWhatAHandleHasReadIsKeptAs(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	for _, id := range []string{fake.ARN(password), partialARN(fake, password), password} {
		secret := cache.Secret(id)
		if got := secret.KeptAs(); got != id {
			t.Errorf("before it is read: got %s, want %s", got, id)
		}
		wantText(t, secret, "first")
		if got := secret.KeptAs(); got != password {
			t.Errorf("%s: got %s", id, got)
		}
	}
}
