package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// A batch is what one invocation brought, and what became of it.
type batch []*item

// An item is one event. Its outcome is what Parse said, or, of a signal, how handling it ended.
type item struct {
	events.Result
	outcome string
	reason  string // never the event's body
}

func newBatch(results []events.Result) batch {
	all := make(batch, 0, len(results))
	for _, r := range results {
		all = append(all, &item{Result: r, outcome: string(r.Outcome), reason: r.Reason})
	}
	return all
}

func (t batch) of(o events.Outcome) batch {
	var some batch
	for _, i := range t {
		if i.Outcome == o {
			some = append(some, i)
		}
	}
	return some
}

// confirm has the batch's signals confirmed and appended.
func (t batch) confirm(ctx context.Context, b *invalidation.Broadcaster) error {
	signaled := t.of(events.Signaled)
	if len(signaled) == 0 {
		return nil
	}
	signals := make([]events.Signal, 0, len(signaled))
	for _, i := range signaled {
		signals = append(signals, i.Signal)
	}
	handled, err := b.Confirm(ctx, signals)
	for n, i := range signaled {
		i.outcome = string(handled[n])
	}
	if err != nil && len(signaled) == 1 { // else it is not known whose error it is
		signaled[0].reason = err.Error()
	}
	return err
}

// fail ends all of the batch as failed.
func (t batch) fail(why error) {
	for _, i := range t {
		i.outcome, i.reason = string(invalidation.Failed), why.Error()
	}
}

// unfinished: the event is to come again, and after its queue's receive count to be parked where people see it.
func (i *item) unfinished() bool {
	switch i.outcome {
	case string(invalidation.Failed), string(events.Malformed), string(events.Unknown):
		return true
	}
	return false
}

// tell logs one line per event.
func (t batch) tell(ctx context.Context, logger *slog.Logger, seen *witness) {
	for _, i := range t {
		level := slog.LevelInfo
		if i.unfinished() || i.Warning {
			level = slog.LevelWarn
		}
		line := []slog.Attr{
			slog.String("eventId", i.EventID), slog.String("detailType", i.DetailType), slog.String("outcome", i.outcome),
		}
		if i.MessageID != "" {
			line = append(line, slog.String("message", i.MessageID))
		}
		if i.EventName != "" {
			line = append(line, slog.String("eventName", i.EventName))
		}
		if i.Warning {
			line = append(line, slog.String("secret", i.About))
		}
		if i.outcome == string(invalidation.Appended) || i.outcome == string(invalidation.Duplicate) {
			if revision := seen.revisionOf(i.Signal.Name); revision > 0 { // where what became of the change is found
				line = append(line, slog.Int64("revision", revision))
			}
		}
		if i.reason != "" {
			line = append(line, slog.String("reason", i.reason))
		}
		logger.LogAttrs(ctx, level, "event", line...)
	}
}

// answer is what an SQS event source takes as the messages that are to come again
// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
type answer struct {
	Failures []failure `json:"batchItemFailures"` // an empty list, never null, says that all are done
}

type failure struct {
	MessageID string `json:"itemIdentifier"`
}

// answer returns the unfinished messages. An unfinished event that came in no message fails the invocation, which is how
// whoever invoked directly learns of it.
func (t batch) answer() (answer, error) {
	a := answer{Failures: []failure{}}
	var problems []error
	for _, i := range t {
		switch {
		case !i.unfinished():
		case i.MessageID == "":
			problems = append(problems, fmt.Errorf("event %q: %s: %s", i.EventID, i.outcome, i.reason))
		case len(a.Failures) > 0 && a.Failures[len(a.Failures)-1].MessageID == i.MessageID: // another event of that message
		case !slices.Contains(a.Failures, failure{i.MessageID}): // a message may hold several events
			a.Failures = append(a.Failures, failure{i.MessageID})
		}
	}
	return a, errors.Join(problems...)
}
