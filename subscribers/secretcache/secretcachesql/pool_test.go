package secretcachesql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/internal/pgtest"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachepgx"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachesql"
)

func dsn() secretcachesql.Connect { return secretcachesql.DSN(secretcachepgx.Connector) }

func open(t *testing.T, w *pgtest.World, connect secretcachesql.Connect, options ...secretcache.TryOption) *sql.DB {
	t.Helper()
	db := secretcachesql.Open(w.Secret, 8, connect, options...)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// user returns whom a new or an idle connection has logged in as.
func user(t *testing.T, db *sql.DB) string {
	t.Helper()
	var user string
	if err := db.QueryRowContext(t.Context(), "SELECT current_user").Scan(&user); err != nil {
		t.Errorf("the query failed: %v", err)
	}
	return user
}

// A worker logs in anew for each operation.
func worker(t *testing.T, db *sql.DB) func() error {
	db.SetConnMaxLifetime(time.Nanosecond)
	return func() error {
		_, err := db.ExecContext(t.Context(), "SELECT 1")
		return err
	}
}

// TestASingleUserRotationFailsNoOperation: the role has one password, and setSecret changes it before finishSecret moves
// AWSCURRENT. A worker that reads the secret with Get runs beside.
func TestASingleUserRotationFailsNoOperation(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	withTry := worker(t, open(t, w, dsn(), secretcache.Pending()))
	withGet := func() error {
		v, err := w.Secret.Get(t.Context())
		if err != nil {
			return err
		}
		conn, err := pgx.Connect(t.Context(), v.Text())
		if err != nil {
			return err
		}
		return conn.Close(t.Context())
	}
	var failed struct{ withTry, withGet int }
	operations := func(step string) {
		t.Helper()
		for range 5 {
			if err := withTry(); err != nil {
				failed.withTry++
				t.Errorf("%s: %v", step, err)
			}
			if withGet() != nil {
				failed.withGet++
			}
		}
	}
	operations("before")
	w.Fake.PutPending(pgtest.Name, w.DSN(role, "second"))
	operations("after createSecret")
	w.SetPassword(role, "second")
	operations("after setSecret")
	w.Fake.Advance(time.Minute)
	operations("a minute after setSecret")
	w.Fake.Promote(pgtest.Name)
	operations("after finishSecret, before the next check")
	w.Announced()
	operations("after the next check")
	if failed.withTry != 0 || failed.withGet != 15 {
		t.Errorf("of 30 operations %d failed with Try, want none, and %d with Get, want 15: else this test shows nothing",
			failed.withTry, failed.withGet)
	}
}

func TestAPasswordThatNobodyAnnouncedIsFound(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	operation := worker(t, open(t, w, dsn()))
	if err := operation(); err != nil {
		t.Fatal(err)
	}
	w.SetPassword(role, "second")
	first := operation()
	if !errors.Is(first, secretcache.ErrRejected) && !secretcachesql.IsRejection(first) {
		t.Errorf("got %v, want a rejection: Secrets Manager has nothing newer yet", first)
	}
	w.Fake.PutSilently(pgtest.Name, w.DSN(role, "second"))
	w.Fake.Advance(5 * time.Second) // the last rejection has had the secret read
	for range 3 {
		if err := operation(); err != nil {
			t.Error(err)
		}
	}
}

// TestAlternatingRolesDrain: after the change the old role's connections go, those that are idle at once, those in use
// when they come back, and no query is cut.
func TestAlternatingRolesDrain(t *testing.T) {
	w := pgtest.New(t)
	blue, green := w.Role("blue", "first"), w.Role("green", "second")
	w.Fake.Put(pgtest.Name, w.DSN(blue, "first"))
	db := open(t, w, dsn())

	queries := make([]*sql.Rows, 3) // in use
	for i := range queries {
		rows, err := db.QueryContext(t.Context(), "SELECT current_user, n FROM generate_series(1, 10000) n")
		if err != nil || !rows.Next() {
			t.Fatal(err)
		}
		queries[i] = rows
	}
	var idle [4]*sql.Conn // more than database/sql tries when it meets bad ones
	for i := range idle {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		idle[i] = conn
	}
	for _, conn := range idle {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.Connections(blue, 7); got != 7 {
		t.Fatalf("%d connections of the old role, want 7", got)
	}

	w.Fake.Put(pgtest.Name, w.DSN(green, "second"))
	if got := user(t, db); got != blue {
		t.Errorf("logged in as %s before the next check is due", got)
	}
	w.Announced()
	if got := user(t, db); got != green {
		t.Errorf("logged in as %s, want the new role", got)
	}
	if got := w.Connections(blue, 3); got != 3 {
		t.Errorf("%d connections of the old role, want the 3 in use", got)
	}
	for _, rows := range queries {
		n := 1
		for rows.Next() {
			n++
		}
		if err := rows.Err(); err != nil || n != 10000 {
			t.Errorf("a query in use was cut after %d rows: %v", n, err)
		}
	}
	if got := w.Connections(blue, 0); got != 0 {
		t.Errorf("%d connections of the old role are left", got)
	}
	if got := user(t, db); got != green || w.Connections(green, 1) != 1 {
		t.Errorf("logged in as %s, with %d connections, want one of the new role", got, w.Connections(green, 1))
	}
}

func TestAConnectionOpenedWithThePendingVersionStays(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	if _, err := w.Secret.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Fake.PutPending(pgtest.Name, w.DSN(role, "second"))
	w.SetPassword(role, "second")
	db := open(t, w, dsn(), secretcache.Pending())
	session := func() (pid int) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	first := session()
	if again := session(); again != first {
		t.Error("the connection was not used again")
	}
	w.Fake.Promote(pgtest.Name)
	w.Announced()
	if again := session(); again != first {
		t.Error("the connection of what has become current was closed")
	}
	w.SetPassword(role, "third")
	w.Fake.Put(pgtest.Name, w.DSN(role, "third"))
	w.Announced()
	if again := session(); again == first {
		t.Error("the connection outlived its version")
	}
}

func TestManyConnectionsAtOnceThroughARotation(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	db := open(t, w, dsn(), secretcache.Pending())
	db.SetConnMaxLifetime(time.Nanosecond)
	db.SetMaxOpenConns(16)
	var workers sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := db.ExecContext(t.Context(), "SELECT 1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for rotation := range 3 {
		next := fmt.Sprintf("password-%d", rotation)
		w.Fake.PutPending(pgtest.Name, w.DSN(role, next))
		w.SetPassword(role, next)
		user(t, db)
		w.Fake.Promote(pgtest.Name)
		user(t, db)
		w.Announced()
		user(t, db)
		w.Fake.Advance(5 * time.Second) // the next rotation is not at once
	}
	close(stop)
	workers.Wait()
}

// TestASecretInJSON: the caller says what a version means.
func TestASecretInJSON(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, fmt.Sprintf(`{"username":%q,"password":"first"}`, role))
	db := open(t, w, func(_ context.Context, v secretcache.Value) (driver.Connector, error) {
		var login struct{ Username, Password string }
		if err := json.Unmarshal([]byte(v.Text()), &login); err != nil {
			return nil, fmt.Errorf("version %s is not JSON", v.VersionID())
		}
		config, err := pgx.ParseConfig(w.DSN("", ""))
		if err != nil {
			return nil, err
		}
		config.User, config.Password = login.Username, login.Password
		return stdlib.GetConnector(*config), nil
	})
	if got := user(t, db); got != role {
		t.Errorf("logged in as %s, want %s", got, role)
	}
}

func TestAnErrorDoesNotQuoteTheSecret(t *testing.T) {
	w := pgtest.New(t)
	version := w.Fake.Put(pgtest.Name, `{"password":"canary"}`) // which pgx's own error quotes
	err := open(t, w, dsn()).PingContext(t.Context())
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), version) {
		t.Errorf("got %v, want an error with the version's id only", err)
	}
	role := w.Role("app", "first")
	version = w.Fake.Put(pgtest.Name, w.DSN(role, "canary"))
	w.Announced()
	err = open(t, w, dsn()).PingContext(t.Context())
	if !secretcachesql.IsRejection(err) || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), version) {
		t.Errorf("got %v, want the database's rejection with the version's id", err)
	}
}

