package secretcache_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// settled waits until nothing moves any more and returns the reports written since the last time.
func settled(fake *secretcachetest.Fake, seen *int) []wire.Report {
	synctest.Wait()
	all := fake.Reports()
	fresh := all[*seen:]
	*seen = len(all)
	return fresh
}

func TestAnEnvironmentReportsAtItsFirstCheckAndAtEachNewRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		secret := newCache(t, fake).Secret(password)
		seen := 0
		wantRevisions := func(step string, want ...int64) {
			t.Helper()
			wantText(t, secret, secretText(fake, t))
			var got []int64
			for _, report := range settled(fake, &seen) {
				got = append(got, report.Revision)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(step, diff)
			}
		}
		wantRevisions("the first check", 2)
		fake.Advance(time.Minute)
		wantRevisions("nothing new")
		fake.Put(password, "second")
		fake.Advance(nextCheck)
		wantRevisions("a new revision, not applied yet when it is told", 3)
		fake.Put(password, "third")
		fake.Advance(nextCheck)
		wantRevisions("another within ten seconds")
		fake.Put(password, "fourth")
		fake.Advance(nextCheck)
		wantRevisions("and another")
		fake.Advance(10*time.Second - 2*nextCheck - time.Millisecond)
		wantRevisions("not quite ten seconds later")
		fake.Advance(nextCheck) // reports are written beside a check
		wantRevisions("ten seconds later, once for both", 5)
	})
}

// TestAReportIsRenewedBeforeItEnds: where nothing changes for days an environment would else pass for gone, and the next
// change not be pushed to it.
func TestAReportIsRenewedBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		secret := newCache(t, fake).Secret(password)
		wantText(t, secret, "first")
		seen := 0
		settled(fake, &seen)
		fake.Advance(6*time.Hour - time.Second)
		wantText(t, secret, "first")
		if got := settled(fake, &seen); len(got) > 0 {
			t.Errorf("reports without news after not quite six hours: %+v", got)
		}
		fake.Advance(nextCheck)
		wantText(t, secret, "first")
		if got := settled(fake, &seen); len(got) != 1 {
			t.Errorf("%d reports after six hours, want 1", len(got))
		}
	})
}

// secretText is what the secret reads now.
func secretText(fake *secretcachetest.Fake, t *testing.T) string {
	t.Helper()
	got, err := fake.Config().Secrets.Get(t.Context(), password, "")
	if err != nil {
		t.Fatal(err)
	}
	return got.Text
}

// TestAReportWaitsForTheCheckOnItsWay: an environment that was frozen while the log grew would else say that it is behind.
func TestAReportWaitsForTheCheckOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		cache := newCache(t, fake)
		handler := cache.Wrap(readingHandler(cache.Secret(password)))
		invoke := func() {
			t.Helper()
			if _, err := handler.Invoke(t.Context(), []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}
		seen := 0
		invoke()
		settled(fake, &seen)
		fake.Put(password, "second")
		fake.Advance(7 * time.Hour) // its report is due, and so is a check
		invoke()
		got := settled(fake, &seen)
		if len(got) == 0 {
			t.Fatal("no report")
		}
		for _, r := range got {
			if r.Revision != 3 {
				t.Errorf("it reports revision %d at %v, and knows 3 a moment later", r.Revision, r.Time)
			}
		}
	})
}

func TestAReportTellsHowTheEnvironmentStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		fake.Put(apiKey, "first")
		fake.Put("/bank/test/kyc/provider/api-key", "first")
		started := time.Now()
		cache := newCache(t, fake)
		handler := cache.Wrap(handlerFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
			for _, name := range []string{password, apiKey, "/bank/test/kyc/provider/api-key"} {
				if _, err := cache.Secret(name).Get(ctx); err != nil {
					t.Error(err)
				}
			}
			return nil, nil
		}))
		invoke := func() {
			t.Helper()
			if _, err := handler.Invoke(t.Context(), []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}
		cache.Secret(password).WithTTL(time.Hour)
		cache.Secret(apiKey).OnChange(func(context.Context, secretcache.Value) error { return errors.New("login failed") })
		invoke()
		fake.Advance(nextCheck)
		second, refused := fake.Put(password, "second"), fake.Put(apiKey, "second")
		fake.Advance(time.Minute)
		invoke()
		fake.Advance(time.Minute)
		invoke() // what was fetched after the report of the revision

		reports := fake.Reports()
		got := reports[len(reports)-1]
		revision, hash := cache.Position()
		cfg := fake.Config()
		want := wire.Report{
			Schema: wire.Schema, Client: secretcache.ClientName, Env: "test", Domain: "payments", Service: cfg.Service,
			Function: cfg.Function.ARN, Version: cfg.Function.Version, LogStream: cfg.Function.LogStream,
			TakesInvalidations: true, Mode: "on", Started: started.UTC(), Time: time.Now().UTC(), Revision: revision, Hash: hash,
			CheckEverySeconds: 2, MaxTTLSeconds: 3600,
			Secrets: []wire.SecretOutcome{
				{Name: apiKey, VersionID: refused, Outcome: wire.Failed, Reason: "an OnChange function refused the new version"},
				{Name: password, VersionID: second, Outcome: wire.Applied, Verified: true},
			},
			Counts: wire.Counts{Checks: got.Counts.Checks, Fetches: 5, Invalidated: 2},
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(wire.Report{}, "Environment")); diff != "" {
			t.Error(diff)
		}
		if got.Environment != reports[0].Environment || len(got.Environment) != 32 {
			t.Errorf("the environment is %q and was %q", got.Environment, reports[0].Environment)
		}
		if checks := got.Counts.Checks; checks != 2 && checks != 3 { // the third may be on its way
			t.Errorf("%d checks", checks)
		}
	})
}

