package history

import (
	"context"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Health is how a domain's broadcaster is.
type Health struct {
	Revision int64     `json:"revision"` // the head's; 0 if the log is empty
	Appended time.Time `json:"appended,omitzero"`
	// Lag and LongestLag are the seconds from the arrival of an event to its append: of the newest change that an event told of,
	// and the longest of the last hour, of at most 200 revisions.
	Lag        float64 `json:"lag"`
	LongestLag float64 `json:"longestLag"`
	// Reconciled is when the last tick began that looked for missed changes to its end.
	Reconciled time.Time `json:"reconciled,omitzero"`
	Queue      Depths    `json:"queue"`
	// QueueProblem says why the queue could not be looked at; then Queue says nothing.
	QueueProblem string `json:"queueProblem,omitempty"`
	// OpenFanouts is how many revisions still owe a function something, and OldestOpen when the first of them was appended.
	OpenFanouts int                `json:"openFanouts"`
	OldestOpen  time.Time          `json:"oldestOpen,omitzero"`
	Pause       invalidation.Pause `json:"pause"`
	Canary      Canary             `json:"canary"`
}

// A Canary is the newest change of the canary's secret. The zero Canary: there is none.
type Canary struct {
	Revision int64     `json:"revision"`
	Appended time.Time `json:"appended,omitzero"`
	// Served is the newest revision at which the canary has reported that it can use its secret, and Reported is when. It
	// reports once in ten seconds at the most, so it mostly tells of a change with its next run.
	Served   int64     `json:"served"`
	Reported time.Time `json:"reported,omitzero"`
}

// Depths are about how many messages are in a queue, and in its dead-letter queue.
type Depths struct {
	Waiting     int `json:"waiting"`
	InFlight    int `json:"inFlight"` // received, and neither deleted nor back
	Delayed     int `json:"delayed"`
	DeadLetters int `json:"deadLetters"`
}

// Queue is the broadcaster's own.
type Queue interface {
	Depths(ctx context.Context) (Depths, error)
}

// Control is what people on call have set, and how far the schedule has come.
type Control interface {
	Pause(ctx context.Context) (invalidation.Pause, error)
	Progress(ctx context.Context) (invalidation.Progress, error)
}

const (
	canaryService = "secret-broadcaster-canary"
	canarySecret  = "secret-broadcaster/canary"
	// lagWithin and lagRows bound the revisions whose lag is looked at.
	lagWithin = time.Hour
	lagRows   = 200
)

// Health returns how the domain's broadcaster is. The queue may be nil.
func (r *Reader) Health(ctx context.Context, control Control, queue Queue) (Health, error) {
	var h Health
	if err := r.addLag(ctx, &h); err != nil {
		return h, err
	}
	progress, err := control.Progress(ctx)
	if err != nil {
		return h, err
	}
	h.Reconciled = progress.Completed
	if h.Pause, err = control.Pause(ctx); err != nil {
		return h, err
	}
	open, err := r.cfg.Store.Open(ctx)
	if err != nil {
		return h, err
	}
	if h.OpenFanouts = len(open); len(open) > 0 {
		h.OldestOpen = open[0].Appended
	}
	if h.Canary, err = r.canary(ctx); err != nil {
		return h, err
	}
	switch {
	case queue == nil:
		h.QueueProblem = "the function is not told its queue"
	default:
		if h.Queue, err = queue.Depths(ctx); err != nil {
			h.QueueProblem = err.Error() // the rest is worth telling all the same
		}
	}
	return h, nil
}

func (r *Reader) addLag(ctx context.Context, h *Health) error {
	n, oldest, first := 0, r.cfg.Now().Add(-lagWithin), true
	for row, err := range r.cfg.Store.Rows(ctx, Span{NewestFirst: true}) {
		if err != nil {
			return err
		}
		if h.Revision == 0 {
			h.Revision, h.Appended = row.Revision, row.Time
		}
		lag, told := lagOf(row)
		if told && first {
			h.Lag, first = lag.Seconds(), false
		}
		if n++; n > lagRows || row.Time.Before(oldest) {
			break
		}
		if told {
			h.LongestLag = max(h.LongestLag, lag.Seconds())
		}
	}
	return nil
}

// lagOf returns how long after the arrival of the first event that told of it a row was appended, if any did.
func lagOf(row Row) (lag time.Duration, told bool) {
	for _, c := range row.Causes {
		if c.DetailType != invalidation.ReconcileDetailType && !c.Received.IsZero() {
			lag, told = max(lag, row.Time.Sub(c.Received)), true
		}
	}
	return lag, told
}

func (r *Reader) canary(ctx context.Context) (Canary, error) {
	name := wire.NamePrefix(r.cfg.Env, r.cfg.Domain) + canarySecret
	snapshot, err := r.cfg.Store.Load(ctx, []string{name})
	if err != nil {
		return Canary{}, err
	}
	c := Canary{Revision: snapshot.Secrets[name].Revision}
	if c.Revision == 0 {
		return c, nil
	}
	row, _, err := rowAt(ctx, r.cfg.Store, c.Revision)
	if err != nil {
		return c, err
	}
	c.Appended = row.Time
	reports, err := r.cfg.Reports.Of(ctx, canaryService)
	if err != nil {
		return c, err
	}
	for _, report := range reports {
		if report.Time.After(c.Reported) && holds(report, name) && failing(report, name) == "" {
			c.Served, c.Reported = report.Revision, report.Time
		}
	}
	return c, nil
}
