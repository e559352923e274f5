package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const (
	invalidateCommand = "invalidate"
	// byHand is the detail type of what is announced by hand, in the place of an event's.
	byHand = "Invalidate"
)

// invalidateDetails are what an order to invalidate is about.
type invalidateDetails struct {
	ID string `json:"id"` // the secret's name or ARN
}

// An invalidateAnswer is what the broadcaster did, or would do.
type invalidateAnswer struct {
	Name   string                    `json:"name"`
	DryRun bool                      `json:"dryRun"`
	By     string                    `json:"by"`
	Is     invalidation.Announcement `json:"is"` // after the command, or as it would be
	// Deliveries are to whom it was announced, and how those stand; before anything is pushed, for a dry run.
	Deliveries []sentTo `json:"deliveries"`
	// Problem says why that is not known.
	Problem string `json:"problem,omitempty"`
}

// A sentTo is how one delivery stands, for whoever ordered it.
type sentTo struct {
	Revision int64                `json:"revision"`
	Service  string               `json:"service"`
	Function string               `json:"function"`
	Outcome  invalidation.Outcome `json:"outcome"`
	Reason   invalidation.Reason  `json:"reason,omitempty"`
	Error    string               `json:"error,omitempty"`
	// Left says why it was not sent again.
	Left string `json:"left,omitempty"`
}

func sentToOf(d invalidation.Delivery) sentTo {
	return sentTo{
		Revision: d.Revision, Service: d.Subscription, Function: d.Function, Outcome: d.Outcome, Reason: d.Reason, Error: d.Error,
	}
}

// invalidate announces a secret by hand.
func invalidate(ctx context.Context, h *handler, c call) (any, error) {
	var details invalidateDetails
	if err := json.Unmarshal(c.Details, &details); err != nil {
		return nil, fmt.Errorf("reading which secret is meant: %w", err)
	}
	s, err := events.Named(details.ID)
	if err != nil {
		return nil, err
	}
	s.EventID, s.DetailType, s.Actor, s.Time = c.requestID, byHand, c.by, c.at
	a := invalidateAnswer{Name: c.Name, DryRun: c.DryRun, By: c.by, Deliveries: []sentTo{}}
	if c.DryRun {
		a.Is, err = c.broadcaster.WouldAnnounce(ctx, s)
	} else {
		a.Is, err = c.broadcaster.Announce(ctx, s, c.record())
	}
	if err != nil {
		return nil, err
	}
	if !c.DryRun {
		h.carriedOut(ctx, c)
	}
	if a.Is.Change == nil {
		return a, nil
	}
	standing, err := c.broadcaster.Standing(ctx, invalidation.Fanout{Position: a.Is.Position, Names: []string{a.Is.Name}})
	if err != nil {
		a.Problem = "how it is delivered cannot be told: " + err.Error()
	}
	for _, d := range standing {
		a.Deliveries = append(a.Deliveries, sentToOf(d))
	}
	return a, nil
}
