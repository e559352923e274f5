package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const applyCommand = "apply"

// An application is what the command apply wants to know: the details of its order.
type application struct {
	// Replaces is the digest of the manifest that the plan was made against; empty for none.
	Replaces string `json:"replaces"`
	Manifest string `json:"manifest"` // its text
}

// An applyAnswer is what the broadcaster did, or would do. Was and Is are the same if there was nothing to do.
type applyAnswer struct {
	Name   string               `json:"name"`
	DryRun bool                 `json:"dryRun"`
	By     string               `json:"by"`
	Was    invalidation.Holding `json:"was"`
	Is     invalidation.Holding `json:"is"` // after the command, or as it would be
}

// applyManifest has a manifest hold.
func applyManifest(ctx context.Context, h *handler, c call) (any, error) {
	var wants application
	if err := json.Unmarshal(c.Details, &wants); err != nil {
		return nil, errors.New("the command apply comes without a manifest: use the command line of this version")
	}
	is := invalidation.Application{Text: []byte(wants.Manifest), Replaces: wants.Replaces}
	a := applyAnswer{Name: c.Name, DryRun: c.DryRun, By: c.by}
	var err error
	if a.Was, a.Is, err = h.parts.Subscribed.Apply(ctx, is, c.record(), c.DryRun); err != nil {
		return nil, err
	}
	if !c.DryRun && a.Is != a.Was {
		h.carriedOut(ctx, c)
	}
	return a, nil
}
