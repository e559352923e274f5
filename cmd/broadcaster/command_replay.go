package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const (
	replayCommand = "replay"

	fromStore   = "store"
	fromDLQ     = "dlq"
	fromArchive = "archive"
)

// replayDetails are what an order to replay is about.
type replayDetails struct {
	From string `json:"from"`
	// Deliveries are what is missed, from the store.
	Deliveries []invalidation.Missed `json:"deliveries,omitempty"`
	// About is what is sent again from elsewhere. The broadcaster may not do that: it keeps the record, and whoever gave the
	// order does it.
	About string `json:"about,omitempty"`
}

// A replayAnswer is what the broadcaster did, or would do.
type replayAnswer struct {
	Name   string `json:"name"`
	DryRun bool   `json:"dryRun"`
	By     string `json:"by"`
	From   string `json:"from"`
	// Revision is what is pushed: the newest, which tells of all before it.
	Revision int64 `json:"revision,omitempty"`
	// Deliveries are what was sent again, or why it was not, and how it stands since; before anything is pushed, for a dry run.
	Deliveries []sentTo `json:"deliveries,omitempty"`
	// Problem says why how they stand is not known.
	Problem string `json:"problem,omitempty"`
}

// check says what is wrong with the details.
func (d replayDetails) check() error {
	switch {
	case d.From == fromStore && (len(d.Deliveries) == 0 || len(d.Deliveries) > invalidation.MaxReplayed):
		return fmt.Errorf("one command replays 1 to %d deliveries", invalidation.MaxReplayed)
	case d.From == fromStore:
		return nil
	case d.From != fromDLQ && d.From != fromArchive:
		return errors.New("what is replayed comes from store, dlq or archive")
	case d.About == "" || len(d.About) > maxReason || strings.ContainsFunc(d.About, unicode.IsControl):
		return fmt.Errorf("what is replayed must be said in one line of at most %d bytes", maxReason)
	}
	return nil
}

// replay sends missed invalidations again, or keeps the record of who does.
func replay(ctx context.Context, h *handler, c call) (any, error) {
	var details replayDetails
	if err := json.Unmarshal(c.Details, &details); err != nil {
		return nil, fmt.Errorf("reading what is to be replayed: %w", err)
	}
	if err := details.check(); err != nil {
		return nil, err
	}
	a := replayAnswer{Name: c.Name, DryRun: c.DryRun, By: c.by, From: details.From}
	if details.From == fromStore {
		err := a.replayMissed(ctx, h, c, details.Deliveries)
		return a, err
	}
	if c.DryRun {
		return a, nil
	}
	record := c.record()
	record.About = details.From + ": " + details.About
	if err := h.parts.Control.RecordCommand(ctx, record); err != nil {
		return nil, err
	}
	h.carriedOut(ctx, c)
	return a, nil
}

// replayMissed replays from the store.
func (a *replayAnswer) replayMissed(ctx context.Context, h *handler, c call, missed []invalidation.Missed) error {
	head, err := h.parts.Log.Row(ctx, 0)
	if err != nil {
		return fmt.Errorf("reading the head: %w", err)
	}
	a.Revision = head.Revision
	var replayed []invalidation.Replayed
	if c.DryRun {
		replayed, err = c.broadcaster.WouldReplay(ctx, missed)
	} else {
		replayed, err = c.broadcaster.Replay(ctx, missed, c.record())
	}
	if err != nil && len(replayed) == 0 {
		return err
	}
	if err != nil { // what is pending again is delivered all the same
		a.Problem = err.Error()
	}
	if !c.DryRun {
		h.carriedOut(ctx, c)
	}
	for _, r := range replayed {
		is := r.Delivery
		if r.Left == "" && !c.DryRun {
			if is, err = h.now(ctx, is); err != nil {
				a.Problem = "how they stand cannot be read: " + err.Error()
			}
		}
		sent := sentToOf(is)
		sent.Left = r.Left
		a.Deliveries = append(a.Deliveries, sent)
	}
	return nil
}

// now returns a delivery as it stands now.
func (h *handler) now(ctx context.Context, d invalidation.Delivery) (invalidation.Delivery, error) {
	all, err := h.parts.Fanouts.Deliveries(ctx, d.Revision)
	for _, is := range all {
		if is.Hash == d.Hash && is.Subscription == d.Subscription && is.Function == d.Function {
			return is, nil
		}
	}
	return d, err
}
