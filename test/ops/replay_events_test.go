package ops_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awseventbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventbridgetypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/eventbridge"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// emulated gives the world a queue, its dead-letter queue and an archive of the third party's, in an account of its own, and
// the broadcaster that queue.
func (w *world) emulated() (config aws.Config, queue, dead string) {
	w.Helper()
	w.who = w.account
	config = aws.Config{Region: region, BaseEndpoint: &w.sts, Credentials: credentials.NewStaticCredentialsProvider(w.who, "placeholder", "")}
	sqs := awssqs.NewFromConfig(config)
	create := func(name string, attributes map[string]string) string {
		out, err := sqs.CreateQueue(w.Context(), &awssqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
		if err != nil {
			w.Fatal(err)
		}
		return *out.QueueUrl
	}
	dead = create(broadcaster+"-dead-letters", nil)
	queue = create(broadcaster, map[string]string{
		"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:%s:%s:%s-dead-letters","maxReceiveCount":"5"}`, region, w.who, broadcaster),
	})
	f := w.deployed[broadcaster]
	f.Env = append(f.Env, "BROADCASTER_QUEUE_URL="+queue, "AWS_ENDPOINT_URL_SQS="+w.sts, "AWS_ACCESS_KEY_ID="+w.who)
	w.put(f)
	return config, queue, dead
}

// receive hands what is in the queue to the broadcaster, as the event source does, and returns how many messages there were.
func (w *world) receive(config aws.Config, queue string) int {
	w.Helper()
	sqs := awssqs.NewFromConfig(config)
	out, err := sqs.ReceiveMessage(w.Context(), &awssqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10})
	if err != nil {
		w.Fatal(err)
	}
	for _, m := range out.Messages {
		record, err := json.Marshal(map[string]any{"Records": []any{map[string]any{"messageId": m.MessageId, "eventSource": "aws:sqs", "body": m.Body}}})
		if err != nil {
			w.Fatal(err)
		}
		answer, failed := w.invoke(broadcaster+":live", string(record))
		if failed || !strings.Contains(answer, `"batchItemFailures":[]`) {
			w.Fatalf("the broadcaster answers %s", answer)
		}
		if _, err := sqs.DeleteMessage(w.Context(), &awssqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
			w.Fatal(err)
		}
	}
	return len(out.Messages)
}

// whatWasParkedIsSentAgain: nobody could read the queue, say, and its messages were parked.
func whatWasParkedIsSentAgain(w *world) {
	before := w.begin()
	config, queue, dead := w.emulated()
	if _, err := w.secrets.PutSecretValue(secrets.PutSecretValueInput{SecretID: neon, SecretString: "value 1"}); err != nil {
		w.Fatal(err)
	}
	hint := `{"id":"e1","source":"secret-broadcaster","detail-type":"Secret Change Hint","detail":{"name":"` + neon + `"}}`
	for range 2 {
		if _, err := awssqs.NewFromConfig(config).SendMessage(w.Context(), &awssqs.SendMessageInput{QueueUrl: &dead, MessageBody: &hint}); err != nil {
			w.Fatal(err)
		}
	}
	w.wantText("replay-dlq-dry-run", w.succeed(on("replay", "--from", "dlq", "--reason", "INC-4711", "--dry-run")...))
	w.wantText("replay-dlq", w.succeed(on("replay", "--from", "dlq", "--reason", "INC-4711")...))
	if n := w.receive(config, queue); n != 2 || w.read() == before {
		w.Errorf("%d messages came back", n)
	}
	w.wantRecorded("replay dlq: about 2 messages of queue prod-payments-broadcaster-dead-letters: INC-4711")
}

// archived makes an archive, and a rule that sends hints to the queue once it is on.
func (w *world) archived(bus *awseventbridge.Client) awseventbridge.PutRuleInput {
	w.Helper()
	must := func(_ any, err error) {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
	}
	must(bus.CreateArchive(w.Context(), &awseventbridge.CreateArchiveInput{
		ArchiveName: aws.String("prod-secretsmanager"), EventSourceArn: aws.String("arn:aws:events:" + region + ":" + w.account + ":event-bus/default"),
	}))
	rule := awseventbridge.PutRuleInput{
		Name: aws.String("prod-payments-secret-hint"), State: eventbridgetypes.RuleStateDisabled,
		EventPattern: aws.String(`{"source":["secret-broadcaster"],"detail-type":["Secret Change Hint"],"detail":{"name":[{"prefix":"/bank/prod/payments/"}]}}`),
	}
	must(bus.PutRule(w.Context(), &rule))
	must(bus.PutTargets(w.Context(), &awseventbridge.PutTargetsInput{Rule: rule.Name, Targets: []eventbridgetypes.Target{
		{Id: aws.String("queue"), Arn: aws.String("arn:aws:sqs:" + region + ":" + w.account + ":" + broadcaster)},
	}}))
	return rule
}

// whatTheArchiveHasIsSentAgain: the rule was off for a while, as when somebody disabled it, and then is on again. Archive, rule
// and queue are the third party's. It archives only what somebody put, and lets nobody put an event of AWS's: so the event is a
// hint, and the archive of all sources.
func whatTheArchiveHasIsSentAgain(w *world) {
	before := w.begin()
	config, queue, _ := w.emulated()
	bus := awseventbridge.NewFromConfig(config)
	rule := w.archived(bus)
	if _, err := w.secrets.PutSecretValue(secrets.PutSecretValueInput{SecretID: neon, SecretString: "value 1"}); err != nil {
		w.Fatal(err)
	}
	if err := eventbridge.New(bus, "default").Hint(w.Context(), neon); err != nil {
		w.Fatal(err)
	}
	rule.State = eventbridgetypes.RuleStateEnabled
	if _, err := bus.PutRule(w.Context(), &rule); err != nil {
		w.Fatal(err)
	}
	if n := w.receive(config, queue); n != 0 {
		w.Fatalf("%d messages came although the rule was off", n)
	}

	archive := on("replay", "--from", "archive", "--since", "1h", "--archive-delay", "0s", "--reason", "INC-4711: the rule was off")
	w.wantText("replay-archive-dry-run", w.succeed(append(archive, "--dry-run")...))
	w.interruptedWhileWaiting(on("replay", "--from", "archive", "--since", "1h", "--reason", "too early")...)
	if code, _, stderr := w.command(append(archive, "--archive", "another")...); code != 1 || !strings.HasPrefix(stderr, "broadcaster: looking at archive another: ") {
		w.Errorf("another archive: exit code %d, %s", code, stderr)
	}
	w.wantText("replay-archive", w.succeed(archive...))
	w.until("the event", func() bool { return w.receive(config, queue) > 0 })
	if d := w.delivery(2); d.Outcome != invalidation.Acknowledged || w.read() == before {
		w.Errorf("delivered %+v", d)
	}
	w.wantRecorded("replay archive: prod-secretsmanager, TIME to TIME, as replay prod-payments-TIME: INC-4711: the rule was off")
	for row, err := range w.store.Rows(w.Context(), history.Span{From: 2}) {
		if err != nil || len(row.Causes) != 1 || !strings.HasPrefix(row.Causes[0].Replay, "prod-payments-") {
			w.Errorf("caused by %+v, %v", row.Causes, err)
		}
	}
}

// interruptedWhileWaiting: an event may still be on its way to the archive, and whoever does not want to wait for it stops.
func (w *world) interruptedWhileWaiting(args ...string) {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), w.program, args...)
	cmd.Env = w.oncall()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		w.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if said = append(said, lines.Text()); len(said) == 1 {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				w.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // the exit code tells
	if len(said) != 2 || !strings.HasSuffix(said[0], ", when all events have reached the archive") || cmd.ProcessState.ExitCode() != 1 ||
		said[1] != "broadcaster: interrupted: nothing was started, the same command begins anew" {
		w.Errorf("exit code %d, %q", cmd.ProcessState.ExitCode(), said)
	}
}
