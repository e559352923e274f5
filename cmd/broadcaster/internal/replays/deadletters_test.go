package replays_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/replays"
	"github.com/bank-platform/secret-broadcaster/internal/awstest"
)

// queues are a queue and its dead-letter queue on a third party's SQS.
type queues struct {
	*testing.T
	client      *sqs.Client
	queue, dead *string
}

func newQueues(t *testing.T) queues {
	t.Helper()
	on, account := awstest.Config(t)
	q := queues{T: t, client: sqs.NewFromConfig(on)}
	dead, err := q.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("prod-payments-broadcaster-dead-letters")})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := q.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{
		QueueName: aws.String("prod-payments-broadcaster"), Attributes: map[string]string{
			"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-2:` + account + `:prod-payments-broadcaster-dead-letters","maxReceiveCount":"5"}`,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	q.queue, q.dead = queue.QueueUrl, dead.QueueUrl
	return q
}

func (q queues) park(n int) {
	q.Helper()
	for i := range n {
		if _, err := q.client.SendMessage(q.Context(), &sqs.SendMessageInput{QueueUrl: q.dead, MessageBody: aws.String(fmt.Sprint("message ", i))}); err != nil {
			q.Fatal(err)
		}
	}
}

// drain returns the bodies of what is in the queue.
func (q queues) drain() []string {
	q.Helper()
	var bodies []string
	for {
		out, err := q.client.ReceiveMessage(q.Context(), &sqs.ReceiveMessageInput{QueueUrl: q.queue, MaxNumberOfMessages: 10, VisibilityTimeout: 600})
		if err != nil {
			q.Fatal(err)
		}
		if len(out.Messages) == 0 {
			slices.Sort(bodies)
			return bodies
		}
		for _, m := range out.Messages {
			bodies = append(bodies, *m.Body)
		}
	}
}

func TestParkedMessagesAreSentAgain(t *testing.T) {
	q := newQueues(t)
	q.park(12)
	d, err := replays.FindDeadLetters(t.Context(), q.client, *q.queue)
	if err != nil || d.Name() != "prod-payments-broadcaster-dead-letters" {
		t.Fatalf("found %+v, %v", d, err)
	}
	if waiting, received, err := d.Count(t.Context()); waiting != 12 || received != 0 || err != nil {
		t.Errorf("%d wait, %d are received, %v", waiting, received, err)
	}
	began := time.Now()
	var told []int
	moved, err := d.Redrive(t.Context(), func(moved int) { told = append(told, moved) })
	if err != nil || moved != 12 || !slices.Equal(told, []int{10, 12}) {
		t.Errorf("moved %d, told %v, %v", moved, told, err)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("it took %v: more than ten a second", took)
	}
	if waiting, received, err := d.Count(t.Context()); waiting != 0 || received != 0 || err != nil {
		t.Errorf("%d wait, %d are received, %v", waiting, received, err)
	}
	if bodies := q.drain(); len(bodies) != 12 || bodies[11] != "message 9" {
		t.Errorf("the queue has %v", bodies)
	}
}

// TestAnInterruptedRedriveLosesNothing: what was begun is finished, the rest stays parked.
func TestAnInterruptedRedriveLosesNothing(t *testing.T) {
	q := newQueues(t)
	q.park(12)
	d, err := replays.FindDeadLetters(t.Context(), q.client, *q.queue)
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	moved, err := d.Redrive(ctx, func(int) { interrupt() })
	if moved != 10 || !errors.Is(err, context.Canceled) {
		t.Errorf("moved %d, %v", moved, err)
	}
	if waiting, received, err := d.Count(t.Context()); waiting != 2 || received != 0 || err != nil || len(q.drain()) != 10 {
		t.Errorf("%d wait, %d are received, %v", waiting, received, err)
	}
}

func TestAQueueWithoutDeadLetters(t *testing.T) {
	q := newQueues(t)
	if _, err := replays.FindDeadLetters(t.Context(), q.client, *q.dead); !errors.Is(err, replays.ErrNoDeadLetters) {
		t.Errorf("got %v", err)
	}
}
