package secretcache_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// A coldRead is the first read of a new environment, with its check and its fetch on their way. The log is read when it
// answers; Secrets Manager answers with what was when it was asked.
type coldRead struct {
	fake  *secretcachetest.Fake
	cache *secretcache.Cache
	log   *editedLog
	told  int // how often OnChange was called

	check, fetch chan struct{} // closed, they answer
	done         chan struct{}
	value        secretcache.Value
	err          error
}

// begin starts a read by name, or by ARN, of a secret that was put long before.
func begin(t *testing.T, byARN bool, edits ...func(*secretcache.Config)) *coldRead {
	t.Helper()
	r := &coldRead{
		fake: secretcachetest.New(t), log: &editedLog{}, check: make(chan struct{}), fetch: make(chan struct{}), done: make(chan struct{}),
	}
	r.fake.Put(apiKey, "first")
	r.fake.Put(password, "first")
	r.fake.Advance(time.Hour)
	r.cache = newCache(t, r.fake, append([]func(*secretcache.Config){func(cfg *secretcache.Config) {
		cfg.CheckEvery, cfg.CheckTimeout = time.Hour, time.Minute // nobody waits that long for the gates
		r.log.Log = cfg.Log
		cfg.Log = &countedLog{Log: r.log, gate: r.check}
		cfg.Secrets = heldSecrets{cfg.Secrets, r.fetch}
	}}, edits...)...)
	id := password
	if byARN {
		id = r.fake.ARN(password)
	}
	secret := r.cache.Secret(id)
	secret.OnChange(func(context.Context, secretcache.Value) error {
		r.told++
		return nil
	})
	go func() {
		defer close(r.done)
		r.value, r.err = secret.Get(t.Context())
	}()
	synctest.Wait()
	wantFetches(t, r.fake, password, 1) // it is on its way, and so is the check: the log has not been let read
	return r
}

// answer lets one of the two answer, and the other after everything has come to rest.
func (r *coldRead) answer(checkFirst bool) {
	gates := []chan struct{}{r.fetch, r.check}
	if checkFirst {
		gates = []chan struct{}{r.check, r.fetch}
	}
	for _, gate := range gates {
		close(gate)
		synctest.Wait()
	}
	<-r.done
	synctest.Wait()
}

// TestAColdReadChecksAndFetchesAtOnce: whichever is answered first, what is served is what the log tells of, and it is
// fetched again only if something has happened to it meanwhile that its answer cannot be of.
func TestAColdReadChecksAndFetchesAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*coldRead)
		want      string
		err       error
		fetches   int
	}{
		"nothing":                       {func(*coldRead) {}, "first", nil, 1},
		"another secret changed":        {func(r *coldRead) { r.fake.Put(apiKey, "second") }, "first", nil, 1},
		"it changed":                    {func(r *coldRead) { r.fake.Put(password, "second") }, "second", nil, 2},
		"it changed there and back":     {func(r *coldRead) { r.fake.Put(password, "second"); r.fake.Rollback(password) }, "first", nil, 1},
		"it was refreshed":              {func(r *coldRead) { r.fake.Refresh(password) }, "first", nil, 2},
		"it was deleted":                {func(r *coldRead) { r.fake.Delete(password) }, "", secretcache.ErrDeleted, 2},
		"something of a newer schema":   {newerSchema, "first", nil, 2},
		"the check's first read failed": {func(r *coldRead) { r.failFirstRead() }, "first", nil, 2},
		"frozen, and it changed": {func(r *coldRead) {
			r.fake.Put(password, "second")
			r.fake.Advance(10 * time.Minute)
		}, "second", nil, 2},
		"frozen, it changed and the check's first read was lost": {func(r *coldRead) {
			r.fake.Put(password, "second")
			r.fake.Advance(10 * time.Minute)
			r.failFirstRead()
		}, "second", nil, 2},
		"it changed, and the log tells no date": {func(r *coldRead) {
			r.fake.Put(password, "second")
			for range 100 {
				r.fake.Put(apiKey, "another") // the rows that are read do not reach back to the change
			}
			r.log.edit = func(page secretcache.Page) secretcache.Page {
				page.Date = time.Time{}
				return page
			}
		}, "second", nil, 2},
	} {
		for _, checkFirst := range []bool{true, false} {
			for _, byARN := range []bool{true, false} {
				t.Run(name+map[bool]string{true: ", check first", false: ", fetch first"}[checkFirst]+map[bool]string{true: ", by ARN"}[byARN], func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := begin(t, byARN)
						test.meanwhile(r)
						r.answer(checkFirst)
						if !errors.Is(r.err, test.err) || r.value.Text() != test.want {
							t.Errorf("got %q, %v; want %q, %v", r.value.Text(), r.err, test.want, test.err)
						}
						wantFetches(t, r.fake, password, test.fetches)
						if got := r.cache.Counts(); got.Uncertain != 0 || got.Outdated != 0 {
							t.Errorf("exceptions were counted: %+v", got)
						}
						if r.told > 0 {
							t.Error("OnChange was told of the first version read")
						}
					})
				})
			}
		}
	}
}

