package invalidation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	awssecretsmanager "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
	"github.com/bank-platform/secret-broadcaster/invalidation/secretsmanager"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// taskVariable makes of this test binary a broadcaster that does one task and ends.
const taskVariable = "INVALIDATION_TEST_TASK"

// A task is what a broadcaster in a process of its own is to do.
type task struct {
	Tables, Secrets, Functions string // addresses
	Told                       events.Signal
	KillAt                     int  // at this request to AWS; 0: never
	After                      bool // once it is answered, not before it is sent
}

func TestMain(m *testing.M) {
	text := os.Getenv(taskVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var t task
	err := json.Unmarshal([]byte(text), &t)
	if err == nil {
		err = t.do(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// do handles an event with the real edges.
func (t task) do(ctx context.Context) error {
	client := &http.Client{Transport: &killing{at: int64(t.KillAt), after: t.After}}
	store := dynamodb.New(awsdynamodb.New(awsdynamodb.Options{
		Region: "eu-west-2", Credentials: anybody(), BaseEndpoint: &t.Tables, HTTPClient: client, RetryMaxAttempts: 1,
	}), changesTable, operationsTable)
	subscriptions, err := subscribers.New(subscribers.Manifest{
		APIVersion: subscribers.APIVersion, Env: "prod", Domain: "payments", Owner: "payments-oncall@bank.example",
		Services: []subscribers.Service{{Name: "payments-api", Function: "payments-api", Secrets: []string{"**"}}},
	}, "prod", "payments")
	if err != nil {
		return err
	}
	b, err := invalidation.New(invalidation.Config{
		Account: "111122223333", Region: "eu-west-2", Env: "prod", Domain: "payments",
		Subscribed: invalidation.NewSubscribed("prod", "payments", store, invalidation.Packaged{Subscriptions: subscriptions}),
		Audience:   everybody(), Lister: nowhere{}, Sweeps: store, Control: store, Log: store, Fanouts: store, Logger: slog.New(slog.DiscardHandler), ConfirmWithin: time.Minute,
		Secrets: secretsmanager.New(awssecretsmanager.New(awssecretsmanager.Options{
			Region: "eu-west-2", Credentials: anybody(), BaseEndpoint: &t.Secrets, HTTPClient: client, RetryMaxAttempts: 1,
		})),
		Pusher: lambda.New(awslambda.New(awslambda.Options{
			Region: "eu-west-2", Credentials: anybody(), BaseEndpoint: &t.Functions, HTTPClient: client, RetryMaxAttempts: 1,
		})),
	})
	if err != nil {
		return err
	}
	if _, err := b.Confirm(ctx, []events.Signal{t.Told}); err != nil {
		return err
	}
	return b.Deliver(ctx)
}

// nowhere is not asked by an event.
type nowhere struct{ invalidation.Lister }

// killing kills its own process at one request: no deferred call, no last write.
type killing struct {
	at       int64
	after    bool
	requests atomic.Int64
}

func (k *killing) RoundTrip(r *http.Request) (*http.Response, error) {
	now := k.requests.Add(1) == k.at
	if now && !k.after {
		kill()
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if now {
		kill()
	}
	return response, err
}

func kill() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // until it is dead
}

// run runs a task in a process of its own and reports whether that was killed.
func (t task) run(tb testing.TB) (killed bool) {
	tb.Helper()
	text, err := json.Marshal(t)
	if err != nil {
		tb.Fatal(err)
	}
	process := exec.CommandContext(tb.Context(), os.Args[0])
	process.Env = append(os.Environ(), taskVariable+"="+string(text), "GORACE=atexit_sleep_ms=0") // or each waits a second
	output, err := process.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false
	case errors.As(err, &exit) && exit.ExitCode() == -1:
		return true
	}
	tb.Fatalf("%+v: %v\n%s", t, err, output)
	return false
}

// TestAKilledBroadcasterLosesNothing kills a broadcaster's process at each request that it makes, one process for each.
// Another process then gets the same event once more.
func TestAKilledBroadcasterLosesNothing(t *testing.T) {
	for name, after := range map[string]bool{"before the request": false, "after the answer": true} {
		t.Run(name, func(t *testing.T) {
			killed := true
			for step := 1; killed; step++ {
				killed = killedAt(t, step, after)
				if !killed && step <= 10 {
					t.Errorf("a run takes less than %d requests, want at least 10", step)
				}
				if t.Failed() {
					t.Fatalf("killed at step %d", step)
				}
			}
		})
	}
}

func killedAt(t *testing.T, step int, after bool) (killed bool) {
	t.Helper()
	local, err := tables.Open(tables.Config{})
	if err != nil {
		t.Fatal(err)
	}
	manager := secrets.New(secrets.Config{})
	var pushes atomic.Int64
	work := task{
		Tables: serve(t, local), Secrets: serve(t, manager), KillAt: step, After: after,
		Functions: serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pushes.Add(1)
			acknowledge(t, w, r)
		})),
	}
	client := awsdynamodb.New(awsdynamodb.Options{Region: "eu-west-2", Credentials: anybody(), BaseEndpoint: &work.Tables})
	if err := local.CreateTables("pk", "sk", changesTable, operationsTable); err != nil {
		t.Fatal(err)
	}
	created, err := manager.CreateSecret(secrets.CreateSecretInput{Name: neon, SecretString: "placeholder"})
	if err != nil {
		t.Fatal(err)
	}
	work.Told = events.Signal{
		Kind: events.Moved, Name: neon, Env: "prod", Domain: "payments", VersionID: created.VersionID, Trusted: true,
		Time: time.Now().Truncate(time.Second), EventID: "event-1", DetailType: "Secret Label Updated",
	}
	killed = work.run(t)
	again := work
	again.KillAt = 0
	if again.run(t) {
		t.Error("killed without being asked to")
	}

	if rows := chain(t, client); len(rows) != 1 || len(rows[0].Changes) != 1 || rows[0].Changes[0].VersionID != created.VersionID {
		t.Errorf("the log has %v, want the one change", rows)
	}
	store := dynamodb.New(client, changesTable, operationsTable)
	if open, err := store.Open(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("open %v, %v", open, err)
	}
	if all, err := store.Deliveries(t.Context(), 1); err != nil || len(all) != 1 || all[0].Outcome != invalidation.Acknowledged {
		t.Errorf("deliveries %+v, %v", all, err)
	}
	audit, err := client.GetItem(t.Context(), &awsdynamodb.GetItemInput{
		TableName: aws.String(operationsTable), Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: "audit"}, "sk": &types.AttributeValueMemberS{Value: wire.RevisionKey(1)},
		},
	})
	if err != nil || len(audit.Item) == 0 {
		t.Errorf("no audit record: %v", err)
	}
	if got := pushes.Load(); got < 1 {
		t.Errorf("pushed %d times", got)
	}
	return killed
}

// acknowledge answers an Invoke as an environment that has read the log up to the push.
func acknowledge(t *testing.T, w http.ResponseWriter, r *http.Request) {
	t.Helper()
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return // its process was killed
	}
	inv, _, err := wire.ParseInvalidation(payload)
	if err != nil {
		t.Error(err)
	}
	_, _ = w.Write(encoded(t, ackOf(inv.Detail)))
}

func serve(t *testing.T, handler http.Handler) (address string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}
