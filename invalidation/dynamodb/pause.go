package dynamodb

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstPause   = 25 * time.Millisecond
	longestPause = time.Second
)

// A pacing says how long to wait before what DynamoDB left unprocessed is sent again: it did so since the table is asked for
// more than it gives (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html). The zero
// pacing has not waited yet.
type pacing struct{ last time.Duration }

// after waits if anything was left, longer each time, and a part of it by chance, since others have to wait too. It ends with
// the context, whose error it returns.
func (p *pacing) after(ctx context.Context, left int) error {
	if left == 0 {
		p.last = 0
		return nil
	}
	p.last = min(max(firstPause, 2*p.last), longestPause)
	timer := time.NewTimer(p.last/2 + rand.N(p.last/2)) //nolint:gosec // no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
