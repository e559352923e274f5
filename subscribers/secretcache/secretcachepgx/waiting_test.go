package secretcachepgx_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/internal/pgtest"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachepgx"
)

// acquiring tells of each operation that has read the secret and now wants a connection.
type acquiring chan struct{}

func (a acquiring) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	a <- struct{}{}
	return ctx
}

func (acquiring) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {}

func (acquiring) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (acquiring) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// openOne returns a pool of one connection, and what it tells of its operations.
func openOne(t *testing.T, w *pgtest.World, options ...secretcache.TryOption) (*secretcachepgx.Pool, acquiring) {
	t.Helper()
	config, err := pgxpool.ParseConfig("pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	tells := make(acquiring, 64)
	config.ConnConfig.Tracer = tells
	pool, err := secretcachepgx.New(t.Context(), w.Secret, config, secretcachepgx.DSN, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, tells
}

func currentUser(ctx context.Context, pool *secretcachepgx.Pool) (user string, err error) {
	err = pool.QueryRow(ctx, "SELECT current_user").Scan(&user)
	return user, err
}

// TestAnOperationThatWaitedThroughAChangeLogsInWithTheNewVersion: it has read the secret before the change, and opens its
// connection after the pool has closed the old ones. Nothing would close this one.
func TestAnOperationThatWaitedThroughAChangeLogsInWithTheNewVersion(t *testing.T) {
	w := pgtest.New(t)
	blue, green := w.Role("blue", "first"), w.Role("green", "second")
	w.Fake.Put(pgtest.Name, w.DSN(blue, "first"))
	pool, tells := openOne(t, w)
	busy, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-tells
	type answer struct {
		user string
		err  error
	}
	waiter := make(chan answer)
	go func() {
		user, err := currentUser(t.Context(), pool)
		waiter <- answer{user, err}
	}()
	<-tells // it has the old version, and waits for the only connection
	w.Fake.Put(pgtest.Name, w.DSN(green, "second"))
	w.Announced()
	if _, err := w.Secret.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	busy.Release()
	if got := <-waiter; got.err != nil || got.user != green {
		t.Errorf("the one that waited logged in as %q, %v; want %s", got.user, got.err, green)
	}
	if user, err := currentUser(t.Context(), pool); err != nil || user != green {
		t.Errorf("the next logged in as %q, %v; want %s", user, err, green)
	}
	if old, current := w.Connections(blue, 0), w.Connections(green, 1); old != 0 || current != 1 {
		t.Errorf("%d connections of the old role and %d of the new, want none and 1", old, current)
	}
}

// TestAfterAChangeThePendingVersionIsStillLoggedInWith: a value that is not the current one is not always an old one. Here
// the change is told to the pool by the very operation that goes on to AWSPENDING's version.
func TestAfterAChangeThePendingVersionIsStillLoggedInWith(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	pool, _ := openOne(t, w, secretcache.Pending())
	if err := pool.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	pool.Reset()
	w.Fake.PutSilently(pgtest.Name, w.DSN(role, "second")) // of a rotation that nobody announced, and the next has begun
	w.Fake.PutPending(pgtest.Name, w.DSN(role, "third"))
	w.SetPassword(role, "third")
	if err := pool.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
