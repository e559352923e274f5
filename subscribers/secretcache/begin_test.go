package secretcache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// TestBeginChecksAndReportsAsWrapDoes: a program that has no handler to wrap, and takes no pushes.
func TestBeginChecksAndReportsAsWrapDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		var log *countedLog
		cache := newCache(t, fake, func(cfg *secretcache.Config) {
			log = counted(cfg)
			cfg.Client = "elsewhere/2.0.0"
			cfg.InvokedARN = func(context.Context) string {
				return "arn:aws:lambda:eu-west-2:111122223333:function:payments-test:live"
			}
		})
		end := cache.Begin(t.Context())
		cache.Linger(t.Context())
		end()
		if reads := log.reads.Load(); reads != 1 {
			t.Errorf("the log was read %d times, want once", reads)
		}
		reports := fake.Reports()
		if len(reports) != 1 {
			t.Fatalf("%d reports, want 1: Linger waits for it", len(reports))
		}
		r := reports[0]
		if r.Client != "elsewhere/2.0.0" || r.TakesInvalidations || r.Revision != 1 {
			t.Errorf("the report says: client %s, takes invalidations: %v, revision %d", r.Client, r.TakesInvalidations, r.Revision)
		}
		if want := "arn:aws:lambda:eu-west-2:111122223333:function:payments-test:live"; r.Function != want {
			t.Errorf("the report is of %s, want %s", r.Function, want)
		}
		cache.Begin(t.Context())()
		if reads := log.reads.Load(); reads != 1 {
			t.Errorf("the log was read again although the check is young enough")
		}
	})
}

// TestTheFunctionIsReportedOnceItIsKnown: what reads before the first invocation reports before Lambda has told the ARN.
func TestTheFunctionIsReportedOnceItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		arn := ""
		cache := newCache(t, fake, func(cfg *secretcache.Config) {
			cfg.Function.ARN = ""
			cfg.InvokedARN = func(context.Context) string { return arn }
		})
		for _, arn = range []string{"", "", "arn:of:the:function", "arn:of:the:function"} {
			fake.Advance(11 * time.Second)
			cache.Begin(t.Context())()
			synctest.Wait()
		}
		reports := fake.Reports()
		if len(reports) != 2 || reports[0].Function != "" || reports[1].Function != "arn:of:the:function" {
			t.Errorf("%d reports, want one before and one after the function is known: %+v", len(reports), reports)
		}
	})
}

func TestDetailsAreAllButTheValue(t *testing.T) {
	fake := secretcachetest.New(t)
	id := fake.Put(password, "first")
	value, err := newCache(t, fake).Secret(fake.ARN(password)).Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := value.Details()
	if d.Name != password || d.ARN != fake.ARN(password) || d.VersionID != id || d.Created.IsZero() || d.Binary ||
		len(d.Labels) != 1 || d.Labels[0] != "AWSCURRENT" {
		t.Errorf("got %+v", d)
	}
}
