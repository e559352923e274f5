// Package replays sends again what AWS has kept of events that were missed: parked messages, archived events. The broadcaster's
// role may do neither; whoever runs the command line does it with their own permissions.
package replays

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	// redriveBatch is how many messages one request takes at most.
	redriveBatch = 10
	// redriveEvery paces them: ten messages a second are far below what one invocation of the broadcaster takes.
	redriveEvery = time.Second
	// redriveHides is how long a message is hidden while it is moved. Who stops in between leaves it to come back after that.
	redriveHides = 60
)

// ErrNoDeadLetters says that nothing tells where the queue's parked messages are.
var ErrNoDeadLetters = errors.New("the queue has no dead-letter queue")

// DeadLetters are a queue's parked messages.
type DeadLetters struct {
	client       *sqs.Client
	queue, dead  string // URLs
	deadLettered string // the dead-letter queue's name
}

// FindDeadLetters asks the queue with this URL where its parked messages are.
func FindDeadLetters(ctx context.Context, client *sqs.Client, queue string) (*DeadLetters, error) {
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &queue, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy},
	})
	if err != nil {
		return nil, fmt.Errorf("looking at queue %s: %w", queue, err)
	}
	var policy struct {
		DeadLetterTargetArn string `json:"deadLetterTargetArn"`
	}
	dead := arn.ARN{}
	if json.Unmarshal([]byte(out.Attributes["RedrivePolicy"]), &policy) == nil {
		dead, _ = arn.Parse(policy.DeadLetterTargetArn)
	}
	if dead.Resource == "" {
		return nil, fmt.Errorf("looking at queue %s: %w", queue, ErrNoDeadLetters)
	}
	at, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &dead.Resource})
	if err != nil {
		return nil, fmt.Errorf("finding queue %s: %w", dead.Resource, err)
	}
	return &DeadLetters{client, queue, aws.ToString(at.QueueUrl), dead.Resource}, nil
}

// Name is the dead-letter queue's.
func (d *DeadLetters) Name() string { return d.deadLettered }

// Count returns about how many messages are parked: those that wait, and those that somebody has received.
func (d *DeadLetters) Count(ctx context.Context) (waiting, received int, err error) {
	const visible, hidden = types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible
	out, err := d.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &d.dead, AttributeNames: []types.QueueAttributeName{visible, hidden},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("counting the messages of queue %s: %w", d.deadLettered, err)
	}
	waiting, err = strconv.Atoi(out.Attributes[string(visible)])
	if err == nil {
		received, err = strconv.Atoi(out.Attributes[string(hidden)])
	}
	if err != nil {
		return 0, 0, fmt.Errorf("counting the messages of queue %s: %w", d.deadLettered, err)
	}
	return waiting, received, nil
}

// Redrive moves the parked messages back into the queue until none waits, ten a second at most, and tells how many it has
// moved by then. A message is sent before it is deleted, so none is lost if it ends at any point; one may come twice, which
// does no harm. When ctx ends it finishes what it has begun and returns ctx's error.
func (d *DeadLetters) Redrive(ctx context.Context, progress func(moved int)) (moved int, err error) {
	for {
		began := time.Now()
		out, err := d.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &d.dead, MaxNumberOfMessages: redriveBatch, VisibilityTimeout: redriveHides,
			WaitTimeSeconds: 1, // with none, only some of SQS's servers are asked
		})
		switch {
		case ctx.Err() != nil:
			return moved, ctx.Err()
		case err != nil:
			return moved, fmt.Errorf("receiving from queue %s: %w", d.deadLettered, err)
		case len(out.Messages) == 0:
			return moved, nil
		}
		n, err := d.move(context.WithoutCancel(ctx), out.Messages)
		moved += n
		progress(moved)
		if err != nil {
			return moved, err
		}
		rest := time.NewTimer(time.Until(began.Add(redriveEvery)))
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return moved, ctx.Err()
		}
	}
}

// move sends messages to the queue, and deletes those that were taken.
func (d *DeadLetters) move(ctx context.Context, messages []types.Message) (moved int, err error) {
	entries := make([]types.SendMessageBatchRequestEntry, 0, len(messages))
	receipts := map[string]*string{}
	for i, m := range messages {
		id := strconv.Itoa(i)
		entries = append(entries, types.SendMessageBatchRequestEntry{Id: &id, MessageBody: m.Body})
		receipts[id] = m.ReceiptHandle
	}
	sent, err := d.client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &d.queue, Entries: entries})
	if err != nil {
		return 0, fmt.Errorf("sending to queue %s: %w", d.queue, err)
	}
	var problems []error
	for _, f := range sent.Failed {
		problems = append(problems, fmt.Errorf("sending to queue %s: %s: %s", d.queue, aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	if len(sent.Successful) == 0 {
		return 0, errors.Join(problems...)
	}
	done := make([]types.DeleteMessageBatchRequestEntry, 0, len(sent.Successful))
	for _, s := range sent.Successful {
		done = append(done, types.DeleteMessageBatchRequestEntry{Id: s.Id, ReceiptHandle: receipts[aws.ToString(s.Id)]})
	}
	deleted, err := d.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &d.dead, Entries: done})
	if err != nil {
		problems = append(problems, fmt.Errorf("deleting from queue %s what was sent again: %w", d.deadLettered, err))
		return len(done), errors.Join(problems...)
	}
	for _, f := range deleted.Failed {
		problems = append(problems, fmt.Errorf("deleting from queue %s what was sent again: %s: %s", d.deadLettered, aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	return len(done), errors.Join(problems...)
}
