// Package sqs has the broadcaster invoked once more, by a message to its own queue. It is an edge: the AWS SDK stops here.
package sqs

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// longest is how long SQS delays a message at the most
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html).
const longest = 15 * time.Minute

// Resumer implements invalidation.Resumer. It is safe for concurrent use.
type Resumer struct {
	client *sqs.Client
	queue  string
}

var _ invalidation.Resumer = (*Resumer)(nil)

// New returns a Resumer that sends to the queue with this URL, whose messages the broadcaster handles.
func New(client *sqs.Client, queue string) *Resumer { return &Resumer{client, queue} }

// Resume implements invalidation.Resumer. SQS delays in whole seconds, so it rounds up.
func (r *Resumer) Resume(ctx context.Context, after time.Duration) error {
	body := fmt.Sprintf(`{"source":%q,"detail-type":%q,"detail":{}}`, events.HintSource, events.ResumeDetailType)
	seconds := (min(after, longest) + time.Second - 1) / time.Second
	_, err := r.client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &r.queue, MessageBody: &body, DelaySeconds: int32(seconds), //nolint:gosec // at most 900
	})
	if err != nil {
		return fmt.Errorf("sending to queue %s: %w", r.queue, err)
	}
	return nil
}
