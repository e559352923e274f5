package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

func TestNewTellsAllThatIsWrong(t *testing.T) {
	_, err := secretcache.New(secretcache.Config{
		Mode: "loud", TTL: -1, CheckEvery: time.Millisecond,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Secrets is missing", `"loud"`, "TTL, CheckTimeout and FetchTimeout", "CheckEvery"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q in %v", want, err)
		}
	}
}

func TestWhatIsRequired(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*secretcache.Config)
		want string // empty: it is fine
	}{
		{"as it is", func(*secretcache.Config) {}, ""},
		{"no Secrets", func(cfg *secretcache.Config) { cfg.Secrets = nil }, "Secrets is missing"},
		{"no Secrets, off", func(cfg *secretcache.Config) { cfg.Secrets, cfg.Mode = nil, secretcache.Off }, "Secrets is missing"},
		{"no Log", func(cfg *secretcache.Config) { cfg.Log = nil }, "Log is missing"},
		{"no Log, observing", func(cfg *secretcache.Config) { cfg.Log, cfg.Mode = nil, secretcache.Observe }, "Log is missing"},
		{"no Env", func(cfg *secretcache.Config) { cfg.Env = "" }, "Env and Domain"},
		{"no Domain", func(cfg *secretcache.Config) { cfg.Domain = "" }, "Env and Domain"},
		{"none of these, off", func(cfg *secretcache.Config) {
			cfg.Env, cfg.Domain, cfg.Log, cfg.Mode = "", "", nil, secretcache.Off
		}, ""},
		{"a negative TTL", func(cfg *secretcache.Config) { cfg.TTL = -1 }, "must not be negative"},
		{"a negative CheckTimeout", func(cfg *secretcache.Config) { cfg.CheckTimeout = -1 }, "must not be negative"},
		{"a negative FetchTimeout", func(cfg *secretcache.Config) { cfg.FetchTimeout = -1 }, "must not be negative"},
		{"a negative CheckEvery", func(cfg *secretcache.Config) { cfg.CheckEvery = -1 }, "at least twice"},
		{"too short a CheckEvery", func(cfg *secretcache.Config) { cfg.CheckEvery = 499 * time.Millisecond }, "at least twice"},
		{"just long enough a CheckEvery", func(cfg *secretcache.Config) { cfg.CheckEvery = 500 * time.Millisecond }, ""},
		{"no Reports, Function, Logger, Clock and Service", func(cfg *secretcache.Config) {
			cfg.Reports, cfg.Function, cfg.Logger, cfg.Clock, cfg.Service = nil, secretcache.Function{}, nil, nil, ""
		}, ""},
	} {
		cfg := secretcachetest.New(t).Config()
		test.edit(&cfg)
		_, err := secretcache.New(cfg)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestDefaultsAreWhatTheySay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		wantText(t, newCache(t, fake).Secret(password), "first")
		got := fake.AwaitReports(1)[0]
		if got.Mode != "on" || got.CheckEverySeconds != 2 || got.MaxTTLSeconds != 300 {
			t.Errorf("mode %s, CheckEvery %v s, TTL %v s", got.Mode, got.CheckEverySeconds, got.MaxTTLSeconds)
		}
	})
}

func TestEnvAndDomainNameTheSecretsThatAreFollowed(t *testing.T) {
	const name = "/bank/prod/kyc/provider/api-key"
	fake := secretcachetest.New(t, secretcachetest.Env("prod"), secretcachetest.Domain("kyc"))
	fake.Put(name, "first")
	for domain, want := range map[string]string{"kyc": "second", "payments": "first"} {
		secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Domain = domain }).Secret(name)
		fake.PutSilently(name, "first")
		wantText(t, secret, "first")
		fake.Put(name, "second")
		fake.Advance(nextCheck)
		wantText(t, secret, want)
	}
	secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Env = "test" }).Secret(name)
	wantText(t, secret, "second")
	fake.Put(name, "third")
	fake.Advance(nextCheck)
	wantText(t, secret, "second")
}

func TestTTLOfTheConfiguration(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.TTL = time.Minute }).Secret(password)
	wantText(t, secret, "first")
	fake.PutSilently(password, "second")
	fake.Advance(time.Minute - aChange)
	wantText(t, secret, "first")
	fake.Advance(time.Millisecond)
	wantText(t, secret, "second")
}

func TestCheckEveryOfTheConfiguration(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.CheckEvery = 10 * time.Second }).Secret(password)
	wantText(t, secret, "first")
	fake.Put(password, "second")
	fake.Advance(10*time.Second - aChange)
	wantText(t, secret, "first")
	fake.Advance(time.Millisecond)
	wantText(t, secret, "second")
}

// hanging never answers before its context ends.
type hanging struct{}

func (hanging) Since(ctx context.Context, _ int64, _ int) (secretcache.Page, error) {
	<-ctx.Done()
	return secretcache.Page{}, ctx.Err()
}

func (h hanging) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	return h.Since(ctx, 0, limit)
}

