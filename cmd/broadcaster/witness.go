package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A witness stands between the broadcaster and its store for one invocation, and keeps what log lines and metrics need. It
// is safe for concurrent use.
type witness struct {
	invalidation.Log
	invalidation.Fanouts
	invalidation.Control

	mu        sync.Mutex           // guards what follows
	revisions map[string]int64     // of each secret's newest change, by its name
	appended  map[string]time.Time // when this invocation appended a secret's change
	deleted   []string             // secrets whose deletion this invocation appended
	open      map[int64]invalidation.Fanout
	read      bool // the open fan-outs are known
	owed      map[owed]bool
	paused    *bool // nil if nobody asked
	ended     readings
}

// An owed is a delivery of an open fan-out.
type owed struct {
	revision               int64
	subscription, function string
}

func newWitness(parts invalidation.Config) *witness {
	return &witness{
		Log: parts.Log, Fanouts: parts.Fanouts, Control: parts.Control,
		revisions: map[string]int64{}, appended: map[string]time.Time{}, open: map[int64]invalidation.Fanout{}, owed: map[owed]bool{},
		ended: readings{acknowledged: {0}, undelivered: {0}, skipped: {0}},
	}
}

// Load implements invalidation.Log.
func (w *witness) Load(ctx context.Context, names []string) (invalidation.Snapshot, error) {
	snapshot, err := w.Log.Load(ctx, names)
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, row := range snapshot.Secrets {
		w.revisions[name] = max(w.revisions[name], row.Revision)
	}
	return snapshot, err
}

// Append implements invalidation.Log.
func (w *witness) Append(ctx context.Context, a invalidation.Append) (wire.Row, error) {
	row, err := w.Log.Append(ctx, a)
	if err != nil {
		return row, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range row.Changes {
		w.revisions[c.Name], w.appended[c.Name] = row.Revision, time.Now()
		if c.Kind == wire.Deleted {
			w.deleted = append(w.deleted, c.Name)
		}
	}
	return row, nil
}

// Open implements invalidation.Fanouts.
func (w *witness) Open(ctx context.Context) ([]invalidation.Fanout, error) {
	open, err := w.Fanouts.Open(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read = err == nil
	clear(w.open)
	for _, f := range open {
		w.open[f.Revision] = f
	}
	return open, err
}

// Deliveries implements invalidation.Fanouts.
func (w *witness) Deliveries(ctx context.Context, revision int64) ([]invalidation.Delivery, error) {
	deliveries, err := w.Fanouts.Deliveries(ctx, revision)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range deliveries {
		w.note(d)
	}
	return deliveries, err
}

// note keeps whether a delivery is pending. The caller holds mu.
func (w *witness) note(d invalidation.Delivery) {
	if w.open[d.Revision].Hash == d.Hash {
		w.owed[owed{d.Revision, d.Subscription, d.Function}] = d.Outcome == invalidation.Pending
	}
}

// Record implements invalidation.Fanouts.
func (w *witness) Record(ctx context.Context, deliveries []invalidation.Delivery) error {
	if err := w.Fanouts.Record(ctx, deliveries); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range deliveries {
		w.note(d)
		switch d.Outcome {
		case invalidation.Acknowledged:
			w.ended.count(acknowledged, 1)
			if of := w.open[d.Revision]; !of.Appended.IsZero() && of.Reopened == "" { // an older version's marker does not say
				w.ended.took(appendToAck, d.Time.Sub(of.Appended))
			}
		case invalidation.Undelivered:
			w.ended.count(undelivered, 1)
		case invalidation.Skipped:
			w.ended.count(skipped, 1)
		case invalidation.Pending:
		}
	}
	return nil
}

// Close implements invalidation.Fanouts.
func (w *witness) Close(ctx context.Context, f invalidation.Fanout) error {
	if err := w.Fanouts.Close(ctx, f); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, f.Revision)
	return nil
}

// Pause implements invalidation.Control.
func (w *witness) Pause(ctx context.Context) (invalidation.Pause, error) {
	p, err := w.Control.Pause(ctx)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.paused = &p.Paused
	}
	return p, err
}

// revisionOf returns the newest revision that tells of a secret; 0 if none is known.
func (w *witness) revisionOf(name string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revisions[name]
}

// appendedAt returns when this invocation appended a secret's change; of one that it does not know by name: now.
func (w *witness) appendedAt(name string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, ok := w.appended[name]; ok {
		return at
	}
	return time.Now()
}

// takeDeleted returns the secrets whose deletions were appended since the last call.
func (w *witness) takeDeleted() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := w.deleted
	w.deleted = nil
	return names
}

// delivered adds what became of the deliveries, and what is left.
func (w *witness) delivered(r readings) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, values := range w.ended {
		r[name] = append(r[name], slices.Clone(values)...)
	}
	if w.paused != nil {
		r.count(paused, 0)
		if *w.paused {
			r.count(paused, 1)
		}
	}
	if !w.read {
		return
	}
	r.count(openFanouts, len(w.open))
	r.count(pending, 0)
	for at, is := range w.owed {
		if _, open := w.open[at.revision]; is && open {
			r.count(pending, 1)
		}
	}
}
