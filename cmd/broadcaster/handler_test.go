package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	awssecretsmanager "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const neon = "/bank/prod/payments/neon/connection-string"

// A lab is one process of the broadcaster in a world, whose time is that of a testing/synctest bubble.
type lab struct {
	*testing.T
	*world
	handler *handler
	logs    *bytes.Buffer
	metrics *bytes.Buffer
}

// inLab runs a test in a bubble.
func inLab(t *testing.T, test func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{T: t, world: newWorld(t)}
		l.restart()
		test(t, l)
	})
}

const packagedManifest = `apiVersion: secret-broadcaster/v1
env: prod
domain: payments
owner: payments-oncall@bank.example
services:
  - {name: payments-api, secrets: ["**"]}
  - {name: payments-batch, secrets: ["neon/*"], deliver: pull}
`

// restart begins a new process of the broadcaster.
func (l *lab) restart() {
	l.Helper()
	f, err := subscribers.Parse("payments.yaml", []byte(packagedManifest), "prod", "payments")
	if err != nil {
		l.Fatal(err)
	}
	cfg := config{
		env: "prod", domain: "payments", region: "eu-west-2", changesTable: changesTable, operationsTable: operationsTable,
		reportsTable: reportsTable, queueURL: "https://sqs.eu-west-2.amazonaws.com/" + account + "/prod-payments-broadcaster",
		packaged: invalidation.Packaged{Subscriptions: f.Subscriptions(), Text: f.Text}, maxPushes: 5, pushTimeout: 10 * time.Second,
	}
	l.logs, l.metrics = new(bytes.Buffer), new(bytes.Buffer)
	l.handler = newHandler(cfg, l.config(l.world), slog.New(slog.NewJSONHandler(l.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), l.metrics)
}

// invocation is the context of one, which ends after a minute.
func invocation(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{
		AwsRequestID: "request-1", InvokedFunctionArn: "arn:aws:lambda:eu-west-2:" + account + ":function:prod-payments-broadcaster:live",
	})
	return context.WithTimeout(ctx, time.Minute)
}

// invoke is one invocation, a second after what happened before it.
func (l *lab) invoke(payload string) (string, error) {
	l.Helper()
	time.Sleep(time.Second)
	ctx, cancel := invocation(l.T)
	defer cancel()
	a, err := l.handler.handle(ctx, json.RawMessage(payload))
	text, encoding := json.Marshal(a)
	if encoding != nil {
		l.Fatal(encoding)
	}
	return string(text), err
}

// receive is an invocation with messages, which must all be done but those named.
func (l *lab) receive(payload string, comeBack ...string) {
	l.Helper()
	got, err := l.invoke(payload)
	if err != nil {
		l.Fatal(err)
	}
	want := `{"batchItemFailures":[`
	for i, id := range comeBack {
		if i > 0 {
			want += ","
		}
		want += `{"itemIdentifier":"` + id + `"}`
	}
	if diff := cmp.Diff(want+"]}", got); diff != "" {
		l.Errorf("answer (-want +got):\n%s", diff)
	}
}

// messages is an SQS event of the events, whose message ids are m1, m2 and so on
// (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).
func messages(events ...string) string {
	records := make([]string, 0, len(events))
	for i, e := range events {
		body, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		records = append(records, fmt.Sprintf(`{"messageId":"m%d","eventSource":"aws:sqs","body":%s}`, i+1, body))
	}
	return `{"Records":[` + strings.Join(records, ",") + `]}`
}

// moved is AWS's native event, of now.
func moved(name, versionID string) string {
	return fmt.Sprintf(`{"version":"0","id":"event-of-%s","detail-type":"Secret Label Updated","source":"aws.secretsmanager","account":"%s",
		"time":%q,"region":"eu-west-2","resources":["arn:aws:secretsmanager:eu-west-2:%s:secret:%s-a1B2c3"],
		"detail":{"name":%q,"labelUpdated":"AWSCURRENT","versionId":%q}}`,
		versionID, account, time.Now().UTC().Format(time.RFC3339), account, name, name, versionID)
}

func hint(name string) string {
	return fmt.Sprintf(`{"id":"hint-1","detail-type":"Secret Change Hint","source":"secret-broadcaster","time":%q,"detail":{"name":%q}}`,
		time.Now().UTC().Format(time.RFC3339), name)
}

const tick = `{"id":"tick-1","detail-type":"Scheduled Event","source":"aws.events","detail":{}}`

// A line is what an event's log line says.
type line struct {
	EventID, DetailType, Outcome, Message, Reason, RequestID string
	Revision                                                 int64
}

