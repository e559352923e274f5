// Package secretcachetest is for testing a function that uses secretcache, without AWS and without a network: an
// in-memory change log and secrets that the test changes, and a clock that it sets. The examples show how.
//
// It is for tests only. What a cache does with the log may not be here: the fake says what AWS would say, no more.
package secretcachetest

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// The account and Region of every secret of a Fake.
const (
	Account = "111122223333"
	Region  = "eu-west-2"
)

// A Fake is the AWS side of a test: the secrets, the change log of one (env, domain) and the place for reports. Its
// methods are safe for concurrent use, but those that change something end the test when they cannot, so they belong in
// the test's own goroutine (https://pkg.go.dev/testing#T.FailNow).
//
// Its clock stands still until Advance, but that each change takes a nanosecond: so what follows it is later than what
// was under way before.
type Fake struct {
	t           testing.TB
	env, domain string

	mu         sync.Mutex
	elapsed    time.Duration // of the clock, since began
	secrets    map[string]*secret
	versions   int // made so far
	rows       []wire.Row
	fetches    map[string]int
	logErr     error
	secretsErr error
	reports    []wire.Report
	reported   *sync.Cond
}

// An Option changes what New returns.
type Option func(*Fake)

// Env sets the environment part of the secrets' names; without it "test".
func Env(env string) Option { return func(f *Fake) { f.env = env } }

// Domain sets the domain part of the secrets' names; without it "payments".
func Domain(domain string) Option { return func(f *Fake) { f.domain = domain } }

// New returns a fake with no secrets, whose log has one row without changes, as a newly deployed domain's has.
func New(t testing.TB, options ...Option) *Fake {
	f := &Fake{t: t, env: "test", domain: "payments", secrets: map[string]*secret{}, fetches: map[string]int{}}
	f.reported = sync.NewCond(&f.mu)
	for _, option := range options {
		option(f)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.append()
	return f
}

// Config returns a configuration for secretcache.New that reads from the fake and by its clock. Everything else is a
// default, but nothing is logged.
func (f *Fake) Config() secretcache.Config {
	return secretcache.Config{
		Env: f.env, Domain: f.domain, Service: f.domain + "-test",
		Secrets: fakeSecrets{f}, Log: fakeLog{f}, Reports: fakeReports{f}, Clock: fakeClock{f},
		Function: secretcache.Function{
			ARN:     "arn:aws:lambda:" + Region + ":" + Account + ":function:" + f.domain + "-test",
			Version: "$LATEST", LogStream: "2026/01/01/[$LATEST]00000000000000000000000000000000",
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// Advance lets time pass, for a cache and everything else that uses the fake's clock.
func (f *Fake) Advance(d time.Duration) {
	f.t.Helper()
	if d < 0 {
		f.t.Fatalf("advancing the clock by %v: time does not go back", d)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.elapsed += d
}

// BreakLog makes each read of the change log return err, until it is called with nil.
func (f *Fake) BreakLog(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logErr = err
}

// BreakSecrets makes each read of a secret return err, until it is called with nil.
func (f *Fake) BreakSecrets(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secretsErr = err
}

// Fetches returns how often the secret was asked for, by whatever id, also in vain. A name or ARN that no secret has is
// counted as it is.
func (f *Fake) Fetches(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fetches[name]
}

// Reports returns the reports written so far, oldest first. A report is written beside the handler: see AwaitReports.
func (f *Fake) Reports() []wire.Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reports)
}

// AwaitReports blocks until n reports have been written, and returns all there are.
func (f *Fake) AwaitReports(n int) []wire.Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.reports) < n {
		f.reported.Wait()
	}
	return slices.Clone(f.reports)
}

// Invalidation returns the payload of the push that the newest change of the secret causes, as a function's handler
// gets it.
func (f *Fake) Invalidation(name string) []byte {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, row := range slices.Backward(f.rows) {
		if !slices.ContainsFunc(row.Changes, func(c wire.Change) bool { return c.Name == name }) {
			continue
		}
		payload, err := json.Marshal(wire.Invalidation{
			Version: "0", ID: row.Hash[:26], Source: wire.Source, DetailType: wire.DetailType, Account: Account, Region: Region,
			Time: row.Time, Resources: []string{f.secrets[name].arn}, Detail: row,
		})
		if err != nil {
			f.t.Fatalf("encoding the invalidation of %s: %v", name, err)
		}
		return payload
	}
	f.t.Fatalf("no row of the log of %s/%s names %s", f.env, f.domain, name)
	return nil
}

// announce appends a change of this moment to the log if the log speaks of the secret. The caller holds mu.
func (f *Fake) announce(name string, kind wire.Kind, versionID string) {
	if strings.HasPrefix(name, wire.NamePrefix(f.env, f.domain)) {
		f.append(wire.Change{Name: name, Kind: kind, VersionID: versionID, At: f.now()})
	}
}

// append appends a row to the log. The caller holds mu.
func (f *Fake) append(changes ...wire.Change) {
	row := wire.Row{
		Schema: wire.Schema, Env: f.env, Domain: f.domain, Revision: int64(len(f.rows)) + 1, Time: f.now(), Changes: changes,
	}
	if changes == nil {
		row.Changes = []wire.Change{}
	}
	if last := len(f.rows); last > 0 {
		row.PreviousHash = f.rows[last-1].Hash
	}
	if _, err := row.Seal(); err != nil {
		f.t.Fatalf("appending to the log: %v", err)
	}
	f.rows = append(f.rows, row)
}

// began is when every fake's clock starts.
func began() time.Time { return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC) }

// now is the time by the fake's clock. The caller holds mu.
func (f *Fake) now() time.Time { return began().Add(f.elapsed) }

// tick is the time that a change takes. The caller holds mu.
func (f *Fake) tick() { f.elapsed += time.Nanosecond }

type fakeClock struct{ fake *Fake }

// Now implements secretcache.Clock.
func (c fakeClock) Now() (time.Duration, time.Time) {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	return c.fake.elapsed, c.fake.now()
}

type fakeLog struct{ fake *Fake }

// Since implements secretcache.Log.
func (l fakeLog) Since(ctx context.Context, revision int64, limit int) (secretcache.Page, error) {
	return l.page(ctx, func(rows []wire.Row) []wire.Row {
		rows = rows[min(max(int(revision)-1, 0), len(rows)):]
		return rows[:min(limit, len(rows))]
	})
}

// Tail implements secretcache.Log.
func (l fakeLog) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	return l.page(ctx, func(rows []wire.Row) []wire.Row { return rows[max(0, len(rows)-limit):] })
}

func (l fakeLog) page(ctx context.Context, pick func([]wire.Row) []wire.Row) (secretcache.Page, error) {
	f := l.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return secretcache.Page{}, err
	}
	if f.logErr != nil {
		return secretcache.Page{}, f.logErr
	}
	return secretcache.Page{Rows: slices.Clone(pick(f.rows)), Date: f.now()}, nil
}

type fakeReports struct{ fake *Fake }

// Put implements secretcache.Reports.
func (r fakeReports) Put(ctx context.Context, report wire.Report) error {
	f := r.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	f.reports = append(f.reports, report)
	f.reported.Broadcast()
	return nil
}