// TestWhatIsNoRejection: only the database's word about the credential is one.
func TestWhatIsNoRejection(t *testing.T) {
	w := pgtest.New(t)
	role, locked := w.Role("app", "first"), w.Role("locked", "first")
	w.Lock(locked)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		dsn  string
		want bool
	}{
		"a wrong password":        {t.Context(), w.DSN(role, "wrong"), true},
		"an unknown role":         {t.Context(), w.DSN("nobody_of_that_name", "first"), true},
		"a role that may not":     {t.Context(), w.DSN(locked, "first"), true},
		"no server":               {t.Context(), "postgres://app:first@127.0.0.1:1/postgres", false},
		"an ended context":        {ended, w.DSN(role, "wrong"), false},
		"a database that is none": {t.Context(), strings.Replace(w.DSN(role, "first"), "/postgres?", "/none?", 1), false},
	} {
		connector, err := secretcachepgx.Connector(test.dsn)
		if err != nil {
			t.Fatal(err)
		}
		_, err = connector.Connect(test.ctx)
		if got := secretcachesql.IsRejection(err); err == nil || got != test.want {
			t.Errorf("%s: %v: got %t, want %t", name, err, got, test.want)
		}
	}
}

// TestTheDriverIsReached: what database/sql asks a connection for goes to pgx.
func TestTheDriverIsReached(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, w.DSN(role, "first"))
	db := open(t, w, dsn())
	var list []string
	err := db.QueryRowContext(t.Context(), "SELECT $1::text[]", []string{"a", "b"}).Scan(stdlibSlice(&list)) // pgx's own check of arguments
	if diff := cmp.Diff([]string{"a", "b"}, list); err != nil || diff != "" {
		t.Error(err, diff)
	}
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var level, readOnly string
	if err := tx.QueryRow("SHOW transaction_isolation").Scan(&level); err != nil || level != "serializable" {
		t.Errorf("the level is %q, %v", level, err)
	}
	if err := tx.QueryRow("SHOW transaction_read_only").Scan(&readOnly); err != nil || readOnly != "on" {
		t.Errorf("read only is %q, %v", readOnly, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
	statement, err := db.PrepareContext(t.Context(), "SELECT $1::int + 1")
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := statement.QueryRowContext(t.Context(), 41).Scan(&n); err != nil || n != 42 {
		t.Errorf("got %d, %v", n, err)
	}
	if err := statement.Close(); err != nil {
		t.Error(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Raw(func(c any) error {
		_, ok := c.(interface{ Unwrap() driver.Conn }).Unwrap().(*stdlib.Conn) //nolint:forcetypeassert // it panics
		if !ok {
			return errors.New("it is not pgx's connection")
		}
		return nil
	})
	if err := errors.Join(err, conn.Close(), db.PingContext(t.Context())); err != nil {
		t.Error(err)
	}
}

func stdlibSlice(to *[]string) sql.Scanner { return arrayScanner{to} }

type arrayScanner struct{ to *[]string }

func (s arrayScanner) Scan(src any) error {
	text, ok := src.(string)
	if !ok {
		return fmt.Errorf("got a %T", src)
	}
	*s.to = strings.Split(strings.Trim(text, "{}"), ",")
	return nil
}