func newerSchema(r *coldRead) {
	r.fake.Put(apiKey, "second")
	r.log.edit = func(page secretcache.Page) secretcache.Page {
		page.Rows[len(page.Rows)-1].Schema = wire.Schema + 1
		return page
	}
}

func (r *coldRead) failFirstRead() {
	r.fake.BreakLog(errBroken)
	r.log.edit = func(page secretcache.Page) secretcache.Page {
		r.fake.BreakLog(nil)
		return page
	}
}

// TestAColdReadGoesOnWithoutTheLog: with what was fetched beside the check that failed.
func TestAColdReadGoesOnWithoutTheLog(t *testing.T) {
	for name, checkFirst := range map[string]bool{"check first": true, "fetch first": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := begin(t, false)
				r.fake.BreakLog(errBroken)
				r.answer(checkFirst)
				if r.err != nil || r.value.Text() != "first" {
					t.Errorf("got %q, %v", r.value.Text(), r.err)
				}
				wantFetches(t, r.fake, password, 1)
				if got := r.cache.Counts(); got.Uncertain != 1 || got.CheckFailures != 1 {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
}

// TestAColdReadThatCannotFetchFails: once, with what Secrets Manager said, also while the check hangs.
func TestAColdReadThatCannotFetchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		fake.BreakSecrets(errBroken)
		port := &hangingPort{}
		port.hangs.Store(true)
		cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Log = hanging{} })
		_, took, err := reading(t, cache.Secret(password), time.Minute)
		if !errors.Is(err, errBroken) || took != 2*secretcache.DefaultCheckTimeout {
			t.Errorf("got %v after %v", err, took)
		}
		wantFetches(t, fake, password, 1)
	})
}

// A yieldingClock lets others run whenever it is looked at.
type yieldingClock struct{ secretcache.Clock }

func (c yieldingClock) Now() (time.Duration, time.Time) {
	runtime.Gosched()
	return c.Clock.Now()
}

func yielding(cfg *secretcache.Config) { cfg.Clock = yieldingClock{cfg.Clock} }

// TestAColdReadFetchesOnce: whichever of its goroutines runs first, and whether the fetch fails or not.
func TestAColdReadFetchesOnce(t *testing.T) {
	for round := range 500 {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		var want error
		if round%2 == 0 {
			want = errBroken
			fake.BreakSecrets(want)
		}
		if _, err := newCache(t, fake, yielding).Secret(password).WithTTL(0).Get(t.Context()); !errors.Is(err, want) {
			t.Fatal(err)
		}
		if got := fake.Fetches(password); got != 1 {
			t.Fatalf("round %d: %d fetches", round, got)
		}
	}
}

// TestWhatHasToBeFetchedAnywayIsFetchedBesideTheCheck: and what may still be served is not.
func TestWhatHasToBeFetchedAnywayIsFetchedBesideTheCheck(t *testing.T) {
	for name, test := range map[string]struct {
		ttl     time.Duration
		fetches int
	}{
		"its TTL has ended": {time.Second, 2},
		"a TTL of zero":     {0, 2},
		"within its TTL":    {time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				log := &countedLog{}
				secret := newCache(t, fake, func(cfg *secretcache.Config) { log.Log, cfg.Log = cfg.Log, log }).Secret(password).WithTTL(test.ttl)
				wantText(t, secret, "first")
				log.gate = make(chan struct{})
				fake.Advance(nextCheck)
				var reads sync.WaitGroup
				reads.Go(func() { wantText(t, secret, "first") })
				synctest.Wait()
				if got := log.reads.Load(); got != 2 {
					t.Errorf("%d reads of the log, want 2", got)
				}
				wantFetches(t, fake, password, test.fetches)
				close(log.gate)
				reads.Wait()
				wantFetches(t, fake, password, test.fetches)
			})
		})
	}
}

