package secretcachetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// logOf reads the whole log and checks its chain.
func logOf(t *testing.T, fake *secretcachetest.Fake) []wire.Row {
	t.Helper()
	page, err := fake.Config().Log.Tail(t.Context(), 1000)
	if err != nil {
		t.Fatalf("Tail: %v", err)
	}
	previous := ""
	for i, row := range page.Rows {
		hash := row.Hash
		if _, err := row.Seal(); err != nil || row.Hash != hash {
			t.Errorf("row %d: its hash is not its body's (%v)", i+1, err)
		}
		if row.Revision != int64(i+1) || row.PreviousHash != previous {
			t.Errorf("row %d does not follow the one before: revision %d, previous hash %s", i+1, row.Revision, row.PreviousHash)
		}
		previous = hash
	}
	return page.Rows
}

func TestEachChangeIsARow(t *testing.T) {
	fake := secretcachetest.New(t)
	first := fake.Put(password, "first")
	second := fake.Put(password, "second")
	fake.Rollback(password)
	fake.Refresh(password)
	fake.Delete(password)
	fake.Restore(password)
	fake.Delete(password)
	third := fake.Put(password, "third")

	var got []wire.Change
	at := time.Time{}
	for _, row := range logOf(t, fake)[1:] {
		for _, change := range row.Changes {
			if !change.At.After(at) || row.Time.Before(change.At) {
				t.Errorf("revision %d: change at %v, row at %v, change before at %v", row.Revision, change.At, row.Time, at)
			}
			at = change.At
			change.At = time.Time{}
			got = append(got, change)
		}
	}
	want := []wire.Change{
		{Name: password, Kind: wire.Moved, VersionID: first},
		{Name: password, Kind: wire.Moved, VersionID: second},
		{Name: password, Kind: wire.Moved, VersionID: first},
		{Name: password, Kind: wire.Refresh, VersionID: first},
		{Name: password, Kind: wire.Deleted},
		{Name: password, Kind: wire.Restored, VersionID: first},
		{Name: password, Kind: wire.Deleted},
		{Name: password, Kind: wire.Restored, VersionID: third},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheLogSpeaksOfItsDomainOnly(t *testing.T) {
	fake := secretcachetest.New(t)
	for _, name := range []string{"/bank/test/kyc/a/b", "/bank/prod/payments/a/b", "/bank/test/payments-archive/a/b", "elsewhere"} {
		fake.Put(name, "first")
	}
	fake.PutSilently(password, "first")
	if rows := logOf(t, fake); len(rows) != 1 || len(rows[0].Changes) != 0 {
		t.Errorf("want the first row only, without changes: %+v", rows)
	}
}

func TestSecretsAnswerAsSecretsManagerDoes(t *testing.T) {
	fake := secretcachetest.New(t)
	first := fake.Put(password, "first")
	oldARN := fake.ARN(password)
	secrets := fake.Config().Secrets
	want := func(id, versionID, text string, wantErr error) {
		t.Helper()
		got, err := secrets.Get(t.Context(), id, versionID)
		if !errors.Is(err, wantErr) || got.Text != text {
			t.Errorf("Get(%s, %s) = %q, %v; want %q, %v", id, versionID, got.Text, err, text, wantErr)
		}
	}
	want(password, "", "first", nil)
	want(oldARN, "", "first", nil)
	want(oldARN[:len(oldARN)-7], "", "first", nil)
	want(oldARN[:len(oldARN)-6], "", "", secretcache.ErrNotFound)
	want("/bank/test/payments/neon/other", "", "", secretcache.ErrNotFound)

	fake.PutSilently(password, "second")
	want(password, "", "second", nil)
	want(password, first, "first", nil)
	want(password, "no-such-version", "", secretcache.ErrNotFound)
	fake.Rollback(password)
	want(password, "", "first", nil)

	fake.Delete(password)
	want(password, "", "", secretcache.ErrDeleted)
	want(password, first, "", secretcache.ErrDeleted)
	fake.Put(password, "third")
	want(password, "", "third", nil)
	want(oldARN, "", "", secretcache.ErrNotFound)
	want(fake.ARN(password), "", "third", nil)

	if got := fake.Fetches(password); got != 11 {
		t.Errorf("the secret was asked for %d times by some name of its own, want 11", got)
	}
	if got := fake.Fetches(oldARN); got != 1 {
		t.Errorf("the ARN of nothing was asked for %d times, want 1", got)
	}
}

func TestARotationIsInTwoSteps(t *testing.T) {
	fake := secretcachetest.New(t)
	secrets := fake.Config().Secrets
	first := fake.Put(password, "first")
	if _, err := secrets.Pending(t.Context(), password); !errors.Is(err, secretcache.ErrNotFound) {
		t.Errorf("the pending version before a rotation: %v", err)
	}
	rows := len(logOf(t, fake))
	second := fake.PutPending(password, "second")
	current, err := secrets.Get(t.Context(), password, "")
	if err != nil || current.VersionID != first || len(logOf(t, fake)) != rows {
		t.Errorf("a pending version changes what is current: %v, %v", current.VersionID, err)
	}
	pending, err := secrets.Pending(t.Context(), fake.ARN(password))
	if err != nil || pending.VersionID != second || pending.Text != "second" || pending.Name != password || !pending.Created.After(current.Created) {
		t.Errorf("the pending version: %+v, %v", pending, err)
	}
	fake.Promote(password)
	current, err = secrets.Get(t.Context(), password, "")
	last := logOf(t, fake)[rows]
	if err != nil || current.VersionID != second || last.Changes[0].VersionID != second || last.Changes[0].Kind != wire.Moved {
		t.Errorf("after the promotion: %v, %v, %+v", current.VersionID, err, last.Changes)
	}
	fake.Rollback(password)
	if current, err = secrets.Get(t.Context(), password, ""); err != nil || current.VersionID != first {
		t.Errorf("after a rollback: %v, %v", current.VersionID, err)
	}
	fake.Delete(password)
	if _, err := secrets.Pending(t.Context(), password); !errors.Is(err, secretcache.ErrDeleted) {
		t.Errorf("the pending version of a deleted secret: %v", err)
	}
}

func TestBrokenPartsAnswerWithTheError(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cfg := fake.Config()
	broken := errors.New("broken")
	for _, want := range []error{broken, nil} {
		fake.BreakLog(want)
		fake.BreakSecrets(want)
		_, tail := cfg.Log.Tail(t.Context(), 10)
		_, since := cfg.Log.Since(t.Context(), 1, 10)
		_, get := cfg.Secrets.Get(t.Context(), password, "")
		if !errors.Is(tail, want) || !errors.Is(since, want) || !errors.Is(get, want) {
			t.Errorf("Tail: %v, Since: %v, Get: %v; want %v", tail, since, get, want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, tail := cfg.Log.Tail(ended, 10)
	_, get := cfg.Secrets.Get(ended, password, "")
	put := cfg.Reports.Put(ended, wire.Report{})
	if !errors.Is(tail, context.Canceled) || !errors.Is(get, context.Canceled) || !errors.Is(put, context.Canceled) {
		t.Errorf("after the context's end: Tail: %v, Get: %v, Put: %v", tail, get, put)
	}
}

func TestTheLogIsReadInPages(t *testing.T) {
	fake := secretcachetest.New(t)
	for range 4 {
		fake.Put(password, "a version")
	}
	log := fake.Config().Log
	for _, test := range []struct {
		name string
		read func() (secretcache.Page, error)
		want []int64
	}{
		{"since", func() (secretcache.Page, error) { return log.Since(t.Context(), 4, 10) }, []int64{4, 5}},
		{"since, limited", func() (secretcache.Page, error) { return log.Since(t.Context(), 2, 2) }, []int64{2, 3}},
		{"since what is not there yet", func() (secretcache.Page, error) { return log.Since(t.Context(), 9, 2) }, nil},
		{"tail", func() (secretcache.Page, error) { return log.Tail(t.Context(), 2) }, []int64{4, 5}},
		{"tail of all", func() (secretcache.Page, error) { return log.Tail(t.Context(), 10) }, []int64{1, 2, 3, 4, 5}},
	} {
		page, err := test.read()
		var got []int64
		for _, row := range page.Rows {
			got = append(got, row.Revision)
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", test.name, err, diff)
		}
	}
}

func TestInvalidationIsThePushOfTheNewestChange(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	fake.Put(password, "second")
	fake.Put("/bank/test/payments/neon/other", "first")

	inv, ours, err := wire.ParseInvalidation(fake.Invalidation(password))
	if err != nil || !ours {
		t.Fatalf("ParseInvalidation: ours %v, %v", ours, err)
	}
	if diff := cmp.Diff(logOf(t, fake)[2], inv.Detail); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{fake.ARN(password)}, inv.Resources); diff != "" {
		t.Error(diff)
	}
}

func TestTheClockMovesByAdvanceAndANanosecondByAChange(t *testing.T) {
	fake := secretcachetest.New(t)
	clock := fake.Config().Clock
	monotonic, wall := clock.Now()
	moved := func(step string, want time.Duration) {
		t.Helper()
		if again, at := clock.Now(); again-monotonic != want || at.Sub(wall) != want {
			t.Errorf("%s: the clock moved by %v and %v, want %v", step, again-monotonic, at.Sub(wall), want)
		}
	}
	moved("nothing", 0)
	for changes, change := range []func(){
		func() { fake.Put(password, "first") }, func() { fake.PutSilently(password, "second") }, func() { fake.Rollback(password) },
		func() { fake.Refresh(password) }, func() { fake.Delete(password) }, func() { fake.Restore(password) },
	} {
		change()
		moved("a change", time.Duration(changes)+1)
	}
	fake.Advance(3 * time.Second)
	moved("Advance", 3*time.Second+6)
}

func TestReportsAreKeptInOrder(t *testing.T) {
	fake := secretcachetest.New(t)
	var written sync.WaitGroup
	written.Go(func() {
		for n := range 3 {
			if err := fake.Config().Reports.Put(context.Background(), wire.Report{Revision: int64(n)}); err != nil {
				t.Error(err)
			}
		}
	})
	for n, report := range fake.AwaitReports(3) {
		if report.Revision != int64(n) {
			t.Errorf("report %d is of revision %d", n, report.Revision)
		}
	}
	written.Wait()
	if got := len(fake.Reports()); got != 3 {
		t.Errorf("%d reports, want 3", got)
	}
}

// A failing stands for a test that may fail without ours failing.
type failing struct {
	testing.TB
	message string
}

func (*failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestWhatCannotBeDoneEndsTheTest(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(*secretcachetest.Fake)
		want string
	}{
		{"rollback of nothing", func(f *secretcachetest.Fake) { f.Rollback(password) }, "there is no secret"},
		{"rollback of the first version", func(f *secretcachetest.Fake) { f.Put(password, "first"); f.Rollback(password) }, "no version before"},
		{"delete twice", func(f *secretcachetest.Fake) { f.Put(password, "first"); f.Delete(password); f.Delete(password) }, "there is no secret"},
		{"restore of what is there", func(f *secretcachetest.Fake) { f.Put(password, "first"); f.Restore(password) }, "is not deleted"},
		{"restore of nothing", func(f *secretcachetest.Fake) { f.Restore(password) }, "is not deleted"},
		{"refresh of nothing", func(f *secretcachetest.Fake) { f.Refresh(password) }, "there is no secret"},
		{"a pending version of nothing", func(f *secretcachetest.Fake) { f.PutPending(password, "second") }, "there is no secret"},
		{"promotion of nothing", func(f *secretcachetest.Fake) { f.Put(password, "first"); f.Promote(password) }, "PutPending makes one"},
		{"promotion twice", func(f *secretcachetest.Fake) {
			f.Put(password, "first")
			f.PutPending(password, "second")
			f.Promote(password)
			f.Promote(password)
		}, "PutPending makes one"},
		{"ARN of nothing", func(f *secretcachetest.Fake) { f.ARN(password) }, "there is no secret"},
		{"invalidation of what never changed", func(f *secretcachetest.Fake) { f.Invalidation(password) }, "no row of the log"},
		{"time going back", func(f *secretcachetest.Fake) { f.Advance(-1) }, "time does not go back"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tb := &failing{TB: t}
			fake := secretcachetest.New(tb)
			done := make(chan struct{})
			go func() {
				defer close(done)
				test.do(fake)
			}()
			<-done
			if !strings.Contains(tb.message, test.want) {
				t.Errorf("the test was ended with %q, want something with %q", tb.message, test.want)
			}
			fake.Advance(1) // no lock is left held
		})
	}
}

func TestTheSameTestSeesTheSameFake(t *testing.T) {
	run := func() string {
		fake := secretcachetest.New(t)
		fake.Put(password, "first")
		fake.Advance(time.Second)
		fake.Put(password, "second")
		rows, err := json.Marshal(logOf(t, fake))
		if err != nil {
			t.Fatal(err)
		}
		return string(rows) + fake.ARN(password) + string(fake.Invalidation(password))
	}
	if diff := cmp.Diff(run(), run()); diff != "" {
		t.Error(diff)
	}
}
