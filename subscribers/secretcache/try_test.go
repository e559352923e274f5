package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// askAgainEvery is how often rejections of one secret's value are followed up.
const askAgainEvery = 5 * time.Second

var errLogin = errors.New("password authentication failed")

// A database accepts one password and remembers what was tried.
type database struct {
	mu       sync.Mutex
	accepted string
	tried    []string
}

func accepting(password string) *database { return &database{accepted: password} }

func (d *database) login(_ context.Context, v secretcache.Value) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried = append(d.tried, v.Text())
	if v.Text() != d.accepted {
		return secretcache.Rejected(errLogin)
	}
	return nil
}

// wantTried compares what was tried since the last call.
func (d *database) wantTried(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(want, d.tried); diff != "" {
		t.Errorf("the passwords tried (-want +got):\n%s", diff)
	}
	d.tried = nil
}

// wantLogin tries a login that has to succeed.
func wantLogin(t *testing.T, secret *secretcache.Secret, db *database, options ...secretcache.TryOption) {
	t.Helper()
	if err := secret.Try(t.Context(), db.login, options...); err != nil {
		t.Errorf("the login failed: %v", err)
	}
}

// wantRejected tries a login that has to fail for the credential.
func wantRejected(t *testing.T, secret *secretcache.Secret, db *database, options ...secretcache.TryOption) {
	t.Helper()
	if err := secret.Try(t.Context(), db.login, options...); !errors.Is(err, secretcache.ErrRejected) || !errors.Is(err, errLogin) {
		t.Errorf("got %v, want a rejection that wraps the database's error", err)
	}
}

func TestBetweenSetSecretAndFinishSecretThePendingVersionIsTried(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	secret, db := cache.Secret(password), accepting("first")
	told := 0
	secret.OnChange(func(context.Context, secretcache.Value) error {
		told++
		return nil
	})
	wantLogin(t, secret, db, secretcache.Pending())
	db.wantTried(t, "first")

	fake.PutPending(password, "second")
	db.accepted = "second"
	for range 3 {
		wantLogin(t, secret, db, secretcache.Pending())
		db.wantTried(t, "first", "second")
	}
	wantText(t, secret, "first")
	wantRejected(t, secret, db) // not every caller allows it
	db.wantTried(t, "first")
	if told != 0 {
		t.Error("OnChange was told although AWSCURRENT is where it was")
	}

	fake.Promote(password)
	fake.Advance(nextCheck)
	wantLogin(t, secret, db, secretcache.Pending())
	db.wantTried(t, "second")
	wantText(t, secret, "second")
}

func TestAPendingVersionIsReportedNowhere(t *testing.T) {
	fake := secretcachetest.New(t)
	first := fake.Put(password, "first")
	cache := newCache(t, fake)
	handler := cache.Wrap(handlerFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
		return nil, cache.Secret(password).Try(ctx, accepting("second").login, secretcache.Pending())
	}))
	fake.PutPending(password, "second")
	fake.Refresh(password)
	for range 2 {
		if _, err := handler.Invoke(t.Context(), []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		ack := push(t, handler, fake.Invalidation(password))
		if len(ack.Secrets) != 1 || ack.Secrets[0].VersionID != first {
			t.Errorf("the ack says %+v, want version %s", ack.Secrets, first)
		}
	}
	for _, report := range fake.AwaitReports(1) {
		for _, secret := range report.Secrets {
			if secret.VersionID != first {
				t.Errorf("a report says %+v, want version %s", secret, first)
			}
		}
	}
}

