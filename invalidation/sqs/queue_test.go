package sqs_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bank-platform/secret-broadcaster/internal/awstest"
	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/sqs"
)

// TestTheDepthsOfAQueue on a third party's SQS: what waits, what somebody works on, what is delayed, what is parked.
func TestTheDepthsOfAQueue(t *testing.T) {
	on, account := awstest.Config(t)
	client := sdk.NewFromConfig(on)
	create := func(name string, attributes map[string]string) *string {
		t.Helper()
		out, err := client.CreateQueue(t.Context(), &sdk.CreateQueueInput{QueueName: &name, Attributes: attributes})
		if err != nil {
			t.Fatal(err)
		}
		return out.QueueUrl
	}
	send := func(url *string, delay int32) {
		t.Helper()
		if _, err := client.SendMessage(t.Context(), &sdk.SendMessageInput{QueueUrl: url, MessageBody: aws.String("{}"), DelaySeconds: delay}); err != nil {
			t.Fatal(err)
		}
	}
	alone := create("alone", nil)
	send(alone, 0)
	if got, err := sqs.NewQueue(client, *alone).Depths(t.Context()); err != nil || got != (history.Depths{Waiting: 1}) {
		t.Errorf("a queue without dead letters: %+v, %v", got, err)
	}
	parked := create("dead-letters", nil)
	url := create("queue", map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-2:` + account + `:dead-letters","maxReceiveCount":"5"}`,
	})
	for range 3 {
		send(url, 0)
	}
	if _, err := client.ReceiveMessage(t.Context(), &sdk.ReceiveMessageInput{QueueUrl: url}); err != nil {
		t.Fatal(err)
	}
	send(url, 600)
	send(parked, 0)
	send(parked, 0)
	if _, err := client.ReceiveMessage(t.Context(), &sdk.ReceiveMessageInput{QueueUrl: parked}); err != nil { // looked at by somebody, and parked all the same
		t.Fatal(err)
	}
	want := history.Depths{Waiting: 2, InFlight: 1, Delayed: 1, DeadLetters: 2}
	if got, err := sqs.NewQueue(client, *url).Depths(t.Context()); err != nil || got != want {
		t.Errorf("got %+v, want %+v, %v", got, want, err)
	}
	if _, err := sqs.NewQueue(client, *url+"-another").Depths(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "looking at queue "+*url+"-another: ") {
		t.Errorf("a queue that is not there: %v", err)
	}
}

// TestTheDepthsOfALocalQueue are told as SQS tells them.
func TestTheDepthsOfALocalQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(queue.Config{
			MaxReceives: 1, BatchSize: 1, Concurrency: 1, VisibilityTimeout: time.Minute,
			Invoke: func(context.Context, []byte) ([]byte, string, error) { return nil, "", errors.New("unreachable") },
		})
		ctx, stop := context.WithCancel(t.Context())
		go q.Run(ctx)
		q.Send("parked in a minute")
		time.Sleep(2 * time.Minute)
		q.Send("in flight")
		synctest.Wait()
		q.Send("delayed", queue.Delay(time.Hour))
		stop()
		synctest.Wait()
		q.Send("waiting")
		client := sdk.New(sdk.Options{
			Region: "eu-west-2", HTTPClient: &http.Client{Transport: within{q}}, RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
		})
		want := history.Depths{Waiting: 1, InFlight: 1, Delayed: 1, DeadLetters: 1}
		if got, err := sqs.NewQueue(client, q.URL("https://sqs.eu-west-2.amazonaws.com")).Depths(t.Context()); err != nil || got != want {
			t.Errorf("got %+v, want %+v, %v", got, want, err)
		}
		if _, err := sqs.NewQueue(client, q.URL("https://sqs.eu-west-2.amazonaws.com")+"-another").Depths(t.Context()); err == nil {
			t.Error("a queue that is not there has depths")
		}
	})
}
