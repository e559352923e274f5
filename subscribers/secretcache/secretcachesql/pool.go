// Package secretcachesql makes a database/sql pool whose connections log in with the current version of a secret, whatever
// the driver:
//
//	db := secretcachesql.Open(secret, 2, secretcachesql.DSN(secretcachepgx.Connector), secretcache.Pending())
//
// Each new connection is opened by secretcache's Try, so a login that the database refuses is tried again with a newer
// version if there is one. A connection that was opened with a version which is not current any more is closed when it
// comes back to the pool, or before it is used again, never while it is in use.
//
// Of a connection that could not be opened its errors tell the SQLSTATE and what is wrong with the network, not the
// driver's text, which may quote parts of the secret. errors.As finds the driver's error in them all the same.
package secretcachesql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/internal/login"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/internal/replaced"
)

// Connect makes the connector that logs in with one version of a secret. It opens no connection itself. Its errors must
// not quote the value.
type Connect func(ctx context.Context, v secretcache.Value) (driver.Connector, error)

// DSN is the Connect for a secret whose text is a data source name. parse is the driver's, and parses at once: an error of
// parsing may quote the value, so its text is not passed on.
func DSN(parse func(dsn string) (driver.Connector, error)) Connect {
	return func(_ context.Context, v secretcache.Value) (driver.Connector, error) {
		connector, err := parse(v.Text())
		var unusable login.Unusable
		if errors.As(err, &unusable) {
			return nil, fmt.Errorf("version %s is no data source name of the driver: %w", v.VersionID(), unusable)
		}
		if err != nil {
			return nil, fmt.Errorf("version %s is no data source name of the driver: a %T", v.VersionID(), err)
		}
		return connector, nil
	}
}

// Open returns a pool of connections that log in with the secret. It keeps maxIdle idle ones, as SetMaxIdleConns does,
// which is not to be called besides. The options are those of Secret.Try, for each login.
func Open(secret *secretcache.Secret, maxIdle int, connect Connect, options ...secretcache.TryOption) *sql.DB {
	p := &pool{secret: secret, connect: connect, options: append([]secretcache.TryOption{secretcache.RejectedIf(IsRejection)}, options...)}
	db := sql.OpenDB(p)
	db.SetMaxIdleConns(maxIdle)
	secret.OnChange(func(_ context.Context, v secretcache.Value) error {
		p.replaced.Changed(v.VersionID())
		db.SetMaxIdleConns(0) // closes those that are idle; what is in use is looked at when it comes back
		db.SetMaxIdleConns(maxIdle)
		return nil
	})
	return db
}

// IsRejection reports whether an error is a database's word that the credential is wrong: SQLSTATE 28P01
// (invalid_password) or 28000 (invalid_authorization_specification), from any driver whose errors tell their SQLSTATE, as
// those of pgx and of lib/pq do.
func IsRejection(err error) bool {
	var state interface{ SQLState() string }
	return errors.As(err, &state) && login.IsRejection(state.SQLState())
}

// A pool is the driver.Connector of one sql.DB.
type pool struct {
	secret   *secretcache.Secret
	connect  Connect
	options  []secretcache.TryOption
	replaced replaced.Versions
}

// Connect implements driver.Connector.
func (p *pool) Connect(ctx context.Context) (driver.Conn, error) {
	opened := &conn{pool: p, changes: p.replaced.SoFar()}
	err := p.secret.Try(ctx, func(ctx context.Context, v secretcache.Value) error {
		connector, err := p.connect(ctx, v)
		if err != nil {
			return err
		}
		opened.version = v.VersionID()
		opened.Conn, err = connector.Connect(ctx)
		return login.Failed(err)
	}, p.options...)
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Driver implements driver.Connector.
func (p *pool) Driver() driver.Driver { return noDriver{} }

type noDriver struct{}

func (noDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("a pool of secretcachesql opens its connections itself")
}
