package sqs

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// Queue implements history.Queue. It is safe for concurrent use.
type Queue struct {
	client *sqs.Client
	url    string
}

var _ history.Queue = (*Queue)(nil)

// NewQueue returns the queue with this URL.
func NewQueue(client *sqs.Client, url string) *Queue { return &Queue{client, url} }

// Depths implements history.Queue. A dead-letter queue is in its queue's account and Region
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html), so its URL differs in
// the name only.
func (q *Queue) Depths(ctx context.Context) (history.Depths, error) {
	var d history.Depths
	is, err := q.attributes(ctx, q.url, types.QueueAttributeNameRedrivePolicy, types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible, types.QueueAttributeNameApproximateNumberOfMessagesDelayed)
	if err != nil {
		return d, err
	}
	d.Waiting = is.number(types.QueueAttributeNameApproximateNumberOfMessages)
	d.InFlight = is.number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
	d.Delayed = is.number(types.QueueAttributeNameApproximateNumberOfMessagesDelayed)
	var redrive struct {
		Target string `json:"deadLetterTargetArn"`
	}
	if err := json.Unmarshal([]byte(is[string(types.QueueAttributeNameRedrivePolicy)]), &redrive); err != nil || redrive.Target == "" {
		return d, nil // doctor says that it should have one
	}
	parked := q.url[:strings.LastIndex(q.url, "/")+1] + redrive.Target[strings.LastIndex(redrive.Target, ":")+1:]
	is, err = q.attributes(ctx, parked, types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
	if err != nil {
		return d, err
	}
	d.DeadLetters = is.number(types.QueueAttributeNameApproximateNumberOfMessages) + is.number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
	return d, nil
}

type attributes map[string]string

// number is 0 for what SQS does not tell.
func (a attributes) number(name types.QueueAttributeName) int {
	n, _ := strconv.Atoi(a[string(name)])
	return n
}

func (q *Queue) attributes(ctx context.Context, url string, names ...types.QueueAttributeName) (attributes, error) {
	out, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: names})
	if err != nil {
		return nil, fmt.Errorf("looking at queue %s: %w", url, err)
	}
	return out.Attributes, nil
}
