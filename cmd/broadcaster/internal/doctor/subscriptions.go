package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
)

// lookAtSubscriptions looks at the manifest that holds. Which one that is stands in the check.
func (p *patient) lookAtSubscriptions(ctx context.Context) {
	changes, operations, _ := p.names()
	store := dynamodb.New(p.tables, changes, operations)
	h, err := store.Holding(ctx)
	check := "subscriptions"
	switch {
	case err != nil:
		p.dark(check, err)
		return
	case h.Digest == "":
		p.well(check + ", none told of")
		return
	case h.Packaged:
		p.well(check + ", packaged with the deployment")
		return
	}
	check += fmt.Sprintf(", applied %s by %s: %s", h.At.Format(time.RFC3339), h.By, h.Reason)
	if _, err := store.Manifest(ctx, h.Digest); err != nil {
		p.ill(check, "nothing is pushed: "+err.Error(), "broadcaster subscriptions apply FILE --reason REASON")
		return
	}
	p.well(check)
}
