package bulk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
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
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

const (
	region, account = "eu-west-2", "111122223333"
	changesTable    = "prod-payments-changes"
	operationsTable = "prod-payments-operations"
	reportsTable    = "prod-payments-reports"
)

// A world is a domain with its secrets, its broadcasters and its environments.
type world struct {
	t       *testing.T
	tables  *tables.Tables
	client  *awsdynamodb.Client
	secrets *secrets.Manager
	random  *rand.Rand
	names   []string
	current map[string]string // version by name
	fleet   []*environment

	described atomic.Int64 // how often a broadcaster asked for a secret

	mu     sync.Mutex // guards what follows
	told   []events.Signal
	pushed map[*environment]int
}

// newWorld makes a domain in which nothing has happened yet but that some secrets are there.
func newWorld(t *testing.T, howMany int) *world {
	t.Helper()
	w := &world{t: t, random: rand.New(rand.NewPCG(1, 1)), current: map[string]string{}, pushed: map[*environment]int{}}
	var err error
	if w.tables, err = tables.Open(tables.Config{}); err != nil {
		t.Fatal(err)
	}
	w.client = awsdynamodb.New(awsdynamodb.Options{
		Region: region, Credentials: anybody(), HTTPClient: &http.Client{Transport: w.tables.RoundTripper()},
	})
	if err := w.tables.CreateTables("pk", "sk", changesTable, operationsTable, reportsTable); err != nil {
		t.Fatal(err)
	}
	w.secrets = secrets.New(secrets.Config{Region: region, Account: account, OnLabel: w.hear})
	for i := range howMany {
		name := fmt.Sprintf("/bank/prod/payments/service-%d/key-%d", i%20, i)
		created, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: "placeholder"})
		if err != nil {
			t.Fatal(err)
		}
		w.names = append(w.names, name)
		w.current[name] = created.VersionID
	}
	time.Sleep(time.Hour) // by the test's clock: nothing is young
	return w
}

func anybody() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider("placeholder", "placeholder", "")
}

// hear makes of a label's move what the parser makes of AWS's event about it. It comes twice: so do events.
func (w *world) hear(moved secrets.LabelUpdated) {
	text, err := json.Marshal(map[string]any{
		"version": "0", "id": moved.VersionID, "detail-type": "Secret Label Updated", "source": "aws.secretsmanager",
		"account": account, "region": region, "time": moved.Time.UTC().Format(time.RFC3339), "resources": []string{moved.ARN},
		"detail": map[string]string{"name": moved.Name, "labelUpdated": moved.Label, "versionId": moved.VersionID},
	})
	if err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, result := range events.Parse(text) {
		w.told = append(w.told, result.Signal, result.Signal)
	}
}

// rotate rotates secrets as a rotation function does, all at once.
func (w *world) rotate(names []string) {
	w.t.Helper()
	for _, name := range names {
		pending, err := w.secrets.PutSecretValue(secrets.PutSecretValueInput{
			SecretID: name, SecretString: "placeholder", VersionStages: []string{secrets.Pending},
		})
		if err != nil {
			w.t.Fatal(err)
		}
		_, err = w.secrets.UpdateSecretVersionStage(secrets.UpdateSecretVersionStageInput{
			SecretID: name, VersionStage: secrets.Current, MoveToVersionID: pending.VersionID, RemoveFromVersionID: w.current[name],
		})
		if err != nil {
			w.t.Fatal(err)
		}
		w.current[name] = pending.VersionID
	}
}

