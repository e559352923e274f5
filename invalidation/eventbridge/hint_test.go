package eventbridge_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awseventbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/awstest"
	"github.com/bank-platform/secret-broadcaster/invalidation/eventbridge"
)

const neon = "/bank/prod/payments/neon/connection-string"

// at is a configuration for an endpoint of this test's own.
func at(endpoint string) aws.Config {
	return aws.Config{
		Region: "eu-west-2", BaseEndpoint: &endpoint, HTTPClient: http.DefaultClient,
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	}
}

// TestAHintArrives on a third party's EventBridge, through a rule and a queue as deployed, and is what the broadcaster takes
// for one.
func TestAHintArrives(t *testing.T) {
	on, account := awstest.Config(t)
	bus, queues := awseventbridge.NewFromConfig(on), sqs.NewFromConfig(on)
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("hints")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bus.PutRule(t.Context(), &awseventbridge.PutRuleInput{
		Name:         aws.String("hints"),
		EventPattern: aws.String(`{"source":["secret-broadcaster"],"detail-type":["Secret Change Hint"],"detail":{"name":[{"prefix":"/bank/prod/payments/"}]}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bus.PutTargets(t.Context(), &awseventbridge.PutTargetsInput{
		Rule: aws.String("hints"), Targets: []types.Target{{Id: aws.String("queue"), Arn: aws.String("arn:aws:sqs:eu-west-2:" + account + ":hints")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Second)
	if err := eventbridge.New(bus, "default").Hint(t.Context(), neon); err != nil {
		t.Fatal(err)
	}
	got, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: queue.QueueUrl, WaitTimeSeconds: 10, MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"SentTimestamp"},
	})
	if err != nil || len(got.Messages) != 1 {
		t.Fatalf("%d messages, %v", len(got.Messages), err)
	}
	r := events.Parse([]byte(*got.Messages[0].Body))[0]
	s := r.Signal
	if r.Outcome != events.Signaled || s.Kind != events.Check || s.Name != neon || s.Trusted || s.EventID == "" || s.Time.Before(before.Truncate(time.Second)) {
		t.Errorf("got %+v", r)
	}
}

// golden reads what the Node helper's tests read as well.
func golden(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// TestAHintIsTheGoldenEntry: the same from each helper.
func TestAHintIsTheGoldenEntry(t *testing.T) {
	var want, got any
	golden(t, "hint.json", &want)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"FailedEntryCount":0,"Entries":[{"EventId":"e"}]}`))
	}))
	t.Cleanup(server.Close)
	if err := eventbridge.New(awseventbridge.NewFromConfig(at(server.URL)), "default").Hint(t.Context(), neon); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestANameThatWouldBeIgnoredIsAnError, and nothing is sent.
func TestANameThatWouldBeIgnoredIsAnError(t *testing.T) {
	sent := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		sent++
		_, _ = w.Write([]byte(`{"FailedEntryCount":0,"Entries":[{"EventId":"e"}]}`))
	}))
	t.Cleanup(server.Close)
	h := eventbridge.New(awseventbridge.NewFromConfig(at(server.URL)), "default")
	var names struct{ Taken, Refused []string }
	golden(t, "names.json", &names)
	for _, name := range names.Taken {
		if err := h.Hint(t.Context(), name); err != nil {
			t.Errorf("%q: got %v", name, err)
		}
	}
	for _, name := range append(names.Refused, neon+strings.Repeat("x", 512)) {
		if err := h.Hint(t.Context(), name); !errors.Is(err, eventbridge.ErrName) {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if sent != len(names.Taken) || sent == 0 {
		t.Errorf("%d hints were sent for %d names", sent, len(names.Taken))
	}
}

// TestAHintThatEventBridgeDoesNotTakeIsAnError: also one that it refuses with an answer of 200.
func TestAHintThatEventBridgeDoesNotTakeIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		answer string
		want   string
	}{
		"refused entry":  {http.StatusOK, `{"FailedEntryCount":1,"Entries":[{"ErrorCode":"NotAuthorizedForSourceException","ErrorMessage":"Not authorized for the source."}]}`, "bus default: NotAuthorizedForSourceException: Not authorized"},
		"refused at all": {http.StatusBadRequest, `{"__type":"AccessDeniedException","message":"not allowed"}`, "AccessDeniedException"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.answer))
		}))
		err := eventbridge.New(awseventbridge.NewFromConfig(at(server.URL)), "default").Hint(t.Context(), neon)
		server.Close()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestAHintDoesNotHoldUpWhoSendsIt.
func TestAHintDoesNotHoldUpWhoSendsIt(t *testing.T) {
	hangs := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hangs:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(hangs); server.Close() })
	began := time.Now()
	err := eventbridge.New(awseventbridge.NewFromConfig(at(server.URL)), "default").Hint(t.Context(), neon)
	if took := time.Since(began); err == nil || took > 10*time.Second {
		t.Errorf("got %v after %v", err, took)
	}
}
