package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awssecretsmanager "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/secretsmanager"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const (
	region, account = "eu-west-2", "111122223333"
	changesTable    = "prod-payments-changes"
	operationsTable = "prod-payments-operations"
	reportsTable    = "prod-payments-reports"
	name            = "/bank/prod/payments/secret-broadcaster/canary"
)

// A world is the AWS around a canary, and the domain's broadcaster, which hears of a change after a while, or never.
type world struct {
	*testing.T
	tables      *tables.Tables
	secrets     *secrets.Manager
	broadcaster *invalidation.Broadcaster
	after       time.Duration
	lost        bool
	deaf        bool // the canary cannot read the log
	moves       atomic.Int64

	told    bytes.Buffer // the canary's log
	metrics bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, after: time.Second}
	var err error
	if w.tables, err = tables.Open(tables.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := w.tables.CreateTables("pk", "sk", changesTable, operationsTable, reportsTable); err != nil {
		t.Fatal(err)
	}
	w.secrets = secrets.New(secrets.Config{Region: region, Account: account, OnLabel: w.hear})
	if _, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: "placeholder"}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour) // by the test's clock: the secret is not young
	w.broadcaster = w.newBroadcaster()
	if err := w.broadcaster.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.tick()
	return w
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	switch service, _, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); service {
	case "DynamoDB_20120810":
		return w.tables.RoundTripper().RoundTrip(r)
	case "secretsmanager":
		return w.secrets.RoundTripper().RoundTrip(r)
	default:
		return nil, errors.New("nobody knows the service " + service)
	}
}

// deaf is the canary's way to AWS, which may be cut off from the log.
type deaf struct{ w *world }

// RoundTrip implements http.RoundTripper.
func (d deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.w.deaf && strings.HasPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB") {
		return nil, errors.New("refused by the test")
	}
	return d.w.RoundTrip(r)
}

func (w *world) config(way http.RoundTripper) aws.Config {
	return aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""), RetryMaxAttempts: 1,
		HTTPClient: &http.Client{Transport: way},
	}
}

func (w *world) newBroadcaster() *invalidation.Broadcaster {
	w.Helper()
	none, err := subscribers.New(subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: "prod", Domain: "payments", Owner: "payments-oncall@bank.example"}, "prod", "payments")
	if err != nil {
		w.Fatal(err)
	}
	store, vault := w.store(), awssecretsmanager.NewFromConfig(w.config(w))
	b, err := invalidation.New(invalidation.Config{
		Account: account, Region: region, Env: "prod", Domain: "payments",
		Subscribed: invalidation.NewSubscribed("prod", "payments", store, invalidation.Packaged{Subscriptions: none}),
		Secrets:    secretsmanager.New(vault), Lister: secretsmanager.NewLister(vault), Log: store, Fanouts: store, Sweeps: store, Control: store, Pusher: nobody{},
		Audience: invalidation.NewAudience("prod", "payments", nobody{}, dynamodb.NewReports(awsdynamodb.NewFromConfig(w.config(w)), reportsTable), nil),
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// tick has the broadcaster look for changes whose events never came.
func (w *world) tick() {
	w.Helper()
	if r, err := w.broadcaster.Reconcile(w.Context()); err != nil || !r.Completed {
		w.Fatalf("%+v, %v", r, err)
	}
}

// nobody is pushed to.
type nobody struct{}

func (nobody) Push(context.Context, string, []byte) ([]byte, error) {
	return nil, invalidation.ErrNoFunction
}

func (nobody) Look(context.Context, string) (invalidation.FunctionState, error) {
	return invalidation.FunctionState{}, invalidation.ErrNoFunction
}

func (w *world) store() *dynamodb.Store {
	return dynamodb.New(awsdynamodb.NewFromConfig(w.config(w)), changesTable, operationsTable)
}

// hear has the broadcaster hear of a label's move by AWS's own event.
func (w *world) hear(moved secrets.LabelUpdated) {
	w.moves.Add(1)
	if w.lost {
		return
	}
	text, err := json.Marshal(map[string]any{
		"version": "0", "id": moved.VersionID, "detail-type": "Secret Label Updated", "source": "aws.secretsmanager",
		"account": account, "region": region, "time": moved.Time.UTC().Format(time.RFC3339), "resources": []string{moved.ARN},
		"detail": map[string]string{"name": moved.Name, "labelUpdated": moved.Label, "versionId": moved.VersionID},
	})
	if err != nil {
		w.Error(err)
	}
	time.AfterFunc(w.after, func() {
		if handled, err := w.broadcaster.Confirm(w.Context(), []events.Signal{events.Parse(text)[0].Signal}); err != nil {
			w.Errorf("%v, %v", handled, err)
		}
	})
}

// canary returns a new one, as another execution environment has it.
func (w *world) canary() lambda.Handler {
	w.Helper()
	settings := map[string]string{
		"CANARY_SECRET": name, "SECRET_BROADCAST_TABLE": changesTable, "SECRET_BROADCAST_REPORTS_TABLE": reportsTable,
		"SECRET_BROADCAST_ENV": "prod", "SECRET_BROADCAST_DOMAIN": "payments", "POWERTOOLS_SERVICE_NAME": "secret-broadcaster-canary",
		"POWERTOOLS_PARAMETERS_MAX_AGE": "1", // which must not be what serves a change
	}
	h, err := newHandler(w.config(deaf{w}), func(name string) string { return settings[name] }, slog.New(slog.NewJSONHandler(&w.told, nil)), &w.metrics)
	if err != nil {
		w.Fatal(err)
	}
	return h
}

// runs invokes a canary once, and returns what it answers and measures.
func (w *world) runs(h lambda.Handler) (r run, measured map[string]any, err error) {
	w.Helper()
	w.metrics.Reset()
	answer, err := h.Invoke(w.Context(), []byte(`{"source":"aws.events"}`))
	if err == nil {
		if err := json.Unmarshal(answer, &r); err != nil {
			w.Fatal(err)
		}
	}
	if err := json.Unmarshal(w.metrics.Bytes(), &measured); err != nil {
		w.Fatalf("%v: %s", err, &w.metrics)
	}
	return r, measured, err
}

// current returns the version that AWSCURRENT names.
func (w *world) current() string {
	w.Helper()
	is, err := w.secrets.GetSecretValue(secrets.GetSecretValueInput{SecretID: name})
	if err != nil {
		w.Fatal(err)
	}
	return is.VersionID
}
