package secretcache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

const (
	password = "/bank/test/payments/neon/password"
	apiKey   = "/bank/test/payments/cards/api-key"

	// nextCheck is how long it takes until a read checks the log again.
	nextCheck = secretcache.DefaultCheckEvery + time.Millisecond
	// aChange is the time that a change takes by the fake's clock.
	aChange = time.Nanosecond
)

// newCache returns a cache on a fake, its configuration edited.
func newCache(t testing.TB, fake *secretcachetest.Fake, edits ...func(*secretcache.Config)) *secretcache.Cache {
	t.Helper()
	cfg := fake.Config()
	for _, edit := range edits {
		edit(&cfg)
	}
	cache, err := secretcache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// wantText reads a secret and compares.
func wantText(t testing.TB, secret *secretcache.Secret, want string) {
	t.Helper()
	value, err := secret.Get(t.Context())
	if err != nil || value.Text() != want {
		t.Errorf("got %q, %v; want %q", value.Text(), err, want)
	}
}

// wantFetches compares how often a secret was asked for.
func wantFetches(t testing.TB, fake *secretcachetest.Fake, name string, want int) {
	t.Helper()
	if got := fake.Fetches(name); got != want {
		t.Errorf("%s was asked for %d times, want %d", name, got, want)
	}
}

// A countedLog counts reads, and holds them back while its gate is closed.
type countedLog struct {
	secretcache.Log
	reads atomic.Int64
	gate  chan struct{} // nil: open
}

func counted(cfg *secretcache.Config) *countedLog {
	log := &countedLog{Log: cfg.Log}
	cfg.Log = log
	return log
}

func (l *countedLog) Since(ctx context.Context, revision int64, limit int) (secretcache.Page, error) {
	l.reads.Add(1)
	l.pass()
	return l.Log.Since(ctx, revision, limit)
}

func (l *countedLog) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	l.reads.Add(1)
	l.pass()
	return l.Log.Tail(ctx, limit)
}

func (l *countedLog) pass() {
	if l.gate != nil {
		<-l.gate
	}
}

// heldSecrets holds the answers of Secrets Manager back until its gate is opened: they are of when they were asked for.
type heldSecrets struct {
	secretcache.Secrets
	gate chan struct{}
}

func (s heldSecrets) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	fetched, err := s.Secrets.Get(ctx, id, versionID)
	<-s.gate
	return fetched, err
}

// handlerFunc is a team's own handler.
type handlerFunc func(ctx context.Context, payload []byte) ([]byte, error)

func (f handlerFunc) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return f(ctx, payload)
}

// notReached is a handler that no push may reach.
func notReached(t testing.TB) secretcache.Handler {
	return handlerFunc(func(_ context.Context, payload []byte) ([]byte, error) {
		t.Errorf("the function's own handler was called with %s", payload)
		return nil, nil
	})
}

// push calls a handler with an invalidation and returns its ack.
func push(t testing.TB, handler secretcache.Handler, payload []byte) wire.Ack {
	t.Helper()
	answer, err := handler.Invoke(t.Context(), payload)
	if err != nil {
		t.Fatalf("the push failed: %v", err)
	}
	var ack wire.Ack
	if err := json.Unmarshal(answer, &ack); err != nil {
		t.Fatalf("the answer is no ack: %v: %s", err, answer)
	}
	return ack
}

// forged changes a push's detail.
func forged(t testing.TB, payload []byte, change func(*wire.Row)) []byte {
	t.Helper()
	var inv wire.Invalidation
	if err := json.Unmarshal(payload, &inv); err != nil {
		t.Fatal(err)
	}
	change(&inv.Detail)
	out, err := json.Marshal(inv)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// logged is a logger and what it has been told.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }
