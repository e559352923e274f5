package endpoint

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
)

// troubles tells whoever looks into the log what is wrong between this endpoint and Secrets Manager: the function may keep it
// to itself.
type troubles struct {
	logger                         *slog.Logger
	unreachable, throttled, denied rarely
}

// failed tells that an operation on a secret failed.
func (t *troubles) failed(operation, id string, err error) {
	if !errors.Is(err, context.Canceled) { // who asked has gone
		t.refused(operation, id, refusalOf(err))
	}
}

// refused tells of what a function is not itself the cause of by what it asks, but not how AWS words it: to a write it might
// quote what was written.
func (t *troubles) refused(operation, id string, r *refusal) {
	warn := func(kind *rarely, message string) {
		kind.warn(t.logger, message, "operation", operation, "secret", id, "status", r.status, "type", r.Type)
	}
	switch {
	case r.status >= http.StatusInternalServerError:
		warn(&t.unreachable, "Secrets Manager cannot be reached")
	case strings.HasPrefix(r.Type, "Throttling"):
		warn(&t.throttled, "Secrets Manager answers to fewer requests than it is asked")
	case isDenial(r.Type):
		warn(&t.denied, "Secrets Manager denies what the function asks")
	}
}

// isDenial reports whether an error is about the function's role, its credentials or a key
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html).
func isDenial(kind string) bool {
	for _, one := range []string{"AccessDenied", "NotAuthorized", "DecryptionFailure", "EncryptionFailure", "ExpiredToken", unknownClient, invalidSignature} {
		if strings.HasPrefix(kind, one) {
			return true
		}
	}
	return false
}
