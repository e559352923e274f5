// Package login keeps what a driver says of a login that failed from being put out: a driver's text quotes the host, the
// user and the database, and so does the server's, and a connection string with an unescaped password that happens to
// parse has a part of the password there.
package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Failed returns an error for one of opening a connection. Its text is a fixed sentence with err's type and what has a
// fixed wording: the SQLSTATE, the end of a context, the system's error. errors.Is and errors.As find in it what they find
// in err, so that a caller that asks for *pgconn.PgError gets it, and decides itself about the server's text. There is
// nothing to unwrap: who prints a chain of errors does not get the driver's text either.
func Failed(err error) error {
	var failed *failure
	if err == nil || errors.As(err, &failed) {
		return err
	}
	return &failure{err}
}

type failure struct{ cause error }

func (f *failure) Error() string {
	said := []string{fmt.Sprintf("a %T", f.cause)}
	var (
		state interface{ SQLState() string }
		errno syscall.Errno
	)
	if errors.As(f.cause, &state) && isSQLState(state.SQLState()) {
		said = append(said, "SQLSTATE "+state.SQLState())
	}
	if errors.As(f.cause, &errno) {
		said = append(said, errno.Error())
	}
	for _, ended := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(f.cause, ended) {
			said = append(said, ended.Error())
		}
	}
	return "no connection to the database: " + strings.Join(said, ", ")
}

// GoString is the text too, for %#v.
func (f *failure) GoString() string { return f.Error() }

func (f *failure) Is(target error) bool { return errors.Is(f.cause, target) }

func (f *failure) As(target any) bool { return errors.As(f.cause, target) }

// IsRejection reports whether a state is PostgreSQL's word that a credential is wrong: invalid_password or
// invalid_authorization_specification (https://www.postgresql.org/docs/current/errcodes-appendix.html).
func IsRejection(state string) bool { return state == "28P01" || state == "28000" }

// isSQLState reports whether a state is one: five digits or capital letters.
func isSQLState(s string) bool {
	return len(s) == 5 && strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// Unusable says why a connection string cannot be used, without quoting it.
type Unusable string

func (u Unusable) Error() string { return string(u) }
