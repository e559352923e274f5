package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const (
	// beginWithin bounds beginning the log, so that a store that hangs leaves time to say which messages come back.
	beginWithin = 2 * time.Second
	// reserve is what delivering leaves of an invocation's time: enough to answer.
	reserve = 500 * time.Millisecond
	// deliverReserve is what reconciling leaves: enough to deliver what it found.
	deliverReserve = 5 * time.Second
)

// serve is the process of a Lambda function. It returns, with an exit code, only if it cannot start.
func serve(ctx context.Context, environ []string, std stdio) int {
	cfg, err := readConfig(environ)
	logger := slog.New(slog.NewJSONHandler(std.out, &slog.HandlerOptions{Level: cfg.logLevel}))
	if err != nil {
		logger.ErrorContext(ctx, "the configuration is not valid", "problems", strings.Split(err.Error(), "\n"))
		return 1
	}
	on, err := loadAWS(ctx, cfg)
	if err != nil {
		logger.ErrorContext(ctx, "starting", "error", err)
		return 1
	}
	is := thisBuild()
	logger.InfoContext(ctx, "started", "version", is.Version, "go", is.Go, "env", cfg.env, "domain", cfg.domain)
	lambda.StartWithOptions(newHandler(cfg, on, logger, std.out).serve, lambda.WithContext(ctx))
	return 1
}

// A handler answers this function's invocations. It is safe for concurrent use.
type handler struct {
	parts   invalidation.Config // without what only an invocation knows
	reports invalidation.Reports
	tallies tallies
	callers callers
	metrics io.Writer
	begun   atomic.Bool // the log is not empty any more
}

// serve answers one invocation: a command, or whatever else as events.
func (h *handler) serve(ctx context.Context, payload json.RawMessage) (any, error) {
	if c, ours, err := readCommand(payload); ours {
		if err != nil {
			return nil, err
		}
		return h.command(ctx, c)
	}
	return h.handle(ctx, payload)
}

// handle takes one payload from event to pushes. A message comes back until it is understood and appended; after that its
// delivery is in the store, and the next invocation, whatever its occasion, resumes it.
func (h *handler) handle(ctx context.Context, payload json.RawMessage) (answer, error) {
	began, logger, seen := time.Now(), h.logger(ctx), newWitness(h.parts)
	b, err := h.broadcaster(ctx, seen, logger)
	if err != nil {
		return answer{}, err
	}
	batch := newBatch(events.Parse(payload))
	if err := h.begin(ctx, b, batch.of(events.Scheduled)); err != nil {
		logger.ErrorContext(ctx, "beginning the log", "error", err)
	}
	if err := batch.confirm(ctx, b); err != nil {
		logger.ErrorContext(ctx, "confirming", "error", err)
	}
	batch.tell(ctx, logger, seen)
	h.write(ctx, logger, h.handled(ctx, logger, batch, seen, began)) // now: delivering may take minutes, or be killed
	result := readings{}
	if ticks := batch.of(events.Scheduled); len(ticks) == 0 {
		deliver(ctx, b, logger)
	} else {
		h.tick(ctx, b, logger, ticks, seen, result)
	}
	seen.delivered(result)
	h.write(ctx, logger, result)
	return batch.answer()
}

// tick delivers what is open, and looks for what nobody told of.
func (h *handler) tick(ctx context.Context, b *invalidation.Broadcaster, logger *slog.Logger, ticks batch, seen *witness, result readings) {
	half, cancel := halfOf(ctx) // or a long fan-out would leave nothing to reconcile in
	deliver(half, b, logger)
	cancel()
	r, err := reconcile(ctx, b, logger)
	h.ticked(ctx, b, logger, seen, tickResult{ticks, r, err}, result)
	if r.Found > 0 {
		deliver(ctx, b, logger)
	}
}

func (h *handler) logger(ctx context.Context) *slog.Logger {
	invocation, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return h.parts.Logger
	}
	return h.parts.Logger.With("requestId", invocation.AwsRequestID)
}

// broadcaster returns one for this invocation, whose account is that of the function.
func (h *handler) broadcaster(ctx context.Context, seen *witness, logger *slog.Logger) (*invalidation.Broadcaster, error) {
	function, err := invoked(ctx)
	if err != nil {
		return nil, err
	}
	parts := h.parts
	parts.Account, parts.Log, parts.Fanouts, parts.Control, parts.Logger = function.AccountID, seen, seen, seen, logger
	return invalidation.New(parts)
}

// invoked returns the ARN with which this function was invoked.
func invoked(ctx context.Context) (arn.ARN, error) {
	invocation, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return arn.ARN{}, errors.New("the invocation does not say which function it is of")
	}
	function, err := arn.Parse(invocation.InvokedFunctionArn)
	if err != nil {
		return arn.ARN{}, fmt.Errorf("reading the invoked function's ARN: %w", err)
	}
	return function, nil
}

// begin begins an empty log and tells which manifest is packaged: once in a process, and at every tick, since the table may have been restored meanwhile. Only
// a tick needs it to succeed: a first change begins a log as well.
func (h *handler) begin(ctx context.Context, b *invalidation.Broadcaster, ticks batch) error {
	if h.begun.Load() && len(ticks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, beginWithin)
	defer cancel()
	if err := b.Begin(ctx); err != nil {
		ticks.fail(err)
		return err
	}
	h.begun.Store(true)
	if err := h.parts.Subscribed.Publish(ctx, time.Now().UTC()); err != nil { // people wait for it, events do not
		h.logger(ctx).ErrorContext(ctx, "telling which manifest came with the deployment: the next tick tries again", "error", err)
	}
	return nil
}

// deliver stops early enough to answer before Lambda ends the invocation.
func deliver(ctx context.Context, b *invalidation.Broadcaster, logger *slog.Logger) {
	within, cancel := endingBefore(ctx, reserve)
	defer cancel()
	if err := b.Deliver(within); err != nil {
		logger.ErrorContext(ctx, "delivering: the next invocation resumes it", "error", err)
	}
}

// reconcile looks for changes whose events never came. It stops early enough to deliver them.
func reconcile(ctx context.Context, b *invalidation.Broadcaster, logger *slog.Logger) (invalidation.Reconciled, error) {
	within, cancel := endingBefore(ctx, deliverReserve)
	defer cancel()
	r, err := b.Reconcile(within)
	if err != nil {
		logger.ErrorContext(ctx, "reconciling: the next tick begins again", "error", err)
	}
	logger.InfoContext(ctx, "reconciled", "listed", r.Listed, "described", r.Described, "found", r.Found, "full", r.Full, "completed", r.Completed)
	return r, err
}

// halfOf returns a context that ends when half of what is left of the invocation is over.
func halfOf(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/2)
}

// endingBefore returns a context that ends a while before the invocation does.
func endingBefore(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-d))
}
