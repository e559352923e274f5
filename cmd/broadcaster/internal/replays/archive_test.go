package replays_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awseventbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/replays"
	"github.com/bank-platform/secret-broadcaster/internal/awstest"
	"github.com/bank-platform/secret-broadcaster/invalidation/eventbridge"
)

const neon = "/bank/prod/payments/neon/connection-string"

// TestAnArchiveIsReplayedToOurRulesOnly on a third party's EventBridge, whose events of the window come once more, named.
func TestAnArchiveIsReplayedToOurRulesOnly(t *testing.T) {
	on, account := awstest.Config(t)
	bus, queues := awseventbridge.NewFromConfig(on), sqs.NewFromConfig(on)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	queueARN := "arn:aws:sqs:eu-west-2:" + account + ":"
	urls := map[string]*string{}
	for _, name := range []string{"payments", "kyc"} {
		out, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
		must(out, err)
		urls[name] = out.QueueUrl
		rule := "prod-" + name + "-secret-hint"
		must(bus.PutRule(t.Context(), &awseventbridge.PutRuleInput{Name: &rule, EventPattern: aws.String(`{"source":["secret-broadcaster"]}`)}))
		must(bus.PutTargets(t.Context(), &awseventbridge.PutTargetsInput{Rule: &rule, Targets: []types.Target{{Id: aws.String("queue"), Arn: aws.String(queueARN + name)}}}))
	}
	tick := aws.String("prod-payments-tick")
	must(bus.PutRule(t.Context(), &awseventbridge.PutRuleInput{Name: tick, ScheduleExpression: aws.String("rate(1 day)")}))
	must(bus.PutTargets(t.Context(), &awseventbridge.PutTargetsInput{Rule: tick, Targets: []types.Target{{Id: aws.String("queue"), Arn: aws.String(queueARN + "payments")}}}))
	must(bus.CreateArchive(t.Context(), &awseventbridge.CreateArchiveInput{
		ArchiveName: aws.String("prod-secretsmanager"), EventSourceArn: aws.String("arn:aws:events:eu-west-2:" + account + ":event-bus/default"),
	}))
	hinter := eventbridge.New(bus, "default")
	must(nil, hinter.Hint(t.Context(), neon))
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // events are dated to the second
	began := time.Now().Truncate(time.Second)
	must(nil, hinter.Hint(t.Context(), neon+"-2"))
	received := func(queue string) (events []string) {
		t.Helper()
		for {
			out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: urls[queue], MaxNumberOfMessages: 10, VisibilityTimeout: 600})
			must(out, err)
			if len(out.Messages) == 0 {
				return events
			}
			for _, m := range out.Messages {
				events = append(events, *m.Body)
			}
		}
	}
	if n := len(received("payments")) + len(received("kyc")); n != 4 {
		t.Fatalf("%d events arrived, want 4", n)
	}

	archive, err := replays.OpenArchive(t.Context(), bus, "prod-secretsmanager")
	must(archive, err)
	rules, err := archive.Rules(t.Context(), queueARN+"payments")
	if want := "arn:aws:events:eu-west-2:" + account + ":rule/prod-payments-secret-hint"; err != nil || !slices.Equal(rules, []string{want}) {
		t.Fatalf("rules %v, %v; want %s", rules, err, want)
	}
	must(nil, archive.Start(t.Context(), "prod-payments-1", replays.Window{From: began, To: time.Now().Add(time.Second)}, rules))
	var is replays.Replay
	for deadline := time.Now().Add(10 * time.Second); !is.Over() && time.Now().Before(deadline); {
		is, err = archive.Look(t.Context(), "prod-payments-1")
		must(is, err)
	}
	if !is.Done() || is.Name != "prod-payments-1" {
		t.Fatalf("the replay is %+v", is)
	}
	again := received("payments")
	var event struct {
		Replay string `json:"replay-name"`
	}
	if len(again) != 1 || json.Unmarshal([]byte(again[0]), &event) != nil || event.Replay != "prod-payments-1" || !strings.Contains(again[0], neon+"-2") {
		t.Errorf("replayed %v", again)
	}
	// The emulator replays to every rule of the bus; so the request has to do.
	asked, err := bus.DescribeReplay(t.Context(), &awseventbridge.DescribeReplayInput{ReplayName: aws.String("prod-payments-1")})
	if err != nil || asked.Destination == nil || !slices.Equal(asked.Destination.FilterArns, rules) {
		t.Errorf("it was started with %+v, %v", asked, err)
	}

	if _, err := archive.Rules(t.Context(), queueARN+"nobody"); !errors.Is(err, replays.ErrNoRules) {
		t.Errorf("a queue without rules: %v", err)
	}
	if _, err := replays.OpenArchive(t.Context(), bus, "none"); err == nil || !strings.HasPrefix(err.Error(), "looking at archive none: ") {
		t.Errorf("no archive: %v", err)
	}
	if _, err := archive.Look(t.Context(), "none"); err == nil || !strings.HasPrefix(err.Error(), "looking at replay none: ") {
		t.Errorf("no replay: %v", err)
	}
	if err := archive.Start(t.Context(), "prod-payments-1", replays.Window{From: began, To: time.Now()}, rules); err == nil {
		t.Error("two replays of a name")
	}
}
