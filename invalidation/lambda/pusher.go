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
		return nil, permanentOr(err)
	}
	if out.FunctionError != nil {
		// What the function says of its error may quote anything, so only its kind is kept.
		return nil, fmt.Errorf("the function ended with an error (%s)", aws.ToString(out.FunctionError))
	}
	return out.Payload, nil
}

func permanentOr(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "ResourceNotFoundException", "AccessDeniedException", "InvalidParameterValueException", "InvalidRequestContentException":
			return fmt.Errorf("%w: %w", invalidation.ErrPermanent, err)
		}
	}
	return err
}
