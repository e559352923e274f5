package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// A commandKind is a command that the function takes. It is taken through the alias of its name only, so that IAM says who may
// send which (lambda:InvokeFunction on function:alias).
type commandKind struct {
	name string
	// do carries the command out. What it returns is the answer, as JSON.
	do func(ctx context.Context, h *handler, c call) (any, error)
}

// commandKinds are all there are. A new command is a file and a line here, and an alias in the template.
func commandKinds() []commandKind {
	return []commandKind{
		{pauseCommand, setPause},
		{resumeCommand, setPause},
		{invalidateCommand, invalidate},
		{replayCommand, replay},
		{applyCommand, applyManifest},
	}
}

// commandNames are the names of all commands that the function takes.
func commandNames() []string {
	var names []string
	for _, k := range commandKinds() {
		names = append(names, k.name)
	}
	return names
}

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
	// Details are what the command of this name wants to know beside that, if anything.
	Details json.RawMessage `json:"details,omitempty"`
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

// A call is an order that is carried out, and who gave it.
type call struct {
	order
	by        string // as AWS authenticated it
	at        time.Time
	requestID string

	broadcaster *invalidation.Broadcaster
	seen        *witness
	logger      *slog.Logger
}

// record is what is kept of the call.
func (c call) record() invalidation.Command {
	return invalidation.Command{Name: c.Name, By: c.by, Reason: c.Reason, At: c.at, RequestID: c.requestID}
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
	case !slices.Contains(commandNames(), o.Name):
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
func (h *handler) command(ctx context.Context, c command) (any, error) {
	logger, seen := h.logger(ctx), newWitness(h.parts)
	b, err := h.broadcaster(ctx, seen, logger)
	if err != nil {
		return nil, err
	}
	if err := h.admit(ctx, c.Order); err != nil {
		return nil, err
	}
	by, err := h.callers.Caller(ctx, c.Proof, c.Order.digest())
	if err != nil {
		return nil, err
	}
	invocation, _ := lambdacontext.FromContext(ctx) // broadcaster has seen it
	is := call{c.Order, by, time.Now().UTC(), invocation.AwsRequestID, b, seen, logger}
	kind := commandKinds()[slices.Index(commandNames(), c.Order.Name)] // check knows it
	return kind.do(ctx, h, is)
}

// carriedOut delivers what a command has brought.
func (h *handler) carriedOut(ctx context.Context, c call) {
	deliver(ctx, c.broadcaster, c.logger)
	result := readings{}
	c.seen.delivered(result)
	h.write(ctx, c.logger, result)
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
