package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// lookAtSubscriptions looks at the manifest that holds, and at the functions that it names. Which one that is stands in the
// check.
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
		check += ", packaged with the deployment"
	default:
		check += fmt.Sprintf(", applied %s by %s: %s", h.At.Format(time.RFC3339), h.By, h.Reason)
	}
	const apply = "broadcaster subscriptions apply FILE --reason REASON"
	text, err := store.Manifest(ctx, h.Digest)
	switch {
	case codeOf(err) != "":
		p.dark(check, err)
		return
	case err != nil:
		p.ill(check, "nothing is pushed: "+err.Error(), apply)
		return
	}
	f, err := subscribers.Parse("the manifest that holds", text, p.cfg.Env, p.cfg.Domain)
	if err != nil {
		p.dark(check, fmt.Errorf("this version cannot read it: %w", err))
		return
	}
	problems, err := history.WrongFunctions(ctx, f, lambda.NewTags(p.lambda, p.function, p.function.Region))
	if err != nil {
		p.dark(check, err)
		return
	}
	for _, problem := range problems {
		p.ill(check, problem.Error(), apply)
	}
	if len(problems) == 0 {
		p.well(check)
	}
}
