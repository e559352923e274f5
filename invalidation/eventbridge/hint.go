// Package eventbridge puts hints: what a rotation function, CI or a tool says when it has just changed a secret, seconds
// before AWS's own event may come. It is for them, not for the broadcaster, and knows nothing of it but the event.
package eventbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/bank-platform/secret-broadcaster/events"
)

// hintWithin bounds a hint: whoever sends one has more important things to do.
const hintWithin = 2 * time.Second

// ErrName says that a name is not /bank/{env}/{domain}/{service}/{name}. A rotation function is given an ARN: ask DescribeSecret
// for the name.
var ErrName = errors.New("not the name of a secret of a domain")

// Hinter puts hints on a bus. It is safe for concurrent use.
type Hinter struct {
	client *eventbridge.Client
	bus    string
}

// New returns a Hinter for the bus with this name or ARN, "default" for the account's own: the one that the domain's rules
// listen to.
func New(client *eventbridge.Client, bus string) *Hinter { return &Hinter{client, bus} }

// Hint says that the secret with this name should be looked at now. Send it after the change: the broadcaster believes
// nothing but what Secrets Manager then says. A hint that is lost costs seconds, so its error is no reason to fail.
func (h *Hinter) Hint(ctx context.Context, name string) error {
	detail, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return fmt.Errorf("encoding a hint: %w", err)
	}
	if err := understood(detail); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hintWithin)
	defer cancel()
	out, err := h.client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		EventBusName: &h.bus, Source: aws.String(events.HintSource), DetailType: aws.String(events.HintDetailType), Detail: aws.String(string(detail)),
	}}})
	if err != nil {
		return fmt.Errorf("putting a hint on bus %s: %w", h.bus, err)
	}
	for _, e := range out.Entries {
		if e.ErrorCode != nil {
			return fmt.Errorf("putting a hint on bus %s: %s: %s", h.bus, *e.ErrorCode, aws.ToString(e.ErrorMessage))
		}
	}
	return nil
}

// understood asks the broadcaster's own parser what it would make of the hint.
func understood(detail json.RawMessage) error {
	event, err := json.Marshal(map[string]any{"source": events.HintSource, "detail-type": events.HintDetailType, "detail": detail})
	if err != nil {
		return fmt.Errorf("encoding a hint: %w", err)
	}
	if r := events.Parse(event)[0]; r.Outcome != events.Signaled {
		return fmt.Errorf("%w: %s", ErrName, r.Reason)
	}
	return nil
}