// broadcaster returns a new one, as another process has it.
func (w *world) broadcaster(services []string) *invalidation.Broadcaster {
	w.t.Helper()
	m := subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: "prod", Domain: "payments", Owner: "payments-oncall@bank.example"}
	for _, service := range services {
		m.Services = append(m.Services, subscribers.Service{Name: service, Function: service, Secrets: []string{"**"}})
	}
	subscriptions, err := subscribers.New(m, "prod", "payments")
	if err != nil {
		w.t.Fatal(err)
	}
	vault := awssecretsmanager.New(awssecretsmanager.Options{
		Region: region, Credentials: anybody(), HTTPClient: &http.Client{Transport: describing{w}},
	})
	store := dynamodb.New(w.client, changesTable, operationsTable)
	b, err := invalidation.New(invalidation.Config{
		Account: account, Region: region, Env: "prod", Domain: "payments",
		Subscribed: invalidation.NewSubscribed("prod", "payments", store, invalidation.Packaged{Subscriptions: subscriptions}),
		Secrets:    secretsmanager.New(vault), Lister: secretsmanager.NewLister(vault), Log: store, Fanouts: store, Sweeps: store, Control: store, Pusher: w,
		Audience: invalidation.NewAudience("prod", "payments", w, dynamodb.NewReports(w.client, reportsTable), nil),
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// describing is a broadcaster's way to Secrets Manager.
type describing struct{ w *world }

// RoundTrip implements http.RoundTripper.
func (d describing) RoundTrip(r *http.Request) (*http.Response, error) {
	if operation := r.Header.Get("X-Amz-Target"); operation != "secretsmanager.DescribeSecret" {
		d.w.t.Errorf("a broadcaster called %s", operation)
	}
	d.w.described.Add(1)
	return d.w.secrets.RoundTripper().RoundTrip(r)
}

func arnOf(service string) string {
	return "arn:aws:lambda:" + region + ":" + account + ":function:" + service
}

// Look implements invalidation.Functions: every function has the tags and was deployed long ago.
func (w *world) Look(_ context.Context, function string) (invalidation.FunctionState, error) {
	return invalidation.FunctionState{
		ARN: arnOf(function), Versions: []invalidation.FunctionVersion{{Version: "$LATEST", Modified: time.Unix(0, 0)}},
		Tags: map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: "prod", invalidation.DomainTag: "payments"},
	}, nil
}

// Push implements invalidation.Pusher: one environment of the function gets it, as Lambda has it.
func (w *world) Push(ctx context.Context, function string, payload []byte) ([]byte, error) {
	for _, e := range w.fleet {
		if e.service == function {
			w.mu.Lock()
			w.pushed[e]++
			w.mu.Unlock()
			return e.handler.Invoke(e.invoked(ctx), payload)
		}
	}
	return nil, invalidation.ErrNoFunction
}

// An environment has the real client with its real edges, on a way that is metered.
type environment struct {
	w       *world
	service string
	reads   []string
	cached  map[string]bool
	handler secretcache.Handler
	cache   *secretcache.Cache
	meter   *meter
}

// newEnvironment makes one that uses some of the secrets.
func (w *world) newEnvironment(service string, uses int) *environment {
	w.t.Helper()
	e := &environment{
		w: w, service: service, cached: map[string]bool{},
		meter: &meter{tables: w.tables.RoundTripper(), secrets: w.secrets.RoundTripper()},
	}
	for _, i := range w.random.Perm(len(w.names))[:uses] {
		e.reads = append(e.reads, w.names[i])
	}
	settings := map[string]string{
		"SECRET_BROADCAST_TABLE": changesTable, "SECRET_BROADCAST_REPORTS_TABLE": reportsTable, "SECRET_BROADCAST_ENV": "prod",
		"SECRET_BROADCAST_DOMAIN": "payments", "POWERTOOLS_SERVICE_NAME": service, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
	}
	cfg, err := secretcacheaws.ConfigFrom(aws.Config{
		Region: region, Credentials: anybody(), HTTPClient: &http.Client{Transport: e.meter},
	}, func(name string) string { return settings[name] })
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	if e.cache, err = secretcache.New(cfg); err != nil {
		w.t.Fatal(err)
	}
	e.handler = e.cache.Wrap(business{e})
	w.fleet = append(w.fleet, e)
	return e
}

func (e *environment) invoked(ctx context.Context) context.Context {
	return lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{InvokedFunctionArn: arnOf(e.service)})
}

// business is a function's own code: it reads what it uses, all at the same time and each several times.
type business struct{ e *environment }

// Invoke implements secretcache.Handler. Its payload is the list of names.
func (b business) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var names []string
	if err := json.Unmarshal(payload, &names); err != nil {
		return nil, fmt.Errorf("an invalidation reached the function's own code: %w", err)
	}
	var wg sync.WaitGroup
	for range 3 {
		for _, name := range names {
			wg.Go(func() {
				value, err := b.e.cache.Secret(name).Get(ctx)
				if want := b.e.w.current[name]; err != nil || value.VersionID() != want {
					b.e.w.t.Errorf("an environment of %s has %s of %s, %v; want %s", b.e.service, value.VersionID(), name, err, want)
				}
			})
		}
	}
	wg.Wait()
	return []byte("{}"), nil
}

// everybody has each environment handle one business event, all at the same time, and returns what each of them cost.
func (w *world) everybody() map[*environment]cost {
	w.t.Helper()
	var wg sync.WaitGroup
	for _, e := range w.fleet {
		payload, err := json.Marshal(e.reads)
		if err != nil {
			w.t.Fatal(err)
		}
		wg.Go(func() {
			if _, err := e.handler.Invoke(e.invoked(w.t.Context()), payload); err != nil {
				w.t.Error(err)
			}
			for _, name := range e.reads {
				e.cached[name] = true
			}
		})
	}
	wg.Wait()
	return w.costs()
}

// costs returns what each environment has cost since it was called last.
func (w *world) costs() map[*environment]cost {
	costs := map[*environment]cost{}
	for _, e := range w.fleet {
		costs[e] = e.meter.reset()
	}
	return costs
}
