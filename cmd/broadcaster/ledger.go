package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// A ledger logs each record of a command that it has written, whatever comes of the command: who may write the store cannot
// change that line, so package audit compares the two.
type ledger struct {
	invalidation.Control
	invalidation.Manifests
	logger *slog.Logger
}

// SetPause implements invalidation.Control.
func (l ledger) SetPause(ctx context.Context, p invalidation.Pause, by invalidation.Command) error {
	return l.logged(ctx, l.Control.SetPause(ctx, p, by), by)
}

// RecordCommand implements invalidation.Control.
func (l ledger) RecordCommand(ctx context.Context, by invalidation.Command) error {
	return l.logged(ctx, l.Control.RecordCommand(ctx, by), by)
}

// Hold implements invalidation.Manifests. Nobody has a packaged manifest hold.
func (l ledger) Hold(ctx context.Context, h invalidation.Holding, by *invalidation.Command) error {
	err := l.Manifests.Hold(ctx, h, by)
	if by == nil {
		return err
	}
	return l.logged(ctx, err, *by)
}

func (l ledger) logged(ctx context.Context, err error, by invalidation.Command) error {
	if err == nil {
		l.logger.WarnContext(ctx, "a command was recorded", "command", by.Name, "about", by.About, "by", by.By, "reason", by.Reason,
			"at", by.At.UTC().Format(time.RFC3339Nano), "requestId", by.RequestID)
	}
	return err
}
