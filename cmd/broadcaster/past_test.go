//go:build !lambdaartifact

package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history/historytest"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A past is a domain with a history, which the command line reads through AWS's API as it does a deployed one's: the tables,
// the queue and the functions' host are the local stand-ins.
type past struct {
	*historytest.History
	t   *testing.T
	now time.Time

	mu     sync.Mutex
	asked  map[string]int                                           // how often each of AWS's actions was
	answer func(out http.ResponseWriter, action string, n int) bool // the n-th of an action, in AWS's place, if it returns true
}

const neonLogin = "neon/connection-string"

func newPast(t *testing.T) *past {
	t.Helper()
	h := historytest.New(t)
	host, err := functions.New(functions.Config{Region: historytest.Region, AccountID: historytest.Account})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	messages := withDeadLetters(t, 2)
	at, err := url.Parse(host.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	lambda := httputil.NewSingleHostReverseProxy(at)
	p := &past{History: h, t: t, now: day("10:30:00"), asked: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		switch service, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); service {
		case "AmazonSQS":
			p.ask("sqs:" + operation)
			messages.ServeHTTP(out, r)
		case "DynamoDB_20120810":
			if n := p.ask("dynamodb:" + operation); p.answer == nil || !p.answer(out, "dynamodb:"+operation, n) {
				h.Tables.ServeHTTP(out, r)
			}
		case "secretsmanager":
			p.answer(out, "secretsmanager:"+operation, p.ask("secretsmanager:"+operation))
		default:
			p.ask("lambda:" + strings.Replace(path.Base(r.URL.Path), "configuration", "GetFunctionConfiguration", 1))
			lambda.ServeHTTP(out, r)
		}
	}))
	t.Cleanup(server.Close)
	for _, f := range []functions.Function{
		{Name: "prod-payments-broadcaster", Timeout: 5 * time.Minute, Env: []string{
			"BROADCASTER_ENV=prod", "BROADCASTER_DOMAIN=payments", "BROADCASTER_CHANGES_TABLE=" + historytest.ChangesTable,
			"BROADCASTER_OPERATIONS_TABLE=" + historytest.OperationsTable, "BROADCASTER_REPORTS_TABLE=" + historytest.ReportsTable,
			"BROADCASTER_QUEUE_URL=" + messages.URL(server.URL),
		}},
		{Name: "payments-api", Timeout: 30 * time.Second, Aliases: []string{"live"}},
		{Name: "payments-batch", Timeout: 10 * time.Minute},
		{Name: "ledger", Timeout: 10 * time.Second},
	} {
		f.Command = []string{"false"} // nobody invokes it
		if err := host.Deploy(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"AWS_REGION": historytest.Region, "AWS_ACCESS_KEY_ID": "placeholder", "AWS_SECRET_ACCESS_KEY": "placeholder", "AWS_CONFIG_FILE": "/dev/null",
		"AWS_ENDPOINT_URL": server.URL,
	} {
		t.Setenv(name, value)
	}
	return p
}

// ask notes an action and returns how often it was.
func (p *past) ask(action string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[action]++
	return p.asked[action]
}

// withDeadLetters returns the broadcaster's queue, in which messages were parked.
func withDeadLetters(t *testing.T, n int) *queue.Queue {
	t.Helper()
	q := queue.New(queue.Config{
		QueueARN: "arn:aws:sqs:eu-west-2:111122223333:prod-payments-broadcaster", MaxReceives: 1, VisibilityTimeout: time.Millisecond,
		Invoke: func(context.Context, []byte) ([]byte, string, error) {
			return nil, "", errors.New("it does not answer")
		},
	})
	for range n {
		q.Send("{}")
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go q.Run(ctx)
	if err := q.Wait(t.Context()); err != nil || len(q.Dead()) != n {
		t.Fatalf("%d parked, %v", len(q.Dead()), err)
	}
	return q
}

// day is a time of the day that the history is of, as 10:15:00.
func day(text string) time.Time {
	at, err := time.Parse(time.RFC3339, "2026-11-23T"+text+"Z")
	if err != nil {
		panic(err)
	}
	return at
}

// payments is the history that docs/on-call.md shows. Its broadcaster was down from 09:20 to 10:05; a service cannot use a new
// version, another is throttled, a third one is stuck.
func payments(t *testing.T) *past {
	t.Helper()
	p := newPast(t)
	batch := invalidation.Delivery{Subscription: "payments-batch", Function: "payments-batch", Outcome: invalidation.Skipped, Reason: invalidation.Pull}
	row := p.Moved(neonLogin, 1, day("09:10:00"))
	p.Deliver(row, historytest.Acked(row, "payments-api", "7f3c01", 1200*time.Millisecond, wire.Applied), batch)
	row = p.Moved("stripe/api-key", 2, day("09:15:00"))
	p.Deliver(row, historytest.Acked(row, "payments-api", "7f3c01", 800*time.Millisecond, wire.NotCached))
	row = p.Found("redis/password", 3, day("09:31:10"), day("10:05:00"))
	p.Deliver(row, historytest.Owed(row, "ledger", 3*time.Second, invalidation.Undelivered, invalidation.Throttled))
	row = p.Found("kafka/password", 4, day("09:40:00"), day("10:05:03"))
	p.Deliver(row, historytest.Owed(row, "ledger", 3*time.Second, invalidation.Undelivered, invalidation.Throttled))
	row = p.Moved(neonLogin, 5, day("10:12:00"))
	refused := historytest.Acked(row, "payments-api", "7f3c02", 1500*time.Millisecond, wire.Failed)
	refused.Outcome, refused.Reason, refused.Ack.Secrets[0].Reason = invalidation.Undelivered, invalidation.NotApplied, wire.ReasonRefused
	refused.Error = "the environment could not apply " + row.Changes[0].Name + ": " + wire.ReasonRefused
	p.Deliver(row, refused, batch)
	row = p.Moved("stripe/api-key", 6, day("10:25:00"))
	p.Deliver(row, historytest.Acked(row, "payments-api", "7f3c01", 700*time.Millisecond, wire.Applied))
	row = p.Moved("secret-broadcaster/canary", 7, day("10:26:00"))
	p.Deliver(row)
	row = p.Moved("datadog/api-key", 8, day("10:29:30"))
	p.Record(row, historytest.Owed(row, "ledger", 10*time.Second, invalidation.Pending, invalidation.TimedOut))

	refuses := historytest.Holding(neonLogin, 5)
	refuses.Outcome, refuses.Reason, refuses.Verified = wire.Failed, wire.ReasonRefused, false
	p.Report(
		historytest.Report("payments-api", "7f3c01", day("10:29:40"), 8, historytest.Holding(neonLogin, 5), historytest.Holding("stripe/api-key", 6)),
		historytest.Report("payments-api", "7f3c02", day("10:12:03"), 5, refuses),
		historytest.Report("payments-api", "7f3c03", day("09:50:00"), 2, historytest.Holding(neonLogin, 1)),
		historytest.Report("payments-batch", "b41e01", day("10:20:00"), 2, historytest.Holding(neonLogin, 1)),
		historytest.Report("ledger", "1ed901", day("10:05:10"), 4, historytest.Holding("redis/password", 3)),
		historytest.Report("secret-broadcaster-canary", "ca4a01", day("10:26:04"), 7, historytest.Holding("secret-broadcaster/canary", 7)),
	)
	if err := p.Store.SaveProgress(t.Context(), invalidation.Progress{First: day("09:00:00"), Completed: day("10:27:00")}); err != nil {
		t.Fatal(err)
	}
	return p
}
