package secretcachepgx_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/internal/pgtest"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachepgx"
)

// open returns a pool whose configuration names no server: all is in the secret.
func open(t *testing.T, w *pgtest.World, options ...secretcache.TryOption) *secretcachepgx.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig("application_name=secretcachepgx")
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 4
	pool, err := secretcachepgx.New(t.Context(), w.Secret, config, secretcachepgx.DSN, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type operation func(context.Context, *secretcachepgx.Pool) error

// operations are those of pgxpool.Pool that may open a connection for their caller.
func operations() map[string]operation {
	return map[string]operation{
		"Acquire": func(ctx context.Context, p *secretcachepgx.Pool) error {
			conn, err := p.Acquire(ctx)
			if err == nil {
				conn.Release()
			}
			return err
		},
		"AcquireFunc": func(ctx context.Context, p *secretcachepgx.Pool) error {
			return p.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return conn.Ping(ctx) })
		},
		"Exec": func(ctx context.Context, p *secretcachepgx.Pool) error {
			_, err := p.Exec(ctx, "SELECT 1")
			return err
		},
		"Query": func(ctx context.Context, p *secretcachepgx.Pool) error {
			rows, _ := p.Query(ctx, "SELECT 1") // as pgx's documentation has it: the rows tell it
			_, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
			return err
		},
		"QueryRow": func(ctx context.Context, p *secretcachepgx.Pool) error {
			var n int
			return p.QueryRow(ctx, "SELECT $1::int", 1).Scan(&n)
		},
		"SendBatch": func(ctx context.Context, p *secretcachepgx.Pool) error {
			batch := &pgx.Batch{}
			batch.Queue("SELECT 1")
			return p.SendBatch(ctx, batch).Close()
		},
		"Begin": func(ctx context.Context, p *secretcachepgx.Pool) error {
			tx, err := p.Begin(ctx)
			if err != nil {
				return err
			}
			return tx.Rollback(ctx)
		},
		"BeginTx": func(ctx context.Context, p *secretcachepgx.Pool) error {
			tx, err := p.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
			if err != nil {
				return err
			}
			return tx.Rollback(ctx)
		},
		"CopyFrom": func(ctx context.Context, p *secretcachepgx.Pool) error {
			_, err := p.CopyFrom(ctx, pgx.Identifier{"no_such_table"}, []string{"a"}, pgx.CopyFromRows(nil))
			if err != nil && strings.Contains(err.Error(), "42P01") { // undefined_table: the login is what this is about
				return nil
			}
			return err
		},
		"Ping": func(ctx context.Context, p *secretcachepgx.Pool) error { return p.Ping(ctx) },
	}
}