// TestAFetchThatItsCheckHasOvertakenIsNotWaitedFor: it may hang, and another one has been sent.
func TestAFetchThatItsCheckHasOvertakenIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		var left atomic.Int32
		log := &countedLog{}
		secret := newCache(t, fake, func(cfg *secretcache.Config) {
			log.Log, cfg.Log = cfg.Log, log
			cfg.Secrets = lostAtFirst{cfg.Secrets, &left}
		}).Secret(password).WithTTL(0)
		wantText(t, secret, "first")
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		left.Store(1)
		log.gate = make(chan struct{})
		var read sync.WaitGroup
		read.Go(func() {
			v, took, err := reading(t, secret, time.Minute)
			if v.Text() != "second" || took != 0 {
				t.Errorf("got %q, %v after %v", v.Text(), err, took)
			}
		})
		synctest.Wait() // until the fetch beside the check hangs
		close(log.gate)
		read.Wait()
		time.Sleep(secretcache.DefaultFetchTimeout) // the one that was overtaken ends
	})
}

// TestWhatDoesNotFollowTheLogDoesNotWaitForIt: a name that it does not speak of, and whoever observes.
func TestWhatDoesNotFollowTheLogDoesNotWaitForIt(t *testing.T) {
	for name, test := range map[string]struct {
		mode secretcache.Mode
		name string
	}{
		"another name": {secretcache.On, "/bank/test/kyc/provider/api-key"},
		"observing":    {secretcache.Observe, password},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(test.name, "first")
				gate := make(chan struct{})
				cache := newCache(t, fake, func(cfg *secretcache.Config) {
					cfg.Mode = test.mode
					cfg.Log = &countedLog{Log: cfg.Log, gate: gate}
				})
				handler := cache.Wrap(handlerFunc(func(context.Context, []byte) ([]byte, error) {
					wantText(t, cache.Secret(test.name), "first") // beside the check that the invocation has begun with
					close(gate)
					return nil, nil
				}))
				if _, err := handler.Invoke(t.Context(), []byte(`{}`)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestTheFirstReportIsWrittenAfterTheFirstRead: it would else compete with it. And it tells of what was read.
func TestTheFirstReportIsWrittenAfterTheFirstRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, false)
		close(r.check)
		synctest.Wait()
		if got := r.fake.Reports(); len(got) > 0 {
			t.Errorf("reported while the secret was fetched: %+v", got)
		}
		close(r.fetch)
		synctest.Wait()
		got := r.fake.Reports()
		if len(got) != 1 || len(got[0].Secrets) != 1 || !got[0].Secrets[0].Verified {
			t.Errorf("after the read: %+v", got)
		}
	})
}

// TestAHandlerThatDoesNotWaitForItsFetchReports: at its return, once the check has ended.
func TestAHandlerThatDoesNotWaitForItsFetchReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		gate := make(chan struct{})
		cache, log := newEdited(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = heldSecrets{cfg.Secrets, gate} })
		log.edit = func(page secretcache.Page) secretcache.Page {
			time.Sleep(20 * time.Millisecond) // the check ends after the handler, which waits for it a little
			return page
		}
		secret := cache.Secret(password)
		handler := cache.Wrap(handlerFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			_, err := secret.Get(ctx)
			return nil, err
		}))
		if _, err := handler.Invoke(t.Context(), []byte(`{}`)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if got := fake.Reports(); len(got) != 1 {
			t.Errorf("%d reports at the handler's return, want 1", len(got))
		}
		close(gate)
	})
}

// TestALateAnswerIsJudgedByWhatItsCheckTold: also if that has been forgotten by then.
func TestALateAnswerIsJudgedByWhatItsCheckTold(t *testing.T) {
	for name, byARN := range map[string]bool{"by name": false, "by ARN": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				fake.Put(apiKey, "first")
				fake.Advance(time.Hour)
				fake.Put(password, "second")
				fake.Advance(59 * time.Second)
				var late *lateSecrets
				gate := make(chan struct{})
				cache := newCache(t, fake, func(cfg *secretcache.Config) {
					late = lagging(cfg)
					cfg.Secrets = heldSecrets{cfg.Secrets, gate}
				})
				late.asOf(t, "first")
				id := password
				if byARN {
					id = fake.ARN(password)
				}
				var reads sync.WaitGroup
				reads.Go(func() { wantText(t, cache.Secret(id), "second") })
				synctest.Wait()
				late.before = secretcache.Fetched{}
				fake.Advance(nextCheck)
				reads.Go(func() { wantText(t, cache.Secret(apiKey), "first") })
				synctest.Wait() // the check has found the change to be more than a minute old
				close(gate)
				reads.Wait()
			})
		})
	}
}
