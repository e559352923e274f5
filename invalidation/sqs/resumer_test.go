package sqs_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
	"github.com/bank-platform/secret-broadcaster/invalidation/sqs"
)

// within serves requests without a network, so that it works where time is simulated.
type within struct{ http.Handler }

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	w.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

func resumerOf(q http.Handler, url string) *sqs.Resumer {
	return sqs.New(sdk.New(sdk.Options{
		Region: "eu-west-2", HTTPClient: &http.Client{Transport: within{q}}, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	}), url)
}

// TestTheBroadcasterIsInvokedAgainAfterAWhile: with a message that the parser takes for what it is, in whole seconds that
// are never too few, and a quarter of an hour at the most.
func TestTheBroadcasterIsInvokedAgainAfterAWhile(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		5 * time.Second: 5 * time.Second, 1500 * time.Millisecond: 2 * time.Second, 0: 0, time.Hour: 15 * time.Minute,
	} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var (
					payload string
					took    time.Duration
				)
				q := queue.New(queue.Config{Invoke: func(_ context.Context, event []byte) ([]byte, string, error) {
					payload, took = string(event), time.Since(began)
					return []byte(`{"batchItemFailures":[]}`), "", nil
				}})
				ctx, stop := context.WithCancel(t.Context())
				go q.Run(ctx)
				if err := resumerOf(q, q.URL("https://sqs.eu-west-2.amazonaws.com")).Resume(t.Context(), after); err != nil {
					t.Fatal(err)
				}
				if err := q.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				stop()
				if took != want {
					t.Errorf("invoked after %v, want %v", took, want)
				}
				if got := events.Parse([]byte(payload)); len(got) != 1 || got[0].Outcome != events.Resumed {
					t.Errorf("invoked with %s, which is %+v", payload, got)
				}
			})
		})
	}
}

func TestAQueueThatIsNotThere(t *testing.T) {
	q := queue.New(queue.Config{})
	const url = "https://sqs.eu-west-2.amazonaws.com/111122223333/another"
	if err := resumerOf(q, url).Resume(t.Context(), time.Second); err == nil || !strings.HasPrefix(err.Error(), "sending to queue "+url+": ") {
		t.Errorf("got %v", err)
	}
}
