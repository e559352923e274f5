// Package lambda pushes invalidations by invoking functions. It is an edge: the AWS SDK stops here.
package lambda

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// Pusher implements invalidation.Pusher with synchronous invocations: only their answer is an ack
// (https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html). It is safe for concurrent use.
type Pusher struct{ client *lambda.Client }

var _ invalidation.Pusher = (*Pusher)(nil)

// New returns a Pusher that uses the client, whose own retries should be off: the broadcaster has its own.
func New(client *lambda.Client) *Pusher { return &Pusher{client} }

// Push implements invalidation.Pusher.
func (p *Pusher) Push(ctx context.Context, function string, payload []byte) ([]byte, error) {
	out, err := p.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload})
	if err != nil {
		return nil, classed(err)
	}
	if out.FunctionError != nil {
		// What the function says of its error may quote anything, so only its kind is kept.
		return nil, fmt.Errorf("%w (%s)", invalidation.ErrFunction, aws.ToString(out.FunctionError))
	}
	return out.Payload, nil
}

// classed says what an error of Lambda's API means
// (https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors).
func classed(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode() {
	case "ResourceNotFoundException":
		return fmt.Errorf("%w: %w: %w", invalidation.ErrPermanent, invalidation.ErrNoFunction, err)
	case "AccessDeniedException":
		return fmt.Errorf("%w: %w: %w", invalidation.ErrPermanent, invalidation.ErrNotPermitted, err)
	case "InvalidParameterValueException", "InvalidRequestContentException", "ValidationException":
		return fmt.Errorf("%w: %w", invalidation.ErrPermanent, err)
	case "TooManyRequestsException":
		return fmt.Errorf("%w: %w", invalidation.ErrThrottled, err)
	default:
		return err
	}
}