func (hanging) Get(ctx context.Context, _, _ string) (secretcache.Fetched, error) {
	<-ctx.Done()
	return secretcache.Fetched{}, ctx.Err()
}

func (h hanging) Pending(ctx context.Context, id string) (secretcache.Fetched, error) {
	return h.Get(ctx, id, "")
}

func TestCheckTimeoutBoundsEachOfTwoReadsOfTheLog(t *testing.T) {
	for configured, want := range map[time.Duration]time.Duration{0: 500 * time.Millisecond, 100 * time.Millisecond: 200 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			secret := newCache(t, fake, func(cfg *secretcache.Config) {
				cfg.CheckTimeout, cfg.Log, cfg.Clock = configured, hanging{}, nil
			}).Secret(password)
			start := time.Now()
			wantText(t, secret, "first")
			if got := time.Since(start); got != want {
				t.Errorf("CheckTimeout %v: the read took %v, want %v", configured, got, want)
			}
		})
	}
}

func TestFetchTimeoutBoundsACallToSecretsManager(t *testing.T) {
	for configured, want := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Second: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			fake := secretcachetest.New(t)
			secret := newCache(t, fake, func(cfg *secretcache.Config) {
				cfg.FetchTimeout, cfg.Secrets, cfg.Clock = configured, hanging{}, nil
			}).Secret(password)
			start := time.Now()
			_, err := secret.Get(t.Context())
			if got := time.Since(start); got != want || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("FetchTimeout %v: the read took %v, want %v: %v", configured, got, want, err)
			}
		})
	}
}

func TestServiceAndFunctionGoIntoAcksAndReportsAsTheyAre(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	function := secretcache.Function{ARN: "arn:aws:lambda:eu-west-2:111122223333:function:a", Version: "12", LogStream: "2026/01/01/[12]a"}
	cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Service, cfg.Function = "payments-api", function })
	ack := push(t, cache.Wrap(notReached(t)), fake.Invalidation(password))
	if ack.Service != "payments-api" || ack.Function != function.ARN || ack.LogStream != function.LogStream {
		t.Errorf("got %+v", ack)
	}
	report := fake.AwaitReports(1)[0]
	got := secretcache.Function{ARN: report.Function, Version: report.Version, LogStream: report.LogStream}
	if report.Service != "payments-api" || got != function {
		t.Errorf("got %+v", report)
	}
}

// TestWithoutAClockTheMachinesOwnIsUsed also shows that time counts from before a request was sent.
func TestWithoutAClockTheMachinesOwnIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		const takes = 200 * time.Millisecond
		secret := newCache(t, fake, func(cfg *secretcache.Config) {
			cfg.Clock, cfg.Log, cfg.Reports = nil, slowLog{cfg.Log, takes}, nil
		}).Secret(password)
		start := time.Now()
		wantText(t, secret, "first")
		fake.Put(password, "second")
		time.Sleep(secretcache.DefaultCheckEvery - time.Since(start))
		wantText(t, secret, "first")
		time.Sleep(time.Nanosecond)
		wantText(t, secret, "second")
	})
}

type slowLog struct {
	secretcache.Log
	takes time.Duration
}

func (l slowLog) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	time.Sleep(l.takes)
	return l.Log.Tail(ctx, limit)
}

// TestAFrozenEnvironmentsClock: while it was frozen one of its clocks may have stood still, and its wall clock may have
// been set back. Whichever it was, what is cached is not taken for younger than it is.
func TestAFrozenEnvironmentsClock(t *testing.T) {
	for name, move := range map[string]func(*clocks){
		"only the wall clock went on":      func(c *clocks) { c.wall += time.Hour },
		"only the monotonic clock went on": func(c *clocks) { c.monotonic += time.Hour },
		"the wall clock went back":         func(c *clocks) { c.wall -= time.Nanosecond },
	} {
		t.Run(name, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			clock := &clocks{}
			secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Clock = clock }).Secret(password)
			wantText(t, secret, "first")
			fake.Put(password, "second")
			wantText(t, secret, "first")
			clock.mu.Lock()
			move(clock)
			clock.mu.Unlock()
			wantText(t, secret, "second")
		})
	}
}

// clocks are set apart, also while a report is on its way.
type clocks struct {
	mu              sync.Mutex
	monotonic, wall time.Duration
}

func (c *clocks) Now() (time.Duration, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.monotonic, time.Unix(1_767_225_600, 0).Add(c.wall)
}

func TestWithoutALoggerTheDefaultIsUsed(t *testing.T) {
	out := &logged{}
	before := slog.Default()
	slog.SetDefault(out.logger())
	defer slog.SetDefault(before)
	newCache(t, secretcachetest.New(t), off, func(cfg *secretcache.Config) { cfg.Logger = nil })
	if !strings.Contains(out.String(), "off") {
		t.Errorf("logged: %q", out)
	}
}

// encoded is what a store would see.
func encoded(t *testing.T, reports []wire.Report) string {
	t.Helper()
	return fmt.Sprintf("%+v", reports)
}
