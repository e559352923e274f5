// Package pgtest gives tests a role of their own on the PostgreSQL server that test/tools/with-postgres.sh starts.
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// Name is the secret of every World.
const Name = "/bank/test/payments/neon/connection-string"

// A World is a test's own: a cache on a fake Secrets Manager, whose clock it sets, and a database.
type World struct {
	Fake   *secretcachetest.Fake
	Secret *secretcache.Secret

	t      testing.TB
	admin  *pgx.Conn
	server *url.URL
}

// New connects to the server as a superuser.
func New(t testing.TB) *World {
	t.Helper()
	server, err := url.Parse(os.Getenv("POSTGRES_URL"))
	if err != nil || server.Host == "" {
		t.Fatal("POSTGRES_URL names no PostgreSQL server; run make test, or: bash test/tools/with-postgres.sh go test ./subscribers/...")
	}
	admin, err := pgx.Connect(t.Context(), server.String())
	if err != nil {
		t.Fatal(err)
	}
	w := &World{Fake: secretcachetest.New(t), t: t, admin: admin, server: server}
	t.Cleanup(func() { admin.Close(context.Background()) }) //nolint:errcheck // the server ends too
	cache, err := secretcache.New(w.Fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	w.Secret = cache.Secret(Name)
	return w
}

// Role makes a role that may log in, and drops it at the test's end. Its name is the test's, this process's id, since tests
// of the same name run beside it in other packages, and the suffix.
func (w *World) Role(suffix, password string) string {
	w.t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "_", " ", "_", "#", "_").Replace(w.t.Name()))
	role := fmt.Sprintf("%s_%d_%s", name, os.Getpid(), suffix)
	role = role[max(0, len(role)-63):] // NAMEDATALEN
	w.exec("CREATE ROLE %s LOGIN PASSWORD '"+password+"'", role)
	w.t.Cleanup(func() {
		for _, statement := range []string{"DROP OWNED BY ", "DROP ROLE "} {
			if _, err := w.admin.Exec(context.Background(), statement+pgx.Identifier{role}.Sanitize()); err != nil {
				w.t.Error(err)
			}
		}
	})
	return role
}

// SetPassword is what setSecret does in a rotation.
func (w *World) SetPassword(role, password string) {
	w.t.Helper()
	w.exec("ALTER ROLE %s PASSWORD '"+password+"'", role)
}

// Lock takes a role's right to log in.
func (w *World) Lock(role string) {
	w.t.Helper()
	w.exec("ALTER ROLE %s NOLOGIN", role)
}

func (w *World) exec(format, role string) {
	w.t.Helper()
	if _, err := w.admin.Exec(w.t.Context(), fmt.Sprintf(format, pgx.Identifier{role}.Sanitize())); err != nil {
		w.t.Fatal(err)
	}
}

// DSN is what a secret holds for a role.
func (w *World) DSN(role, password string) string {
	dsn := *w.server
	dsn.User = url.UserPassword(role, password)
	return dsn.String()
}

// Connections returns how many sessions of a role the server has, once that is the number wanted or at the latest after
// some seconds: a session ends a moment after its client has left.
func (w *World) Connections(role string, want int) (got int) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		err := w.admin.QueryRow(w.t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", role).Scan(&got)
		if err != nil {
			w.t.Fatal(err)
		}
		if got == want || time.Now().After(deadline) {
			return got
		}
	}
}

// Announced lets the next read check the log.
func (w *World) Announced() { w.Fake.Advance(secretcache.DefaultCheckEvery + time.Millisecond) }
