package secretcache_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

func TestAWrongPasswordInALoopIsNoLoadOnAnybody(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	var log *countedLog
	out := &logged{}
	secret := newCache(t, fake, func(cfg *secretcache.Config) {
		log = counted(cfg)
		cfg.Logger = out.logger()
	}).Secret(password)
	db := accepting("second")
	for burst := 1; burst <= 3; burst++ {
		for range 1000 {
			wantRejected(t, secret, db, secretcache.Pending())
		}
		wantFetches(t, fake, password, 1+2*burst) // the first read, then AWSCURRENT and AWSPENDING in each burst
		if got, want := log.reads.Load(), int64(2*burst); got != want {
			t.Errorf("%d reads of the log, want %d", got, want)
		}
		if got := strings.Count(out.String(), "\n"); got != burst {
			t.Errorf("%d lines logged, want %d: %s", got, burst, out)
		}
		fake.Advance(askAgainEvery - aChange)
		wantRejected(t, secret, db, secretcache.Pending())
		wantFetches(t, fake, password, 1+2*burst)
		fake.Advance(aChange)
	}
	fake.PutSilently(password, "second")
	wantLogin(t, secret, db)
}

func TestAllWhoseValueIsRejectedShareOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		gate := make(chan struct{}, 1)
		cache := newCache(t, fake, func(cfg *secretcache.Config) {
			cfg.Secrets = heldSecrets{cfg.Secrets, gate}
		})
		secret, db := cache.Secret(password), accepting("second")
		gate <- struct{}{}
		wantText(t, secret, "first")
		fake.PutSilently(password, "second")
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() { wantLogin(t, secret, db) })
		}
		synctest.Wait() // all wait for the answer
		wantText(t, secret, "first")
		wantFetches(t, fake, password, 2)
		close(gate)
		all.Wait()
		wantFetches(t, fake, password, 2)
		db.mu.Lock()
		defer db.mu.Unlock()
		if got := len(db.tried); got != 64 {
			t.Errorf("%d logins were tried, want two each", got)
		}
	})
}

func TestWhatHasBeenReplacedMeanwhileIsNotReadAgain(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret, db := newCache(t, fake).Secret(password), accepting("second")
	err := secret.Try(t.Context(), func(ctx context.Context, v secretcache.Value) error {
		if v.Text() == "first" { // the login takes long, and somebody else reads
			fake.Put(password, "second")
			fake.Advance(nextCheck)
			wantText(t, secret, "second")
		}
		return db.login(ctx, v)
	})
	if err != nil {
		t.Error(err)
	}
	db.wantTried(t, "first", "second")
	wantFetches(t, fake, password, 2)
}

// TestAFetchSentBeforeTheRejectionIsNotWhatBringsTheNewerOne: its answer may be of before the change.
func TestAFetchSentBeforeTheRejectionIsNotWhatBringsTheNewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		gate := make(chan struct{}, 1)
		cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = heldSecrets{cfg.Secrets, gate} })
		secret, db := cache.Secret(password), accepting("second")
		gate <- struct{}{}
		wantText(t, secret, "first")
		fake.Advance(aChange)
		var all sync.WaitGroup
		all.Go(func() { wantText(t, secret.WithTTL(0), "second") })
		synctest.Wait() // its answer, the first version, is on its way
		fake.PutSilently(password, "second")
		all.Go(func() { wantLogin(t, secret, db) })
		synctest.Wait()
		close(gate)
		all.Wait()
		db.wantTried(t, "first", "second")
		wantText(t, secret, "second")
	})
}

// TestTheRejectedValueDoesNotComeBack: nobody has announced the change, so no row of the log tells a late answer from a
// current one.
func TestTheRejectedValueDoesNotComeBack(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	var late *lateSecrets
	secret := newCache(t, fake, func(cfg *secretcache.Config) { late = lagging(cfg) }).Secret(password)
	wantText(t, secret, "first")
	fake.PutSilently(password, "second")
	db := accepting("second")
	wantLogin(t, secret, db)

	late.asOf(t, "first")
	fake.Advance(aChange)
	wantText(t, secret.WithTTL(0), "second")
	wantText(t, secret, "second")
	fake.Advance(nextCheck)
	wantText(t, secret.WithTTL(0), "second") // nor has a check of the log forgotten it
	late.before = secretcache.Fetched{}

	t.Run("but for a rollback", func(t *testing.T) {
		fake.Rollback(password)
		fake.Advance(nextCheck)
		wantText(t, secret, "first")
	})
}

// TestALaterChangeOfTheLogStillJudges: the version that took the rejected one's place is the older of the two.
func TestALaterChangeOfTheLogStillJudges(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	var late *lateSecrets
	secret := newCache(t, fake, func(cfg *secretcache.Config) { late = lagging(cfg) }).Secret(password)
	fake.Put(password, "second")
	wantText(t, secret, "second")
	second, err := late.Secrets.Get(t.Context(), password, "")
	if err != nil {
		t.Fatal(err)
	}
	fake.Rollback(password)
	wantLogin(t, secret, accepting("first"))
	late.before = second
	fake.Advance(aChange)
	wantText(t, secret.WithTTL(0), "first")
}

// A trimmedLog does not show its newest rows yet.
type trimmedLog struct {
	secretcache.Log
	hidden atomic.Int64
}

func (l *trimmedLog) Since(ctx context.Context, revision int64, limit int) (secretcache.Page, error) {
	page, err := l.Log.Since(ctx, revision, limit)
	return l.trim(page), err
}

func (l *trimmedLog) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	page, err := l.Log.Tail(ctx, limit)
	return l.trim(page), err
}

func (l *trimmedLog) trim(page secretcache.Page) secretcache.Page {
	page.Rows = page.Rows[:len(page.Rows)-int(l.hidden.Load())]
	return page
}

// TestARowOfTheRejectedVersionDoesNotEndTheSearch: the change that made it current is announced while a newer one is
// fetched, which discards that fetch.
func TestARowOfTheRejectedVersionDoesNotEndTheSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		log := &trimmedLog{}
		log.hidden.Store(1)
		gate := make(chan struct{}, 1)
		cache := newCache(t, fake, func(cfg *secretcache.Config) {
			log.Log = cfg.Log
			cfg.Log, cfg.Secrets = log, heldSecrets{cfg.Secrets, gate}
		})
		secret, db := cache.Secret(password), accepting("second")
		gate <- struct{}{}
		wantText(t, secret, "first")
		fake.PutSilently(password, "second")
		var all sync.WaitGroup
		all.Go(func() { wantLogin(t, secret, db) })
		synctest.Wait() // the second version is on its way
		log.hidden.Store(0)
		push(t, cache.Wrap(notReached(t)), fake.Invalidation(password))
		close(gate)
		all.Wait()
		db.wantTried(t, "first", "second")
	})
}

func TestARollbackThatNobodyAnnouncedIsFollowedAfterAMinute(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	var late *lateSecrets
	secret := newCache(t, fake, func(cfg *secretcache.Config) { late = lagging(cfg) }).Secret(password)
	wantText(t, secret, "first")
	fake.PutSilently(password, "second")
	wantLogin(t, secret, accepting("second"))
	late.asOf(t, "first") // what AWSCURRENT reads from now on
	fake.Advance(time.Minute + time.Millisecond)
	wantText(t, secret.WithTTL(0), "first")
}
