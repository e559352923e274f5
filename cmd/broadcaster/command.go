package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// The commands that the function takes. Each is taken through the alias of its name only, so that IAM says who may send
// which (lambda:InvokeFunction on function:alias).
const (
	pauseCommand  = "pause"
	resumeCommand = "resume"
)

const (
	maxReason = 500
	// commandWithin is where a command says that it is one; a batch of events is not searched for it to its end.
	commandWithin = 1 << 10
)

// callers says who sends a command.
type callers interface {
	// Caller returns the ARN of whoever made the proof for the command with this digest, as AWS authenticates it.
	Caller(ctx context.Context, proof, digest string) (string, error)
}

// An order is what somebody wants the broadcaster to do.
type order struct {
	Name   string `json:"name"`
	Env    string `json:"env"`
	Domain string `json:"domain"`
	Reason string `json:"reason"`
	DryRun bool   `json:"dryRun"`
}

// A command is an order and the proof of who gives it. No event looks like one: EventBridge puts its own envelope around all
// that it sends, and a queue's messages stand in Records.
type command struct {
	Order order  `json:"order"`
	Proof string `json:"proof"`
}

type commandPayload struct {
	Command *command `json:"secretBroadcasterCommand"`
}

// A commandAnswer is what the broadcaster did, or would do.
type commandAnswer struct {
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

// digest is what a proof is made for.
func (o order) digest() string {
	text, _ := json.Marshal(o) // strings and booleans always marshal
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// check says what is wrong with an order.
func (o order) check() error {
	switch {
	case o.Name != pauseCommand && o.Name != resumeCommand:
		return errors.New("the command is not known")
	case strings.TrimSpace(o.Reason) == "":
		return errors.New("say why, with --reason: it is recorded")
	case len(o.Reason) > maxReason || !utf8.ValidString(o.Reason) || strings.ContainsFunc(o.Reason, unicode.IsControl):
		return fmt.Errorf("the reason must be one line of at most %d bytes", maxReason)
	}
	return nil
}

// readCommand tells whether a payload is a command.
func readCommand(payload []byte) (c command, ours bool, err error) {
	if !bytes.Contains(payload[:min(len(payload), commandWithin)], []byte(`"secretBroadcasterCommand"`)) {
		return command{}, false, nil
	}
	var is commandPayload
	if json.Unmarshal(payload, &is) != nil || is.Command == nil {
		return command{}, false, nil
	}
	return *is.Command, true, is.Command.Order.check()
}

// command does what somebody on call wants.
func (h *handler) command(ctx context.Context, c command) (commandAnswer, error) {
	logger, seen := h.logger(ctx), newWitness(h.parts)
	b, err := h.broadcaster(ctx, seen, logger)
	if err != nil {
		return commandAnswer{}, err
	}
	if err := h.admit(ctx, c.Order); err != nil {
		return commandAnswer{}, err
	}
	by, err := h.callers.Caller(ctx, c.Proof, c.Order.digest())
	if err != nil {
		return commandAnswer{}, err
	}
	was, err := h.parts.Control.Pause(ctx)
	if err != nil {
		return commandAnswer{}, err
	}
	now := time.Now().UTC()
	a := commandAnswer{Name: c.Order.Name, DryRun: c.Order.DryRun, By: by, Was: was}
	a.Is = invalidation.Pause{Paused: c.Order.Name == pauseCommand, By: by, Reason: c.Order.Reason, At: now}
	if !c.Order.DryRun {
		invocation, _ := lambdacontext.FromContext(ctx) // broadcaster has seen it
		record := invalidation.Command{Name: c.Order.Name, By: by, Reason: c.Order.Reason, At: now, RequestID: invocation.AwsRequestID}
		if err := h.parts.Control.SetPause(ctx, a.Is, record); err != nil {
			return commandAnswer{}, err
		}
		logger.WarnContext(ctx, "a command was carried out", "command", c.Order.Name, "by", by, "reason", c.Order.Reason)
		deliver(ctx, b, logger) // what a pause held back, or, with a pause, so that it is seen to be held back
		result := readings{}
		seen.delivered(result)
		h.write(ctx, logger, result)
	}
	open, err := h.parts.Fanouts.Open(ctx)
	if err != nil {
		a.Problem = "the open fan-outs cannot be read: " + err.Error()
	}
	a.OpenFanouts = len(open)
	return a, nil
}

// admit refuses a command that came through another alias than its own, or that is meant for another broadcaster.
func (h *handler) admit(ctx context.Context, o order) error {
	function, err := invoked(ctx)
	if err != nil {
		return err
	}
	parts := strings.Split(function.Resource, ":") // function:name:alias
	if len(parts) != 3 || parts[2] != o.Name {
		return fmt.Errorf("the command %s is taken through the alias %s only", o.Name, o.Name)
	}
	if o.Env != h.parts.Env || o.Domain != h.parts.Domain {
		return fmt.Errorf("this is the broadcaster of %s/%s, and the command is for %s/%s", h.parts.Env, h.parts.Domain, o.Env, o.Domain)
	}
	return nil
}