// lines returns the events' log lines since the last call.
func (l *lab) lines() []line {
	l.Helper()
	var all []line
	for text := range strings.Lines(l.logs.String()) {
		var head struct{ Msg string }
		var one line
		if err := json.Unmarshal([]byte(text), &head); err != nil {
			l.Fatal(err)
		}
		if head.Msg != "event" {
			continue
		}
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			l.Fatal(err)
		}
		all = append(all, one)
	}
	l.logs.Reset()
	return all
}

func (l *lab) outcomes() []string {
	l.Helper()
	var all []string
	for _, one := range l.lines() {
		all = append(all, one.Outcome)
	}
	return all
}

func (l *lab) wantOutcomes(want ...string) {
	l.Helper()
	if diff := cmp.Diff(want, l.outcomes()); diff != "" {
		l.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func (l *lab) wantHead(revision int64) {
	l.Helper()
	if got := l.head(l.T).Revision; got != revision {
		l.Errorf("the log's head is revision %d, want %d", got, revision)
	}
}

func TestAChangeIsAppendedAndPushed(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		version := l.put(t, neon, "one")
		l.receive(messages(moved(neon, version)))
		l.wantHead(2) // revision 1 began the log
		if changes := l.head(t).Changes; len(changes) != 1 || changes[0].Name != neon || changes[0].VersionID != version {
			t.Errorf("the log says %+v", changes)
		}
		want := []line{{EventID: "event-of-" + version, DetailType: "Secret Label Updated", Outcome: "appended", Message: "m1", RequestID: "request-1", Revision: 2}}
		if diff := cmp.Diff(want, l.lines()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		pushes := l.pushes()
		if len(pushes) != 1 || pushes[0].Detail.Revision != 2 || pushes[0].Account != account || pushes[0].Region != "eu-west-2" {
			t.Fatalf("pushed %+v", pushes)
		}
		deliveries, open := l.deliveries(t, 2)
		if len(deliveries) != 2 || deliveries[0].Outcome != invalidation.Acknowledged || deliveries[1].Outcome != invalidation.Skipped || open {
			t.Errorf("deliveries %+v, open %t", deliveries, open)
		}
	})
}

func TestTheSameEventAgainIsADuplicate(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		event := moved(neon, l.put(t, neon, "one"))
		l.receive(messages(event))
		l.receive(messages(event))
		l.wantOutcomes("appended", "duplicate")
		l.wantHead(2)
		if n := len(l.pushes()); n != 1 {
			t.Errorf("%d pushes, want 1", n)
		}
	})
}

func TestAHintAboutNothingNewIsUnchanged(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		l.receive(messages(hint(neon)))
		l.wantOutcomes("appended", "unchanged")
		l.wantHead(2)
	})
}

// A hint says where it was put, as in CI's account, not where the secret is.
func TestAHintFromAnotherAccountIsFollowed(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.put(t, neon, "one")
		l.receive(messages(strings.Replace(hint(neon), "{", `{"account":"444455556666","region":"eu-central-1",`, 1)))
		l.wantOutcomes("appended")
	})
}

func TestAnotherDomainsSecretIsMisroutedAndDone(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		const archive = "/bank/prod/payments-archive/neon/connection-string"
		l.receive(messages(moved(archive, l.put(t, archive, "one"))))
		l.wantOutcomes("misrouted")
		l.wantHead(1)
	})
}

func TestWhatIsNoSignalIsParkedOrDone(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		custom := strings.ReplaceAll(moved(neon, "v1"), "AWSCURRENT", "blue")
		l.receive(messages("no JSON", `{"source":"aws.ec2","detail-type":"x"}`, custom, tick, `{"detail":1,"id":[]}`), "m1", "m2", "m5")
		l.wantOutcomes("malformed", "unknown", "ignored", "schedule", "malformed")
		l.wantHead(1)
	})
}

func TestOnlyWhatFailedComesBack(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		const stripe = "/bank/prod/payments/stripe/api-key"
		l.on(func(w *world) {
			w.onCall = func(_ *http.Request, operation, body string) *refusal {
				if operation == "DescribeSecret" && strings.Contains(body, "stripe") {
					return &refusal{http.StatusBadRequest, "AccessDeniedException"}
				}
				return nil
			}
		})
		batch := messages(moved(stripe, l.put(t, stripe, "one")), moved(neon, l.put(t, neon, "one")))
		l.receive(batch, "m1")
		l.wantOutcomes("failed", "appended")
		l.on(func(w *world) { w.onCall = nil })
		l.receive(batch)
		l.wantOutcomes("appended", "duplicate")
		l.wantHead(3)
	})
}

