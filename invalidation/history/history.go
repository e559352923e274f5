// Package history says what has happened, from what the broadcaster and the clients have written: for people on call, for
// whoever waits for a change to have arrived, and for auditors. It reads and never writes. It holds no AWS SDK.
package history

import (
	"context"
	"iter"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A Row is a row of the change log as the store keeps it, and what made it.
type Row struct {
	wire.Row
	// Body is what the row's hash is of.
	Body []byte
	// Causes is nil if the store has no audit record of the revision.
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
