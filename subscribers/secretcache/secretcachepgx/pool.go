// Package secretcachepgx makes a pgxpool whose connections log in with the current version of a secret:
//
//	pool, err := secretcachepgx.New(ctx, secret, config, secretcachepgx.DSN)
//
// It is used like a *pgxpool.Pool. Each operation reads the secret, so the log is checked at use; an operation whose new
// connection is refused for its credential is begun again with a newer version if there is one (see secretcache's Try);
// and on a change the pool's connections are closed as they come back, never while they are in use.
//
// Of a connection that could not be opened its errors tell the SQLSTATE and what is wrong with the network, not pgx's text,
// which quotes parts of the secret. errors.As finds *pgconn.PgError in them all the same.
package secretcachepgx

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/internal/login"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/internal/replaced"
)

// Configure puts one version of a secret into the configuration of a new connection: its password, for example. Its
// errors must not quote the value.
type Configure func(ctx context.Context, v secretcache.Value, config *pgx.ConnConfig) error

// IsRejection reports whether an error is PostgreSQL's word, when a connection was opened, that the credential is wrong:
// invalid_password (28P01) or invalid_authorization_specification (28000).
func IsRejection(err error) bool {
	var (
		connecting *pgconn.ConnectError
		said       *pgconn.PgError
	)
	return errors.As(err, &connecting) && errors.As(err, &said) && login.IsRejection(said.Code)
}

// A Pool is a *pgxpool.Pool that follows a secret.
type Pool struct {
	*pgxpool.Pool
	secret   *secretcache.Secret
	options  []secretcache.TryOption
	replaced replaced.Versions
}

// New returns a pool of connections that log in with the secret. config is as pgxpool.NewWithConfig takes it, and is not
// changed; configure completes it for each new connection, after config's own BeforeConnect. The options are those of
// Secret.Try, for each operation.
func New(
	ctx context.Context, secret *secretcache.Secret, config *pgxpool.Config, configure Configure, options ...secretcache.TryOption,
) (*Pool, error) {
	config = config.Copy()
	p := &Pool{secret: secret, options: append([]secretcache.TryOption{secretcache.RejectedIf(IsRejection)}, options...)}
	before := config.BeforeConnect
	config.BeforeConnect = func(ctx context.Context, connecting *pgx.ConnConfig) error {
		if before != nil {
			if err := before(ctx, connecting); err != nil {
				return err
			}
		}
		v, err := p.valueFor(ctx)
		if err != nil {
			return err
		}
		return configure(ctx, v, connecting)
	}
	inner, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	p.Pool = inner
	secret.OnChange(func(_ context.Context, v secretcache.Value) error {
		p.replaced.Changed(v.VersionID()) // first: a connection begun before it is closed by Reset, one begun after it sees it
		inner.Reset()
		return nil
	})
	return p, nil
}

// valueKey is under what a context carries an operation's attempt for the connections that are opened for it.
type valueKey struct{}

// An attempt is one use of a value by an operation.
type attempt struct {
	value   secretcache.Value
	changes int // the pool's before the value was read
}

// valueFor returns the version that a new connection logs in with: the operation's, unless that has been replaced while
// the operation waited for its turn, or what is current, if the pool itself wants some in reserve.
func (p *Pool) valueFor(ctx context.Context) (secretcache.Value, error) {
	if a, ok := ctx.Value(valueKey{}).(attempt); ok && !p.replaced.Since(a.changes, a.value.VersionID()) {
		return a.value, nil
	}
	return p.secret.Get(ctx)
}

// try begins an operation again if it did not begin: its connection was refused.
func (p *Pool) try(ctx context.Context, operation func(context.Context) error) error {
	changes := p.replaced.SoFar()
	return p.secret.Try(ctx, func(ctx context.Context, v secretcache.Value) error {
		err := operation(context.WithValue(ctx, valueKey{}, attempt{v, changes}))
		changes = p.replaced.SoFar() // before the next value is read
		var connecting *pgconn.ConnectError
		if errors.As(err, &connecting) {
			return login.Failed(err)
		}
		return err
	}, p.options...)
}
