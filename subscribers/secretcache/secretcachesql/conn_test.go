package secretcachesql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachesql"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// A plain driver has what every driver has to have and nothing more. It answers each query with its arguments.
type plain struct{ calls []string }

func (p *plain) Connect(context.Context) (driver.Conn, error) { return p, nil }
func (p *plain) Driver() driver.Driver                        { return nil }
func (p *plain) Close() error                                 { return nil }
func (p *plain) Commit() error                                { return p.note("commit") }
func (p *plain) Rollback() error                              { return p.note("rollback") }

func (p *plain) note(call string) error {
	p.calls = append(p.calls, call)
	return nil
}

func (p *plain) Begin() (driver.Tx, error) { return p, p.note("begin") }

func (p *plain) Prepare(query string) (driver.Stmt, error) {
	return &plainStmt{p}, p.note("prepare " + query)
}

type plainStmt struct{ p *plain }

func (s *plainStmt) Close() error  { return nil }
func (s *plainStmt) NumInput() int { return -1 }

func (s *plainStmt) Exec(args []driver.Value) (driver.Result, error) {
	return driver.RowsAffected(len(args)), s.p.note("exec")
}

func (s *plainStmt) Query(args []driver.Value) (driver.Rows, error) {
	return &plainRows{args}, s.p.note("query")
}

type plainRows struct{ args []driver.Value }

func (r *plainRows) Columns() []string { return []string{"value"} }
func (r *plainRows) Close() error      { return nil }

func (r *plainRows) Next(to []driver.Value) error {
	if len(r.args) == 0 {
		return io.EOF
	}
	to[0], r.args = r.args[0], r.args[1:]
	return nil
}

// TestADriverWithoutExtensions: what it does not implement is answered as database/sql itself would.
func TestADriverWithoutExtensions(t *testing.T) {
	const name = "/bank/test/payments/neon/connection-string"
	fake := secretcachetest.New(t)
	fake.Put(name, "first")
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	p := &plain{}
	db := secretcachesql.Open(cache.Secret(name), 1, secretcachesql.DSN(func(string) (driver.Connector, error) { return p, nil }))
	ctx := t.Context()

	if err := db.PingContext(ctx); err != nil {
		t.Error(err)
	}
	result, err := db.ExecContext(ctx, "UPDATE", 1, int8(2))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); n != 2 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	var value int64
	if err := db.QueryRowContext(ctx, "SELECT", int8(7)).Scan(&value); err != nil || value != 7 {
		t.Errorf("got %d, %v", value, err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	if _, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}); err == nil {
		t.Error("a read-only transaction was begun by a driver that has none")
	}
	if _, err := db.Driver().Open("first"); err == nil {
		t.Error("the pool's driver opens connections without the secret")
	}
	want := []string{"prepare UPDATE", "exec", "prepare SELECT", "query", "begin", "commit"}
	if diff := cmp.Diff(want, p.calls); diff != "" {
		t.Error(diff)
	}
	if secretcachesql.IsRejection(errors.New("28P01")) {
		t.Error("an error without a SQLSTATE is a rejection")
	}
}
