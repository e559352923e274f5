package main

import (
	"context"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const (
	pauseCommand  = "pause"
	resumeCommand = "resume"
)

// A pauseAnswer is what the broadcaster did, or would do.
type pauseAnswer struct {
	Name   string             `json:"name"`
	DryRun bool               `json:"dryRun"`
	By     string             `json:"by"`
	Was    invalidation.Pause `json:"was"`
	Is     invalidation.Pause `json:"is"` // after the command, or as it would be
	// OpenFanouts is how many revisions still owe a function something, after the command.
	OpenFanouts int `json:"openFanouts"`
	// Problem says why that number is not known.
	Problem string `json:"problem,omitempty"`
}

// setPause holds pushes back, or ends that and delivers what was held back.
func setPause(ctx context.Context, h *handler, c call) (any, error) {
	was, err := h.parts.Control.Pause(ctx)
	if err != nil {
		return nil, err
	}
	a := pauseAnswer{Name: c.Name, DryRun: c.DryRun, By: c.by, Was: was}
	a.Is = was // whoever repeats it does not hide since when, by whom and why it is so
	if pausing := c.Name == pauseCommand; pausing != was.Paused {
		a.Is = invalidation.Pause{Paused: pausing, By: c.by, Reason: c.Reason, At: c.at}
	}
	if !c.DryRun {
		if err := h.parts.Control.SetPause(ctx, a.Is, c.record()); err != nil {
			return nil, err
		}
		h.carriedOut(ctx, c) // what a pause held back, or, with a pause, so that it is seen to be held back
	}
	open, err := h.parts.Fanouts.Open(ctx)
	if err != nil {
		a.Problem = "the open fan-outs cannot be read: " + err.Error()
	}
	a.OpenFanouts = len(open)
	return a, nil
}