// TestEveryOperationGetsThroughARotation: between setSecret and finishSecret each opens a new connection.
func TestEveryOperationGetsThroughARotation(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	if _, err := w.Secret.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Fake.PutPending(pgtest.Name, w.DSN(role, "second"))
	w.SetPassword(role, "second")
	for name, do := range operations() {
		if err := do(t.Context(), open(t, w, secretcache.Pending())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		err := do(t.Context(), open(t, w))
		if !secretcachepgx.IsRejection(err) || !strings.Contains(err.Error(), "tried with version") {
			t.Errorf("%s without Pending: got %v, want a rejection: else this test shows nothing", name, err)
		}
	}
	t.Run("none is missing", func(t *testing.T) {
		inner, ctx := reflect.TypeFor[*pgxpool.Pool](), reflect.TypeFor[context.Context]()
		for i := range inner.NumMethod() {
			m := inner.Method(i)
			opens := m.Type.NumIn() > 1 && m.Type.In(1) == ctx && m.Name != "AcquireAllIdle"
			if _, ok := operations()[m.Name]; opens && !ok {
				t.Errorf("pgxpool's %s may open a connection, without Try", m.Name)
			}
		}
	})
}

func TestAWorkerGetsThroughARotation(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	pool := open(t, w, secretcache.Pending())
	work := func(step string) {
		t.Helper()
		for range 4 {
			pool.Reset() // each operation opens a connection
			if _, err := pool.Exec(t.Context(), "SELECT 1"); err != nil {
				t.Errorf("%s: %v", step, err)
			}
		}
	}
	work("before")
	w.Fake.PutPending(pgtest.Name, w.DSN(role, "second"))
	work("after createSecret")
	w.SetPassword(role, "second")
	work("after setSecret")
	w.Fake.Promote(pgtest.Name)
	work("after finishSecret")
	w.Announced()
	work("after the next check")
}

func TestAPasswordThatNobodyAnnouncedIsFound(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	pool := open(t, w)
	if err := pool.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.SetPassword(role, "second")
	w.Fake.PutSilently(pgtest.Name, w.DSN(role, "second"))
	pool.Reset()
	if err := pool.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestARoleThatMayNotLogInAnyMoreIsReplaced(t *testing.T) {
	w := pgtest.New(t)
	blue, green := w.Role("blue", "first"), w.Role("green", "second")
	w.Fake.Put(pgtest.Name, w.DSN(blue, "first"))
	if _, err := w.Secret.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Fake.PutSilently(pgtest.Name, w.DSN(green, "second"))
	w.Lock(blue)
	if err := open(t, w).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAlternatingRolesDrain: after the change the old role's connections go, and no query is cut.
func TestAlternatingRolesDrain(t *testing.T) {
	w := pgtest.New(t)
	blue, green := w.Role("blue", "first"), w.Role("green", "second")
	w.Fake.Put(pgtest.Name, w.DSN(blue, "first"))
	pool := open(t, w)
	rows, err := pool.Query(t.Context(), "SELECT n FROM generate_series(1, 10000) n")
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	if err := pool.Ping(t.Context()); err != nil { // a second connection, idle afterwards
		t.Fatal(err)
	}
	if got := w.Connections(blue, 2); got != 2 {
		t.Fatalf("%d connections of the old role, want 2", got)
	}
	w.Fake.Put(pgtest.Name, w.DSN(green, "second"))
	w.Announced()
	var user string
	if err := pool.QueryRow(t.Context(), "SELECT current_user").Scan(&user); err != nil || user != green {
		t.Errorf("logged in as %q, %v; want %s", user, err, green)
	}
	if got := w.Connections(blue, 1); got != 1 {
		t.Errorf("%d connections of the old role, want the one in use", got)
	}
	n := 1
	for rows.Next() {
		n++
	}
	if rows.Err() != nil || n != 10000 {
		t.Errorf("the query in use was cut after %d rows: %v", n, rows.Err())
	}
	if got := w.Connections(blue, 0); got != 0 {
		t.Errorf("%d connections of the old role are left", got)
	}
}

func TestAnErrorOfTheDatabaseIsReturnedAsItIs(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	pool := open(t, w)
	for name, sql := range map[string]string{
		"no row":               "SELECT 1 WHERE false",
		"an error":             "SELECT 1/0",
		"one after the row":    "SELECT 1/(2-n) FROM generate_series(1, 2) n",
		"one of this SQLSTATE": `DO $$ BEGIN RAISE SQLSTATE '28P01'; END $$`,
	} {
		var n int
		err := pool.QueryRow(t.Context(), sql).Scan(&n)
		if err == nil || secretcachepgx.IsRejection(err) || strings.Contains(err.Error(), "tried with version") {
			t.Errorf("%s: got %v", name, err)
		}
		if want := name == "no row"; errors.Is(err, pgx.ErrNoRows) != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got := w.Fake.Fetches(pgtest.Name); got != 1 {
		t.Errorf("the secret was fetched %d times, want once", got)
	}
	if got := pool.Stat().AcquiredConns(); got != 0 {
		t.Errorf("%d connections were not given back", got)
	}
}

func TestConnectionsInReserveLogInToo(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	config, err := pgxpool.ParseConfig("pool_min_conns=2")
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan struct{}, 8)
	config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		called <- struct{}{}
		return nil
	}
	pool, err := secretcachepgx.New(t.Context(), w.Secret, config, secretcachepgx.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if got := w.Connections(role, 2); got != 2 {
		t.Errorf("%d connections, want 2 that nobody asked for", got)
	}
	select {
	case <-called:
	case <-time.After(5 * time.Second):
		t.Error("the team's own BeforeConnect was not called")
	}
}

func TestAnErrorDoesNotQuoteTheSecret(t *testing.T) {
	w := pgtest.New(t)
	version := w.Fake.Put(pgtest.Name, `{"password":"canary"}`)
	rows, err := open(t, w).Query(t.Context(), "SELECT 1")
	for _, err := range []error{err, rows.Err()} {
		if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), version) {
			t.Errorf("got %v, want an error with the version's id only", err)
		}
	}
	w.Fake.Delete(pgtest.Name)
	w.Announced()
	if err := open(t, w).QueryRow(t.Context(), "SELECT 1").Scan(); !errors.Is(err, secretcache.ErrDeleted) {
		t.Errorf("got %v", err)
	}
}
