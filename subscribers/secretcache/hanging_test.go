package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// A hangingPort answers until it hangs: then nothing comes before the context of the call has ended.
type hangingPort struct {
	secretcache.Log
	secretcache.Secrets
	hangs atomic.Bool
}

func (p *hangingPort) Since(ctx context.Context, revision int64, limit int) (secretcache.Page, error) {
	if p.hangs.Load() {
		return hanging{}.Since(ctx, revision, limit)
	}
	return p.Log.Since(ctx, revision, limit)
}

func (p *hangingPort) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if p.hangs.Load() {
		return hanging{}.Get(ctx, id, versionID)
	}
	return p.Secrets.Get(ctx, id, versionID)
}

func hangingLog(port *hangingPort) func(*secretcache.Config) {
	return func(cfg *secretcache.Config) { port.Log, cfg.Log = cfg.Log, port }
}

func hangingSecrets(port *hangingPort) func(*secretcache.Config) {
	return func(cfg *secretcache.Config) { port.Secrets, cfg.Secrets = cfg.Secrets, port }
}

// reading reads with a deadline and returns how long that took.
func reading(t *testing.T, secret *secretcache.Secret, deadline time.Duration) (secretcache.Value, time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	start := time.Now()
	v, err := secret.Get(ctx)
	return v, time.Since(start), err
}

// TestWhileTheLogHangsACallersDeadlineCostsItNothing: without the log the value would have been a hit.
func TestWhileTheLogHangsACallersDeadlineCostsItNothing(t *testing.T) {
	for name, test := range map[string]struct {
		cachedFor time.Duration
		want      string
		uncertain int64
	}{
		"within its TTL": {nextCheck, "first", 1},
		"after its TTL":  {secretcache.DefaultTTL + time.Second, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				port := &hangingPort{}
				cache := newCache(t, fake, hangingLog(port))
				secret := cache.Secret(password)
				wantText(t, secret, "first")
				port.hangs.Store(true)
				fake.Advance(test.cachedFor)
				v, took, err := reading(t, secret, 300*time.Millisecond)
				if v.Text() != test.want || (test.want == "") != errors.Is(err, context.DeadlineExceeded) || took != 300*time.Millisecond {
					t.Errorf("got %q, %v after %v", v.Text(), err, took)
				}
				if got := cache.Counts(); got.Uncertain != test.uncertain || got.Outdated != 0 {
					t.Errorf("got %+v", got)
				}
				time.Sleep(time.Second) // the check ends
			})
		})
	}
}

// TestWhoNoLongerWaitsIsToldSo: a caller that has gone is not served.
func TestWhoNoLongerWaitsIsToldSo(t *testing.T) {
	for name, cancelAt := range map[string]time.Duration{"before": 0, "meanwhile": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				port := &hangingPort{}
				secret := newCache(t, fake, hangingLog(port)).Secret(password)
				wantText(t, secret, "first")
				port.hangs.Store(true)
				fake.Advance(nextCheck)
				ctx, cancel := context.WithCancel(t.Context())
				if cancelAt == 0 {
					cancel()
				}
				defer time.AfterFunc(cancelAt, cancel).Stop()
				if _, err := secret.Get(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				time.Sleep(time.Second) // the check ends
			})
		})
	}
}

// TestWhoComesTooLateIsToldSo: nothing is served to a caller whose deadline had passed before, and nothing asked for.
func TestWhoComesTooLateIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		var log *countedLog
		secret := newCache(t, fake, func(cfg *secretcache.Config) { log = counted(cfg) }).Secret(password)
		wantText(t, secret, "first")
		fake.Advance(nextCheck)
		if v, _, err := reading(t, secret, -time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %q, %v", v.Text(), err)
		}
		synctest.Wait()
		if got := log.reads.Load(); got != 1 {
			t.Errorf("%d reads of the log, want 1", got)
		}
	})
}

// TestWhileSecretsManagerHangsTheVersionBeforeIsServed: a function whose time-out is shorter than FetchTimeout does not
// fail for having been told of a change.
func TestWhileSecretsManagerHangsTheVersionBeforeIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		port := &hangingPort{}
		out := &logged{}
		cache := newCache(t, fake, hangingSecrets(port), func(cfg *secretcache.Config) { cfg.Logger = out.logger() })
		secret := cache.Secret(password)
		var told []string
		secret.OnChange(func(_ context.Context, v secretcache.Value) error { told = append(told, v.Text()); return nil })
		wantText(t, secret, "first")
		port.hangs.Store(true)
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		invocation := cache.Wrap(handlerFunc(func(context.Context, []byte) ([]byte, error) {
			for i, want := range []time.Duration{2 * time.Second, 0, 0} { // the first read of each waits
				v, took, err := reading(t, secret, 6*time.Second)
				if v.Text() != "first" || took != want {
					t.Errorf("read %d: got %q, %v after %v, want %v", i, v.Text(), err, took, want)
				}
			}
			return nil, nil
		}))
		for range 2 {
			if _, err := invocation.Invoke(t.Context(), []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}
		if v, took, err := reading(t, secret, time.Second); v.Text() != "first" || took != time.Second {
			t.Errorf("a shorter deadline: got %q, %v after %v", v.Text(), err, took)
		}
		if got := cache.Counts(); got.Outdated != 7 || got.Uncertain != 0 || got.Fetches != 1 {
			t.Errorf("got %+v", got)
		}
		if got := strings.Count(out.String(), "a changed secret cannot be fetched"); got != 1 {
			t.Errorf("it was logged %d times: %s", got, out)
		}
		port.hangs.Store(false)
		time.Sleep(secretcache.DefaultFetchTimeout) // the call that hangs ends: the next one answers
		fake.Advance(nextCheck)
		wantText(t, secret, "second")
		if len(told) != 1 || told[0] != "second" {
			t.Errorf("OnChange was told of %q", told)
		}
	})
}

