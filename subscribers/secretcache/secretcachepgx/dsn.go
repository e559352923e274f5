package secretcachepgx

import (
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/internal/login"
)

// DSN is the Configure for a secret whose text is a connection string. Where to connect, as whom, how, and the run-time
// parameters are the string's; the rest stays as it is.
//
// It refuses a string that names no user, and one whose host, user or database has an @ or a / in it: that is what becomes
// of a password that should have been escaped, and the server would write it into its log.
func DSN(_ context.Context, v secretcache.Value, config *pgx.ConnConfig) error {
	parsed, err := parse(v.Text())
	if err != nil {
		return fmt.Errorf("version %s is no connection string: %w", v.VersionID(), err)
	}
	config.Host, config.Port, config.Database = parsed.Host, parsed.Port, parsed.Database
	config.User, config.Password = parsed.User, parsed.Password
	config.TLSConfig, config.Fallbacks = parsed.TLSConfig, parsed.Fallbacks
	config.SSLNegotiation, config.SSLCertMode = parsed.SSLNegotiation, parsed.SSLCertMode
	config.ChannelBinding, config.RequireAuth = parsed.ChannelBinding, parsed.RequireAuth
	if parsed.ValidateConnect != nil {
		config.ValidateConnect = parsed.ValidateConnect
	}
	maps.Copy(config.RuntimeParams, parsed.RuntimeParams)
	return nil
}

// Connector is for a database/sql pool that logs in by pgx: secretcachesql.DSN(secretcachepgx.Connector). Unlike pgx's own
// driver it parses the connection string at once. It refuses what DSN refuses.
func Connector(dsn string) (driver.Connector, error) {
	config, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	return connector{stdlib.GetConnector(*config)}, nil
}

// A connector's errors do not have pgx's text.
type connector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, login.Failed(err)
	}
	return conn, nil
}

const (
	errNoUser    login.Unusable = "it names no user"
	errUnescaped login.Unusable = "its host, user or database has an @ or a / in it: a password in a URL must be escaped"
)

// parse returns what a connection string says. Its errors are login.Unusable.
func parse(dsn string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil { // its text is not passed on: it may quote the value
		return nil, login.Unusable(fmt.Sprintf("a %T", err))
	}
	if !namesUser(dsn) {
		return nil, errNoUser
	}
	places := []string{config.Host, config.User, config.Database}
	for _, fallback := range config.Fallbacks {
		places = append(places, fallback.Host)
	}
	for _, place := range places {
		if strings.ContainsAny(place, "@/") {
			return nil, errUnescaped
		}
	}
	return config, nil
}

// namesUser reports whether a string that can be parsed says as whom to log in. Without that pgx takes PGUSER or the
// process's own user, and what was meant to be one stands elsewhere.
func namesUser(dsn string) bool {
	for _, scheme := range []string{"postgresql://", "postgres://"} {
		rest, ok := strings.CutPrefix(dsn, scheme)
		if !ok {
			continue
		}
		if i := strings.IndexAny(rest, "@/"); i > 0 && rest[i] == '@' && rest[0] != ':' {
			return true
		}
		_, query, _ := strings.Cut(rest, "?")
		values, err := url.ParseQuery(query)
		return err == nil && values.Get("user") != ""
	}
	const nobody = "no user named"
	config, err := pgx.ParseConfig("user='" + nobody + "' " + dsn) // what comes later in a string counts
	return err == nil && config.User != nobody
}