func TestMessagesAboutOneSecretAreOneRevision(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		version := l.put(t, neon, "one")
		l.receive(messages(hint(neon), moved(neon, version), moved(neon, version)))
		l.wantOutcomes("appended", "appended", "appended")
		l.wantHead(2)
	})
}

func TestABulkOfSecretsInOneBatch(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var all []string
		for i := range 30 {
			name := fmt.Sprintf("/bank/prod/payments/service-%02d/connection-string", i)
			all = append(all, moved(name, l.put(t, name, "one")))
		}
		l.receive(messages(all...))
		told := map[string]int64{}
		for revision := l.head(t).Revision; revision > 1; revision-- {
			row, err := l.store().Row(t.Context(), revision)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range row.Changes {
				told[c.Name] = revision
			}
		}
		if len(told) != 30 {
			t.Errorf("the log tells of %d secrets, want 30", len(told))
		}
		for _, one := range l.lines() {
			if one.Outcome != "appended" || one.Revision < 2 {
				t.Errorf("got %+v", one)
			}
		}
		pushes := l.pushes()
		if len(pushes) != 1 || pushes[0].Detail.Revision != l.head(t).Revision {
			t.Errorf("%d pushes, want one of the head", len(pushes))
		}
	})
}

func TestADeletionIsAppended(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		client := awssecretsmanager.NewFromConfig(l.config(l.secrets.RoundTripper()))
		name := neon
		if _, err := client.DeleteSecret(t.Context(), &awssecretsmanager.DeleteSecretInput{SecretId: &name}); err != nil {
			t.Fatal(err)
		}
		l.receive(messages(hint(neon)))
		l.wantOutcomes("appended", "appended")
		if changes := l.head(t).Changes; len(changes) != 1 || changes[0].Kind != "deleted" {
			t.Errorf("the log says %+v", changes)
		}
	})
}

func TestAMessageOfSeveralEventsComesBackOnce(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(tick, "["+hint("mySecret")+",{},"+hint("mySecret")+",{}]", "[{}]"), "m2", "m3")
		l.wantOutcomes("schedule", "ignored", "malformed", "ignored", "malformed", "malformed")
	})
}

func TestAStoreThatHangsLeavesTimeToSayWhatComesBack(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		event := moved(neon, l.put(t, neon, "one"))
		l.on(func(w *world) {
			w.onCall = func(r *http.Request, _, _ string) *refusal {
				<-r.Context().Done()
				return nil
			}
		})
		l.receive(messages(event, "no JSON", hint("mySecret")), "m1", "m2")
		l.wantOutcomes("failed", "malformed", "ignored")
	})
}

func TestDirectInvocations(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		for payload, want := range map[string]string{
			moved(neon, l.put(t, neon, "one")): "",
			hint("mySecret"):                   "",
			tick:                               "",
			`{"id":"e1"}`:                      `event "e1": malformed: $ must be an event, with source and detail-type`,
			`{"id":"e2","source":"secret-broadcaster","detail-type":"Secret Change Hint","detail":{}}`: `event "e2": malformed: $.detail.name must identify the secret`,
			hint("/bank/prod/payments/neon/never-made"):                                                "",
		} {
			got, err := l.invoke(payload)
			switch {
			case want == "" && (err != nil || got != `{"batchItemFailures":[]}`):
				t.Errorf("%s: got %s, %v", payload, got, err)
			case want != "" && (err == nil || err.Error() != want):
				t.Errorf("%s: got %v, want %s", payload, err, want)
			}
		}
		l.on(func(w *world) {
			w.onCall = func(_ *http.Request, operation, _ string) *refusal {
				if operation == "DescribeSecret" {
					return &refusal{http.StatusBadRequest, "AccessDeniedException"}
				}
				return nil
			}
		})
		if _, err := l.invoke(hint(neon)); err == nil || !strings.HasPrefix(err.Error(), `event "hint-1": failed: describing `+neon) {
			t.Errorf("a signal that cannot be confirmed: got %v", err)
		}
	})
}

func TestWithoutAFunctionsARNNothingIsDone(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		for _, ctx := range []context.Context{
			t.Context(),
			lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{InvokedFunctionArn: "prod-payments-broadcaster"}),
		} {
			if _, err := l.handler.handle(ctx, json.RawMessage(tick)); err == nil {
				t.Error("no error")
			}
		}
		l.wantHead(0)
	})
}
