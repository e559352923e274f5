package main

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// TestEachRunIsServedItsChange: the first makes the second version, the others move AWSCURRENT between the two, whichever
// environment they are in; the time is from the change to the first read that served it.
func TestEachRunIsServedItsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		seen := map[string]int{}
		var revision int64
		for i, h := 0, w.canary(); i < 5; i++ {
			if i == 3 {
				h = w.canary()
			}
			before := w.current()
			r, measured, err := w.runs(h)
			if err != nil {
				t.Fatal(err)
			}
			if r.Secret != name || r.VersionID == before || r.VersionID != w.current() || r.Revision <= revision {
				t.Errorf("run %d came to %+v; current was %s, is %s", i, r, before, w.current())
			}
			took := time.Duration(r.Milliseconds) * time.Millisecond
			if longest := w.after + secretcache.DefaultCheckEvery + readEvery; took < w.after || took > longest {
				t.Errorf("run %d took %v, want %v to %v", i, took, w.after, longest)
			}
			if measured["CanarySucceeded"] != 1.0 || measured["ChangeToServed"] != float64(r.Milliseconds) || measured["env"] != "prod" || measured["domain"] != "payments" {
				t.Errorf("run %d measured %v", i, measured)
			}
			revision = r.Revision
			seen[r.VersionID]++
			time.Sleep(15 * time.Minute)
		}
		if len(seen) != 2 || w.moves.Load() != 5 {
			t.Errorf("AWSCURRENT was moved %d times, between %d versions", w.moves.Load(), len(seen))
		}
	})
}

// TestAChangeThatIsNotServedFails, and so does the run after it as long as what is cached is outdated: it does not move
// AWSCURRENT back to what is cached and take that for served. Once the log tells of the change all is well again.
func TestAChangeThatIsNotServedFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.canary()
		w.lost = true
		began := time.Now()
		_, measured, err := w.runs(h)
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "the change is not served within 1m0s, with the log at revision 1") || took > servedWithin+time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		if measured["CanarySucceeded"] != 0.0 || measured["ChangeToServed"] != nil {
			t.Errorf("measured %v", measured)
		}
		if log := w.told.String(); !strings.Contains(log, `"msg":"the canary failed","secret":"`+name+`","versionId":"`+w.current()+`"`) {
			t.Errorf("logged %s", log)
		}
		time.Sleep(15 * time.Minute)
		if _, measured, err = w.runs(h); err == nil || !strings.Contains(err.Error(), errOutdated.Error()) || w.moves.Load() != 1 || measured["CanarySucceeded"] != 0.0 {
			t.Errorf("the next: %v, %v, after %d changes", err, measured, w.moves.Load())
		}
		time.Sleep(15 * time.Minute)
		w.tick()
		w.lost = false
		if _, measured, err = w.runs(h); err != nil || measured["CanarySucceeded"] != 1.0 {
			t.Errorf("after the tick that found the change: %v, %v", err, measured)
		}
	})
}

// TestWhatCannotBeReadFails: without the secret, or without the log, nothing is served, and neither is counted as served.
func TestWhatCannotBeReadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.deaf = true
		if _, measured, err := w.runs(w.canary()); !errors.Is(err, errNotServed) || measured["CanarySucceeded"] != 0.0 {
			t.Errorf("without the log: %v, %v", err, measured)
		}
		w.deaf = false
		if _, err := w.secrets.DeleteSecret(secrets.DeleteSecretInput{SecretID: name}); err != nil {
			t.Fatal(err)
		}
		if _, measured, err := w.runs(w.canary()); !errors.Is(err, secretcache.ErrDeleted) || !strings.Contains(err.Error(), name) || measured["CanarySucceeded"] != 0.0 {
			t.Errorf("without the secret: %v, %v", err, measured)
		}
	})
}

// TestTheCanaryReportsAsEveryClientDoes, and that it takes no pushes.
func TestTheCanaryReportsAsEveryClientDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.canary()
		for range 2 {
			if _, _, err := w.runs(h); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Minute)
		}
		reports, err := dynamodb.NewReports(awsdynamodb.NewFromConfig(w.config(w)), reportsTable).All(t.Context())
		if err != nil || len(reports) != 1 {
			t.Fatalf("%+v, %v", reports, err)
		}
		is := reports[0]
		if is.Service != "secret-broadcaster-canary" || is.Revision < 2 || is.TakesInvalidations || len(is.Secrets) != 1 || is.Secrets[0].Name != name || is.Secrets[0].Outcome != wire.Applied {
			t.Errorf("it reports %+v", is)
		}
	})
}

func TestWhatTheCanaryIsNotToldIsNamed(t *testing.T) {
	all := map[string]string{
		"CANARY_SECRET": name, "SECRET_BROADCAST_TABLE": changesTable, "SECRET_BROADCAST_ENV": "prod", "SECRET_BROADCAST_DOMAIN": "payments",
	}
	for _, missing := range []string{"CANARY_SECRET", "SECRET_BROADCAST_TABLE", "SECRET_BROADCAST_ENV"} {
		on := aws.Config{Region: region, Credentials: aws.AnonymousCredentials{}}
		_, err := newHandler(on, func(name string) string {
			if name == missing {
				return ""
			}
			return all[name]
		}, slog.New(slog.DiscardHandler), io.Discard)
		if err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}