// TestWhatMayNotBeServedIsWaitedFor: a deleted secret, and one whose TTL has ended.
func TestWhatMayNotBeServedIsWaitedFor(t *testing.T) {
	for name, change := range map[string]func(*secretcachetest.Fake){
		"deleted": func(fake *secretcachetest.Fake) { fake.Delete(password); fake.Advance(nextCheck) },
		"past its TTL": func(fake *secretcachetest.Fake) {
			fake.Put(password, "second")
			fake.Advance(secretcache.DefaultTTL + 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				port := &hangingPort{}
				secret := newCache(t, fake, hangingSecrets(port)).Secret(password)
				wantText(t, secret, "first")
				port.hangs.Store(true)
				change(fake)
				if v, took, err := reading(t, secret, 6*time.Second); !errors.Is(err, context.DeadlineExceeded) || took != 6*time.Second {
					t.Errorf("got %q, %v after %v", v.Text(), err, took)
				}
				time.Sleep(secretcache.DefaultFetchTimeout) // the fetch ends
			})
		})
	}
}

// TestAnOnChangeThatTakesLongIsWaitedFor: the new version is there, so nothing is fallen back to.
func TestAnOnChangeThatTakesLongIsWaitedFor(t *testing.T) {
	for name, test := range map[string]struct{ deadline, want time.Duration }{
		"a reader with time":            {6 * time.Second, 4 * time.Second},
		"one whose deadline is shorter": {3 * time.Second, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				cache := newCache(t, fake)
				secret := cache.Secret(password)
				wantText(t, secret, "first")
				secret.OnChange(func(context.Context, secretcache.Value) error { time.Sleep(4 * time.Second); return nil })
				fake.Put(password, "second")
				fake.Advance(nextCheck)
				if v, took, err := reading(t, secret, test.deadline); v.Text() != "second" || took != test.want {
					t.Errorf("got %q, %v after %v, want %v", v.Text(), err, took, test.want)
				}
				if got := cache.Counts(); got.Outdated != 0 || got.Uncertain != 0 {
					t.Errorf("got %+v", got)
				}
				time.Sleep(4 * time.Second) // OnChange ends
			})
		})
	}
}

// TestAFetchThatDiedWhileTheEnvironmentRestedIsNotTheNextReadsFault: it went on after its own read, and has failed since.
func TestAFetchThatDiedWhileTheEnvironmentRestedIsNotTheNextReadsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		port := &hangingPort{}
		port.hangs.Store(true)
		cache := newCache(t, fake, hangingSecrets(port))
		secret := cache.Secret(password)
		rest := func(reads func()) {
			if _, err := cache.Wrap(handlerFunc(func(context.Context, []byte) ([]byte, error) {
				reads()
				return nil, nil
			})).Invoke(t.Context(), []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}
		rest(func() {
			if v, _, err := reading(t, secret, time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %q, %v", v.Text(), err)
			}
		})
		time.Sleep(secretcache.DefaultFetchTimeout) // the fetch begins its second call, on which it also hangs
		rest(func() {})
		rest(func() {
			time.AfterFunc(secretcache.DefaultFetchTimeout-2*time.Second, func() { port.hangs.Store(false) })
			if v, _, err := reading(t, secret, 30*time.Second); v.Text() != "first" {
				t.Errorf("got %q, %v", v.Text(), err)
			}
		})
	})
}

// lateLabel answers a read by label with what was before a change, and fails each read by version id.
type lateLabel struct {
	secretcache.Secrets
	before secretcache.Fetched
	fail   func(context.Context) error
}

func (s lateLabel) Get(ctx context.Context, _, versionID string) (secretcache.Fetched, error) {
	if versionID == "" {
		return s.before, nil
	}
	return secretcache.Fetched{}, s.fail(ctx)
}

// TestALateAnswerOutlivesWhatComesAfterIt: whatever becomes of the read by version id, it is better than none.
func TestALateAnswerOutlivesWhatComesAfterIt(t *testing.T) {
	for name, fail := range map[string]func(context.Context) error{
		"refused": func(context.Context) error { return errors.New("access denied") },
		"hanging": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		for _, ttl := range []time.Duration{secretcache.DefaultTTL, 0} {
			t.Run(fmt.Sprintf("%s, TTL %v", name, ttl), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := secretcachetest.New(t)
					fake.Put(password, "first")
					before, err := fake.Config().Secrets.Get(t.Context(), password, "")
					if err != nil {
						t.Fatal(err)
					}
					fake.Put(password, "second")
					cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Clock, cfg.Secrets = nil, lateLabel{cfg.Secrets, before, fail} })
					wantText(t, cache.Secret(password).WithTTL(ttl), "first")
					if got := cache.Counts().Outdated; got != 1 {
						t.Errorf("%d counted as outdated, want 1", got)
					}
				})
			})
		}
	}
}
