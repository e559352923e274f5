package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
)

func TestTheEventIsAsAWSDocumentsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var payloads [][]byte
		base := time.UnixMilli(1545082649000)
		start := time.Now()
		q := queue.New(queue.Config{
			QueueARN:          "arn:aws:sqs:us-east-2:123456789012:my-queue",
			VisibilityTimeout: time.Minute,
			Now:               func() time.Time { return base.Add(time.Since(start)) },
			Invoke: func(_ context.Context, payload []byte) ([]byte, string, error) {
				payloads = append(payloads, payload)
				if len(payloads) == 1 {
					return nil, "Unhandled", nil
				}
				return nil, "", nil
			},
			MaxReceives: 2,
		})
		time.Sleep(183 * time.Millisecond)
		id := q.Send("test", queue.Delay(2*time.Millisecond))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		q.Run(ctx)
		if len(payloads) != 2 {
			t.Fatalf("%d events", len(payloads))
		}

		var event events.SQSEvent
		decoder := json.NewDecoder(bytes.NewReader(payloads[1]))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&event); err != nil {
			t.Fatal(err)
		}
		got := event.Records[0]
		want := events.SQSMessage{
			MessageId: id, ReceiptHandle: got.ReceiptHandle, Body: "test",
			Md5OfBody: "098f6bcd4621d373cade4e832627b4f6",
			Attributes: map[string]string{
				"ApproximateReceiveCount": "2", "SentTimestamp": "1545082649183", "SenderId": "EXAMPLE",
				"ApproximateFirstReceiveTimestamp": "1545082649185",
			},
			MessageAttributes: map[string]events.SQSMessageAttribute{},
			EventSource:       "aws:sqs", EventSourceARN: "arn:aws:sqs:us-east-2:123456789012:my-queue", AWSRegion: "us-east-2",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		var first events.SQSEvent
		if err := json.Unmarshal(payloads[0], &first); err != nil {
			t.Fatal(err)
		}
		if r := first.Records[0]; r.Attributes["ApproximateReceiveCount"] != "1" || r.ReceiptHandle == got.ReceiptHandle || r.ReceiptHandle == "" {
			t.Errorf("the first receive: %+v", r)
		}
		if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(id) {
			t.Errorf("message id %q", id)
		}
	})
}
