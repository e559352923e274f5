package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
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
	logger.InfoContext(ctx, "started", "version", is.Version, "revision", is.Revision, "env", cfg.env, "domain", cfg.domain)
	lambda.StartWithOptions(newHandler(cfg, on, logger).handle, lambda.WithContext(ctx))
	return 1
}

// A handler answers this function's invocations. It is safe for concurrent use.
type handler struct {
	parts invalidation.Config // without what only an invocation knows
	begun atomic.Bool         // the log is not empty any more
}

// handle takes one payload from event to pushes. A message comes back until it is understood and appended; after that its
// delivery is in the store, and the next invocation, whatever its occasion, resumes it.
func (h *handler) handle(ctx context.Context, payload json.RawMessage) (answer, error) {
	logger := h.logger(ctx)
	log := &recorded{Log: h.parts.Log, revisions: map[string]int64{}}
	b, err := h.broadcaster(ctx, log, logger)
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
	batch.tell(ctx, logger, log.revisions)
	if len(batch.of(events.Scheduled)) == 0 {
		deliver(ctx, b, logger)
		return batch.answer()
	}
	half, cancel := halfOf(ctx) // or a long fan-out would leave nothing to reconcile in
	deliver(half, b, logger)
	cancel()
	if reconcile(ctx, b, logger) > 0 {
		deliver(ctx, b, logger)
	}
	return batch.answer()
}

func (h *handler) logger(ctx context.Context) *slog.Logger {
	invocation, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return h.parts.Logger
	}
	return h.parts.Logger.With("requestId", invocation.AwsRequestID)
}

// broadcaster returns one for this invocation, whose account is that of the function.
func (h *handler) broadcaster(ctx context.Context, log invalidation.Log, logger *slog.Logger) (*invalidation.Broadcaster, error) {
	invocation, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return nil, errors.New("the invocation does not say which function it is of")
	}
	function, err := arn.Parse(invocation.InvokedFunctionArn)
	if err != nil {
		return nil, fmt.Errorf("reading the invoked function's ARN: %w", err)
	}
	parts := h.parts
	parts.Account, parts.Log, parts.Logger = function.AccountID, log, logger
	return invalidation.New(parts)
}

// begin begins an empty log: once in a process, and at every tick, since the table may have been restored meanwhile. Only
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

// reconcile looks for changes whose events never came, and returns how many it found. It stops early enough to deliver them.
func reconcile(ctx context.Context, b *invalidation.Broadcaster, logger *slog.Logger) (found int) {
	within, cancel := endingBefore(ctx, deliverReserve)
	defer cancel()
	r, err := b.Reconcile(within)
	if err != nil {
		logger.ErrorContext(ctx, "reconciling: the next tick begins again", "error", err)
	}
	logger.InfoContext(ctx, "reconciled", "listed", r.Listed, "described", r.Described, "found", r.Found, "full", r.Full, "completed", r.Completed)
	return r.Found
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

// recorded is a Log that keeps which revision each secret got, for one invocation's log lines.
type recorded struct {
	invalidation.Log
	revisions map[string]int64 // by the secret's name
}

// Append implements invalidation.Log.
func (r *recorded) Append(ctx context.Context, a invalidation.Append) (wire.Row, error) {
	row, err := r.Log.Append(ctx, a)
	if err != nil {
		return row, err
	}
	for _, c := range row.Changes {
		r.revisions[c.Name] = row.Revision
	}
	return row, nil
}