// TestTheARNIsTheLastInvocations: a function learns only from its invocations under which ARN it runs.
func TestTheARNIsTheLastInvocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		arn := ""
		cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.InvokedARN = func(context.Context) string { return arn } })
		handler := cache.Wrap(notReached(t))
		wantARN := func(step, want string) {
			t.Helper()
			fake.Advance(time.Minute)
			fake.Refresh(password)
			if ack := push(t, handler, fake.Invalidation(password)); ack.Function != want {
				t.Errorf("%s: the ack is of %s, want %s", step, ack.Function, want)
			}
			synctest.Wait()
			if all := fake.Reports(); all[len(all)-1].Function != want {
				t.Errorf("%s: the report is of %s, want %s", step, all[len(all)-1].Function, want)
			}
		}
		wantARN("no invocation has told one", fake.Config().Function.ARN)
		arn = fake.Config().Function.ARN + ":live"
		wantARN("by an alias", arn)
		arn = ""
		wantARN("told nothing, the last one stands", fake.Config().Function.ARN+":live")
	})
}

func TestAReportThatFailedIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		var broken *brokenReports
		secret := newCache(t, fake, func(cfg *secretcache.Config) {
			broken = &brokenReports{cfg.Reports, errBroken}
			cfg.Reports = broken
		}).Secret(password)
		seen := 0
		wantText(t, secret, "first")
		settled(fake, &seen)
		broken.err = nil
		fake.Advance(nextCheck)
		wantText(t, secret, "first")
		if got := settled(fake, &seen); len(got) != 0 {
			t.Errorf("written again within ten seconds: %+v", got)
		}
		fake.Advance(10 * time.Second)
		wantText(t, secret, "first")
		if got := settled(fake, &seen); len(got) != 1 || got[0].Revision != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestReportsThatFailAreCountedAndLoggedOnce, and once more when they fail again later, but not each time.
func TestReportsThatFailAreCountedAndLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		var broken *brokenReports
		out := &logged{}
		secret := newCache(t, fake, func(cfg *secretcache.Config) {
			broken = &brokenReports{Reports: cfg.Reports}
			cfg.Reports = broken
			cfg.Logger = out.logger()
		}).Secret(password)
		tenSeconds := func(step string, err error, logged int) {
			t.Helper()
			broken.err = err
			fake.Refresh(password) // something to report
			wantText(t, secret, "first")
			synctest.Wait()
			if got := strings.Count(out.String(), "reports cannot be written"); got != logged {
				t.Errorf("%s: logged %d times, want %d: %s", step, got, logged, out)
			}
			fake.Advance(10 * time.Second)
		}
		for range 10 {
			tenSeconds("it goes on", errBroken, 1)
		}
		tenSeconds("written", nil, 1)
		seen := 0
		if got := settled(fake, &seen); len(got) != 1 || got[0].Counts.ReportFailures != 10 {
			t.Errorf("got %+v", got)
		}
		tenSeconds("a minute later", errBroken, 2)
		tenSeconds("written", nil, 2)
		tenSeconds("it flaps", errBroken, 2)
	})
}

type brokenReports struct {
	secretcache.Reports
	err error
}

func (b *brokenReports) Put(ctx context.Context, r wire.Report) error {
	if b.err != nil {
		return b.err
	}
	return b.Reports.Put(ctx, r)
}

func TestALogThatStaysBrokenIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		secret := newCache(t, fake).Secret(password)
		seen := 0
		wantText(t, secret, "first")
		settled(fake, &seen)
		fake.BreakLog(errBroken)
		fake.Advance(time.Minute)
		for failures := range 3 {
			wantText(t, secret, "first")
			if got := settled(fake, &seen); len(got) != max(0, failures-1) {
				t.Errorf("after %d failures: %+v", failures+1, got)
			} else if len(got) == 1 && (got[0].Counts.CheckFailures != 3 || got[0].Revision != 2) {
				t.Errorf("got %+v", got[0])
			}
		}
	})
}

func TestWithoutReportsThereAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		wantText(t, newCache(t, fake, func(cfg *secretcache.Config) { cfg.Reports = nil }).Secret(password), "first")
		seen := 0
		if got := settled(fake, &seen); len(got) != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestAnInvocationDoesNotWaitLongForItsReport: what is not written within 50 ms is sent with the next invocation.
func TestAnInvocationDoesNotWaitLongForItsReport(t *testing.T) {
	for name, test := range map[string]struct{ takes, waits time.Duration }{
		"quick": {20 * time.Millisecond, 20 * time.Millisecond},
		"slow":  {500 * time.Millisecond, 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Reports = slowReports{cfg.Reports, test.takes} })
				start := time.Now()
				if _, err := cache.Wrap(readingHandler(cache.Secret(password))).Invoke(t.Context(), []byte(`{}`)); err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start); got != test.waits {
					t.Errorf("it waited %v, want %v", got, test.waits)
				}
				fake.AwaitReports(1)
			})
		})
	}
}

type slowReports struct {
	secretcache.Reports
	takes time.Duration
}

func (s slowReports) Put(ctx context.Context, r wire.Report) error {
	time.Sleep(s.takes)
	return s.Reports.Put(ctx, r)
}

func TestAReportHoldsNoValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		fake.Put(password, canary)
		secret := newCache(t, fake).Secret(password)
		for range 3 {
			wantText(t, secret, canary)
			synctest.Wait()
			fake.BreakSecrets(errors.New("refused " + canary))
			fake.Put(password, canary)
			fake.Advance(time.Minute)
		}
		seen := 0
		reports := settled(fake, &seen)
		if text := encoded(t, reports); strings.Contains(text, canary) || len(reports) < 2 {
			t.Errorf("reported: %s", text)
		}
	})
}
