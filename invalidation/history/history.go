// Package history says what has happened, from what the broadcaster and the clients have written: for people on call, for
// whoever waits for a change to have arrived, and for auditors. It reads and never writes. It holds no AWS SDK.
package history

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A Row is a row of the change log as the store keeps it, and what made it.
type Row struct {
	wire.Row
	// Key is where the row stands in the log: the wire.RevisionKey of its revision, unless somebody moved it.
	Key string
	// Body is what the row's hash is of.
	Body []byte
	// Record is the revision's audit record as it is stored, which the row's AuditHash is of, and Causes is what it says. Both
	// are nil if the store has none.
	Record []byte
	Causes []invalidation.Cause
}

// A Span is a part of the log. The zero Span is all of it, oldest first.
type Span struct {
	// From and To are the first and the last revision; 0 for the log's own.
	From, To    int64
	NewestFirst bool
}

// Log reads the change log as people need it.
type Log interface {
	// Rows returns the rows of a span one after another; whoever ends early has the rest not read. It ends with the first
	// error. Its memory does not grow with the span.
	Rows(ctx context.Context, span Span) iter.Seq2[Row, error]
}

// Store is what the broadcaster has written down.
type Store interface {
	Log
	// Load reads the log's head and then the rows of the named secrets.
	Load(ctx context.Context, names []string) (invalidation.Snapshot, error)
	// Open returns the open fan-outs, oldest first.
	Open(ctx context.Context) ([]invalidation.Fanout, error)
	// Outcomes returns a revision's deliveries one after another, of one service, or of all if it is empty. It ends with the
	// first error, and its memory does not grow with them.
	Outcomes(ctx context.Context, revision int64, service string) iter.Seq2[invalidation.Delivery, error]
}

// Config says which domain a Reader reads, and from where.
type Config struct {
	Env, Domain string               // required
	Store       Store                // required
	Reports     invalidation.Reports // required
	Manifests   Manifests            // required
	// Timeouts is for Wait only. Nil: every function may run for MaxTimeout.
	Timeouts Timeouts
	// Now is time.Now if nil.
	Now func() time.Time
}

// A Reader reads one domain's history. It is safe for concurrent use.
type Reader struct{ cfg Config }

// New returns a Reader, or an error that tells all that is missing.
func New(cfg Config) (*Reader, error) {
	var problems []error
	for _, required := range []struct {
		name string
		set  bool
	}{
		{"Env", cfg.Env != ""},
		{"Domain", cfg.Domain != ""},
		{"Store", cfg.Store != nil},
		{"Reports", cfg.Reports != nil},
		{"Manifests", cfg.Manifests != nil},
	} {
		if !required.set {
			problems = append(problems, fmt.Errorf("%s is missing", required.name))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Reader{cfg}, nil
}

// Errors of a Reader.
var (
	// ErrUnknown: the broadcaster has never seen the secret, or nothing was heard of the service.
	ErrUnknown = errors.New("not known to the broadcaster")
	// ErrNotYet: what was waited for has not come, or cannot come by itself.
	ErrNotYet = errors.New("not yet")
)

// NameOfARN returns the full name of the secret that an ARN of the domain's account and Region names, with its suffix or without:
// only the ARN that the broadcaster has seen tells a suffix from a name's own end.
func (r *Reader) NameOfARN(ctx context.Context, arn string) (string, error) {
	whole := arn[strings.LastIndex(arn, ":")+1:]
	names := []string{whole}
	if i := strings.LastIndex(whole, "-"); i > 0 {
		names = append(names, whole[:i])
	}
	snapshot, err := r.cfg.Store.Load(ctx, names)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if row := snapshot.Secrets[name]; row.ARN == arn || name == whole && row.Sequence > 0 {
			return name, nil
		}
	}
	return "", fmt.Errorf("the secret with this ARN is %w", ErrUnknown)
}

// rowAt returns the row at a revision, or false if the log has none.
func rowAt(ctx context.Context, log Log, revision int64) (Row, bool, error) {
	for row, err := range log.Rows(ctx, Span{From: revision, To: revision}) {
		return row, err == nil, err
	}
	return Row{}, false, nil
}

// change returns what a row says of a secret.
func (row Row) change(name string) (wire.Change, bool) {
	for _, c := range row.Changes {
		if c.Name == name {
			return c, true
		}
	}
	return wire.Change{}, false
}
