package secretcachepgx_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/internal/pgtest"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachepgx"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachesql"
)

const canary = "CANARYpw"

// printed is all that printing an error and what it wraps puts out.
func printed(err error) string {
	var all strings.Builder
	for ; err != nil; err = errors.Unwrap(err) {
		fmt.Fprintf(&all, "%v\n%+v\n%#v\n%q\n", err, err, err, err)
	}
	return all.String()
}

// pings opens a connection with the secret by each way there is.
func pings(t *testing.T, w *pgtest.World) map[string]error {
	db := secretcachesql.Open(w.Secret, 1, secretcachesql.DSN(secretcachepgx.Connector))
	t.Cleanup(func() { db.Close() }) //nolint:errcheck // nothing was written
	pool := open(t, w)
	batch := &pgx.Batch{}
	batch.Queue("SELECT 1")
	errs := map[string]error{
		"pgx":   pool.Ping(t.Context()),
		"batch": pool.SendBatch(t.Context(), batch).Close(),
		"sql":   db.PingContext(t.Context()),
	}
	v, err := w.Secret.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	connector, err := secretcachepgx.Connector(v.Text())
	if err == nil {
		_, err = connector.Connect(t.Context())
	}
	errs["Connector"] = err
	return errs
}

func TestNoErrorHasAnythingOfTheSecret(t *testing.T) {
	for name, test := range map[string]struct{ dsn, want string }{
		"an unescaped password that is cut into a database":    {"postgres://app:/" + canary + "@127.0.0.1:1/db", "names no user"},
		"one that is cut into a port and a database":           {"postgres://app:77/" + canary + "@127.0.0.1/db", "names no user"},
		"one whose user stands in the query":                   {"postgres://h:77/" + canary + "@127.0.0.1/db?user=app", "must be escaped"},
		"one that is cut into a host":                          {"postgres://app:1@" + canary + "@127.0.0.1:1/db", "must be escaped"},
		"one with a space, in words":                           {"host=127.0.0.1 port=1 user=app password=first " + canary + "=x", "connection refused"},
		"one that is taken for the database, in words":         {"host=127.0.0.1 port=1 user=app password=first dbname=" + canary, "connection refused"},
		"one that is taken for the user":                       {"postgres://" + canary + "@127.0.0.1:1/db", "connection refused"},
		"a user of the process":                                {"host=127.0.0.1 port=1 dbname=" + canary, "names no user"},
		"what cannot be parsed":                                {`{"password":"` + canary + `"}`, "*pgconn.ParseConfigError"},
		"what cannot be parsed, as a URL":                      {"postgres://app:" + canary + "%zz@127.0.0.1/db", "*pgconn.ParseConfigError"},
		"a fallback":                                           {"host=127.0.0.1,a/" + canary + " port=1 user=app", "must be escaped"},
		"a host that nobody knows":                             {"postgres://app:first@" + canary + ".invalid/db", "no connection to the database"},
		"a user that is named by the query and a plain string": {"postgres://127.0.0.1:1/" + canary + "?user=app", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			w := pgtest.New(t)
			w.Fake.Put(pgtest.Name, test.dsn)
			for way, err := range pings(t, w) {
				switch got := printed(err); {
				case err == nil || !strings.Contains(err.Error(), test.want):
					t.Errorf("%s: got %v, want %q", way, err, test.want)
				case strings.Contains(got, canary):
					t.Errorf("%s quotes the secret: %s", way, got)
				}
			}
		})
	}
}

// TestTheServersWordIsTheCodeOnly: its own text quotes what it was asked for.
func TestTheServersWordIsTheCodeOnly(t *testing.T) {
	w := pgtest.New(t)
	role := w.Role("app", "first")
	w.Fake.Put(pgtest.Name, strings.Replace(w.DSN(role, "first"), "/postgres?", "/"+canary+"?", 1))
	for way, err := range pings(t, w) {
		var said *pgconn.PgError
		if !errors.As(err, &said) || said.Code != "3D000" || !strings.Contains(err.Error(), "SQLSTATE 3D000") {
			t.Errorf("%s: got %v, want the server's invalid_catalog_name", way, err)
		}
		if got := printed(err); strings.Contains(got, canary) {
			t.Errorf("%s quotes the secret: %s", way, got)
		}
	}
}

func TestAnEndedContextIsToldAsSuch(t *testing.T) {
	w := pgtest.New(t)
	w.Fake.Put(pgtest.Name, w.DSN(w.Role("app", "first"), "first"))
	connector, err := secretcachepgx.Connector(w.DSN("app", "first"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := connector.Connect(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("got %v", err)
	}
}

// TestABatchGivesItsConnectionBack: also when it has begun a transaction, which outlives it.
func TestABatchGivesItsConnectionBack(t *testing.T) {
	w := pgtest.New(t)
	w.Fake.Put(pgtest.Name, w.DSN(w.Role("app", "first"), "first"))
	pool := open(t, w)
	acquired := func(step string, want int32) {
		t.Helper()
		if got := pool.Stat().AcquiredConns(); got != want {
			t.Errorf("%s: %d connections are taken, want %d", step, got, want)
		}
	}
	batch := &pgx.Batch{}
	batch.Queue("SELECT 1")
	results := pool.SendBatch(t.Context(), batch)
	acquired("a batch", 1)
	if tx := results.Tx(); tx != nil {
		t.Errorf("it has begun %v", tx)
	}
	if err := errors.Join(results.Close(), results.Close()); err != nil {
		t.Error(err)
	}
	acquired("a closed batch", 0)
	for name, end := range map[string]func(pgx.Tx) error{
		"committed":   func(tx pgx.Tx) error { return tx.Commit(t.Context()) },
		"rolled back": func(tx pgx.Tx) error { return tx.Rollback(t.Context()) },
	} {
		batch := &pgx.Batch{}
		batch.BeginTx(pgx.TxOptions{})
		batch.Queue("SELECT 1")
		results := pool.SendBatch(t.Context(), batch)
		tx := results.Tx()
		if err := results.Close(); err != nil || tx == nil {
			t.Fatalf("%s: %v, %v", name, tx, err)
		}
		acquired("in the transaction", 1)
		if err := end(tx); err != nil {
			t.Error(err)
		}
		acquired(name, 0)
	}
}

// TestADriversErrorIsStillFound: what a caller asks for by its type, database/sql among them.
func TestADriversErrorIsStillFound(t *testing.T) {
	w := pgtest.New(t)
	w.Fake.Put(pgtest.Name, w.DSN("nobody_of_that_name", canary))
	for way, err := range pings(t, w) {
		var connecting *pgconn.ConnectError
		if !errors.As(err, &connecting) || !secretcachepgx.IsRejection(err) || !secretcachesql.IsRejection(err) {
			t.Errorf("%s: got %v, want a rejection", way, err)
		}
		if errors.Is(err, secretcache.ErrDeleted) || errors.Is(err, sql.ErrNoRows) {
			t.Errorf("%s: %v is found to be everything", way, err)
		}
	}
}