func TestARejectionFindsAChangeBeforeItsTime(t *testing.T) {
	for _, test := range []struct {
		name   string
		mode   secretcache.Mode
		change func(*secretcachetest.Fake)
	}{
		{"nobody announced it", secretcache.On, func(f *secretcachetest.Fake) { f.PutSilently(password, "second") }},
		{"it is in the log and the last check is young", secretcache.On, func(f *secretcachetest.Fake) { f.Put(password, "second") }},
		{"the log cannot be read", secretcache.On, func(f *secretcachetest.Fake) {
			f.PutSilently(password, "second")
			f.BreakLog(errBroken)
		}},
		{"who only observes", secretcache.Observe, func(f *secretcachetest.Fake) { f.Put(password, "second") }},
		{"who is off", secretcache.Off, func(f *secretcachetest.Fake) { f.Put(password, "second") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Mode = test.mode }).Secret(password)
				db := accepting("second")
				var told []string
				secret.OnChange(func(_ context.Context, v secretcache.Value) error {
					told = append(told, v.Text())
					return nil
				})
				wantText(t, secret, "first")
				synctest.Wait() // who only observes does not wait for the log
				test.change(fake)
				wantLogin(t, secret, db)
				db.wantTried(t, "first", "second")
				wantText(t, secret, "second")
				wantFetches(t, fake, password, 2)
				if diff := cmp.Diff([]string{"second"}, told); diff != "" {
					t.Errorf("OnChange was told of (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestEachVersionIsTriedOnceAndThreeAtMost(t *testing.T) {
	for _, test := range []struct {
		name    string
		current string
		pending string
		want    []string
	}{
		{"nothing else is there", "", "", []string{"first"}},
		{"AWSCURRENT is another", "second", "", []string{"first", "second"}},
		{"AWSPENDING is another", "", "third", []string{"first", "third"}},
		{"both are", "second", "third", []string{"first", "second", "third"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := secretcachetest.New(t)
			versions := []string{fake.Put(password, "first")}
			secret, db := newCache(t, fake).Secret(password), accepting("none of them")
			wantText(t, secret, "first")
			if test.current != "" {
				versions = append(versions, fake.PutSilently(password, test.current))
			}
			if test.pending != "" {
				versions = append(versions, fake.PutPending(password, test.pending))
			}
			err := secret.Try(t.Context(), db.login, secretcache.Pending())
			db.wantTried(t, test.want...)
			want := "secret " + password + ", tried with version " + strings.Join(versions, ", then ") + ": " + errLogin.Error()
			if err == nil || err.Error() != want || !errors.Is(err, errLogin) {
				t.Errorf("got %v\nwant %s", err, want)
			}
		})
	}
}

func TestWhatIsNoRejectionIsReturnedAsItIs(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, given := range map[string]error{
		"none":               nil,
		"another error":      errors.New("relation does not exist"),
		"a time-out":         &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"an ended context":   canceled.Err(),
		"a wrapped time-out": fmt.Errorf("connecting: %w", context.DeadlineExceeded),
	} {
		t.Run(name, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			var log *countedLog
			secret := newCache(t, fake, func(cfg *secretcache.Config) { log = counted(cfg) }).Secret(password)
			fake.PutPending(password, "second")
			calls := 0
			err := secret.Try(t.Context(), func(context.Context, secretcache.Value) error {
				calls++
				return given
			}, secretcache.Pending(), secretcache.RejectedIf(func(err error) bool { return errors.Is(err, errLogin) }))
			if err != given || calls != 1 { //nolint:errorlint // the very same
				t.Errorf("got %v after %d calls, want %v after one", err, calls, given)
			}
			wantFetches(t, fake, password, 1)
			if got := log.reads.Load(); got != 1 {
				t.Errorf("%d reads of the log, want 1", got)
			}
		})
	}
}

func TestAnotherErrorOfALaterCallEndsIt(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake).Secret(password)
	wantText(t, secret, "first")
	fake.PutSilently(password, "second")
	fake.PutPending(password, "third")
	errNetwork := errors.New("connection reset")
	db := accepting("none of them")
	err := secret.Try(t.Context(), func(ctx context.Context, v secretcache.Value) error {
		if err := db.login(ctx, v); v.Text() == "first" {
			return err
		}
		return errNetwork
	}, secretcache.Pending())
	db.wantTried(t, "first", "second")
	if !errors.Is(err, errNetwork) || errors.Is(err, secretcache.ErrRejected) {
		t.Errorf("got %v", err)
	}
}

func TestTheCallerMaySayWhatARejectionIs(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake).Secret(password)
	wantText(t, secret, "first")
	fake.PutSilently(password, "second")
	var tried []string
	err := secret.Try(t.Context(), func(_ context.Context, v secretcache.Value) error {
		if tried = append(tried, v.Text()); v.Text() == "first" {
			return fmt.Errorf("opening: %w", errLogin)
		}
		return nil
	}, secretcache.RejectedIf(func(err error) bool { return errors.Is(err, errLogin) }))
	if err != nil || !slices.Equal(tried, []string{"first", "second"}) {
		t.Errorf("got %v after %v", err, tried)
	}
}

func TestNoErrorIsNoRejection(t *testing.T) {
	if err := secretcache.Rejected(nil); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestAnOnChangeMayTry: a pool that logs in again as soon as it is told does not wait for itself.
func TestAnOnChangeMayTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		secret, db := newCache(t, fake).Secret(password), accepting("third")
		secret.OnChange(func(ctx context.Context, _ secretcache.Value) error { return secret.Try(ctx, db.login) })
		wantText(t, secret, "first")
		fake.PutSilently(password, "second")
		start := time.Now()
		wantRejected(t, secret, db)
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestTryByARN(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret, db := newCache(t, fake).Secret(fake.ARN(password)), accepting("second")
	wantText(t, secret, "first")
	fake.PutPending(password, "second")
	wantLogin(t, secret, db, secretcache.Pending())
	db.wantTried(t, "first", "second")
	db.accepted = "third"
	fake.PutSilently(password, "third")
	fake.Advance(askAgainEvery)
	wantLogin(t, secret, db, secretcache.Pending())
	db.wantTried(t, "first", "third")
}
