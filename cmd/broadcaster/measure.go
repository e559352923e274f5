package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	// readWithin is how young the report of an environment is that may have read its secrets a moment ago: clients renew theirs
	// every six hours.
	readWithin = 6*time.Hour + 30*time.Minute
	// lookWithin bounds what is read for metrics only.
	lookWithin = 2 * time.Second
	// maxTallied bounds how many environments' failures are kept: they are one item, of 400 KB at the most.
	maxTallied = 8000
	// tallyKey is how much of an environment's id tells it from others.
	tallyKey = 16
)

// tallies keeps how many of its failed checks each environment had told of.
type tallies interface {
	CheckFailures(ctx context.Context) (map[string]int64, error)
	SaveCheckFailures(ctx context.Context, told map[string]int64) error
}

// write writes metrics to where CloudWatch finds them.
func (h *handler) write(ctx context.Context, logger *slog.Logger, r readings) {
	if err := r.write(h.metrics, time.Now(), h.parts.Env, h.parts.Domain); err != nil {
		logger.ErrorContext(ctx, "metrics are lost", "error", err)
	}
}

// handled measures what became of the events.
func (h *handler) handled(ctx context.Context, logger *slog.Logger, t batch, seen *witness, began time.Time) readings {
	r := readings{}
	for _, name := range []metricName{appended, duplicates, unchanged, ignored, malformed, unknown, misrouted, failed, warnings} {
		r.count(name, 0)
	}
	r.count(received, len(t))
	for _, i := range t {
		if name, ok := i.metric(); ok {
			r.count(name, 1)
		}
		if i.Warning {
			r.count(warnings, 1)
		}
		if i.outcome == string(invalidation.Appended) {
			since := i.Sent
			if since.IsZero() {
				since = began
			}
			r.took(eventToAppend, seen.appendedAt(i.Signal.Name).Sub(since))
		}
	}
	r.count(recentlyReadDeleted, h.recentlyRead(ctx, logger, seen.takeDeleted()))
	return r
}

// recentlyRead returns how many of the deleted secrets somebody may have read a moment ago: all, if that cannot be told.
func (h *handler) recentlyRead(ctx context.Context, logger *slog.Logger, deleted []string) int {
	if len(deleted) == 0 {
		return 0
	}
	within, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	reports, err := h.reports.All(within)
	if err != nil {
		logger.ErrorContext(ctx, "who holds a deleted secret cannot be told", "secrets", deleted, "error", err)
		return len(deleted)
	}
	held := invalidation.Held(deleted, reports, time.Now().Add(-readWithin))
	if len(held) > 0 {
		logger.ErrorContext(ctx, "a secret in use was deleted", "secrets", held)
	}
	return len(held)
}

// A tickResult is what a tick came to.
type tickResult struct {
	ticks batch
	invalidation.Reconciled
	err error
}

// ticked measures a tick, and how the domain's environments stand.
func (h *handler) ticked(ctx context.Context, b *invalidation.Broadcaster, logger *slog.Logger, seen *witness, tick tickResult, r readings) {
	beats := 0
	for _, i := range tick.ticks {
		if i.outcome == string(events.Scheduled) && (tick.err == nil || tick.Described > 0) {
			beats++
		}
	}
	if beats > 0 { // else nothing, so that also an alarm on the number of values notices
		r.count(heartbeat, beats)
	}
	r.count(missedFound, tick.Found)
	r.count(failed, tick.Failed)
	r.count(recentlyReadDeleted, h.recentlyRead(ctx, logger, seen.takeDeleted()))
	within, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	if _, err := seen.Pause(within); err != nil {
		logger.ErrorContext(ctx, "whether pushes are paused cannot be told", "error", err)
	}
	if tick.Reports == nil {
		return
	}
	late, err := b.Behind(within, tick.Reports)
	if err != nil {
		logger.ErrorContext(ctx, "which environments are behind cannot be told", "error", err)
	} else {
		r.count(behind, len(late))
	}
	for _, report := range late {
		logger.WarnContext(ctx, "an environment is behind", "service", report.Service, "function", report.Function, "environment", report.Environment,
			"logStream", report.LogStream, "revision", report.Revision, "reported", report.Time)
	}
	failures, err := h.newFailures(within, tick.Reports)
	if err != nil {
		logger.ErrorContext(ctx, "failed checks cannot be counted", "error", err)
		return
	}
	r.count(checkFailures, int(failures))
}

// newFailures returns how many failed checks environments have told of since the last time.
func (h *handler) newFailures(ctx context.Context, reports []wire.Report) (int64, error) {
	before, err := h.tallies.CheckFailures(ctx)
	if err != nil {
		return 0, err
	}
	now, more := tally(before, reports)
	if maps.Equal(before, now) {
		return more, nil
	}
	return more, h.tallies.SaveCheckFailures(ctx, now)
}

// tally returns the failed checks of each environment that has any, and how many more they are than before. Counts are
// totals, so a report that was lost is made good by the next.
func tally(before map[string]int64, reports []wire.Report) (now map[string]int64, more int64) {
	now = map[string]int64{}
	for _, r := range slices.SortedFunc(slices.Values(reports), func(a, b wire.Report) int { return b.Time.Compare(a.Time) }) {
		key := r.Environment[:min(tallyKey, len(r.Environment))]
		if _, counted := now[key]; counted || r.Counts.CheckFailures <= 0 || len(now) == maxTallied {
			continue
		}
		now[key] = r.Counts.CheckFailures
		more += max(0, now[key]-before[key])
	}
	return now, more
}
