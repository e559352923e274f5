package kill_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
)

const (
	region, account = "eu-west-2", "111122223333"
	env, domain     = "prod", "payments"
	broadcaster     = "broadcaster-payments"

	changesTable    = "prod-payments-changes"
	operationsTable = "prod-payments-operations"
	reportsTable    = "prod-payments-reports"

	// environments is how many each function has.
	environments = 3
	checkEvery   = 2 * time.Second
	// late is how old Secrets Manager's answers are at the most.
	late = 250 * time.Millisecond
	// comeBack is the queue's visibility timeout: how soon a message whose broadcaster was killed is delivered again.
	comeBack = 3 * time.Second
)

// manifest has every way to be told: by name and by report, everything and a part, and one that only reads the log.
const manifest = `apiVersion: secret-broadcaster/v1
env: prod
domain: payments
owner: payments-oncall@bank.example
services:
  - name: payments-api
    function: payments-api
    secrets: ["**"]
  - name: payments-batch
    secrets: ["**"]
  - name: payments-cards
    function: payments-cards
    secrets: ["service-1/*", "service-2/*"]
  - name: payments-report
    function: payments-report
    secrets: ["**"]
    deliver: pull
`

// A world is everything around the broadcaster, and the broadcaster.
type world struct {
	t         *testing.T
	seed      uint64
	dir       string
	tables    *tables.Tables
	client    *awsdynamodb.Client
	store     *dynamodb.Store
	secrets   *secrets.Manager
	queue     *queue.Queue
	host      *functions.Host
	functions []string
	all       []*secret
	marker    string // stands in every secret value and nowhere else
	created   time.Time

	settled atomic.Bool // Secrets Manager answers with what is now
	strike  strike
	counts  counts
	records sync.WaitGroup // requests whose record is being written

	mu     sync.Mutex // guards what follows
	files  []*os.File
	values map[string]map[string]string // texts by version by secret
	// deleted are the secrets that ever were.
	deleted map[string]bool
}

// counts are what a run came to.
type counts struct {
	changes, lost, invocations, failed, ticks, kills, killsInFanout, pushes, acks, reads atomic.Int64
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{
		t: t, seed: seed, dir: t.ArtifactDir(), values: map[string]map[string]string{}, deleted: map[string]bool{},
		functions: []string{"payments-api", "payments-batch", "payments-cards", "payments-report"},
	}
	w.marker = fmt.Sprintf("canary-%016x", w.random(1).Uint64())
	program := filepath.Join(t.TempDir(), "broadcaster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/broadcaster").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	w.openTables()
	if err := w.tables.CreateTables("pk", "sk", changesTable, operationsTable, reportsTable); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.host, err = functions.New(functions.Config{Region: region, AccountID: account, Output: w.output, Before: w.beforePush, After: w.afterPush}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.done(w.host.Close()) })
	w.secrets = secrets.New(secrets.Config{Region: region, Account: account, Lag: w.lag})
	w.queue = queue.New(queue.Config{Invoke: w.invokeBroadcaster, VisibilityTimeout: comeBack, Concurrency: 4})
	w.createSecrets()
	w.deploy(program)
	return w
}

func (w *world) done(err error) {
	if err != nil {
		w.t.Error(err)
	}
}

func (w *world) openTables() {
	w.t.Helper()
	var err error
	if w.tables, err = tables.Open(tables.Config{Dir: filepath.Join(w.dir, "tables")}); err != nil {
		w.t.Fatal(err)
	}
	opened := w.tables
	w.t.Cleanup(func() { w.done(opened.Close()) })
	w.client = awsdynamodb.New(awsdynamodb.Options{
		Region: region, HTTPClient: &http.Client{Transport: w.tables.RoundTripper()},
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	})
	w.store = dynamodb.New(w.client, changesTable, operationsTable)
}

// lag makes half of the answers, but not those that name a version, be of up to a moment ago.
func (w *world) lag(r secrets.Read) time.Duration {
	if r.Kind == secrets.Version || w.settled.Load() || rand.IntN(2) == 0 {
		return 0
	}
	return min(rand.N(late), time.Since(w.created))
}

// deploy makes the broadcaster and the functions: one program, configured as in production.
func (w *world) deploy(program string) {
	w.t.Helper()
	path := filepath.Join(w.dir, "payments.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		w.t.Fatal(err)
	}
	ofFunctions, ofBroadcaster := w.serve(w.route), w.serve(w.recorded())
	err := w.host.Deploy(functions.Function{
		Name: broadcaster, Command: []string{program}, Timeout: 30 * time.Second,
		Env: []string{
			"BROADCASTER_ENV=" + env,
			"BROADCASTER_DOMAIN=" + domain,
			"BROADCASTER_CHANGES_TABLE=" + changesTable,
			"BROADCASTER_OPERATIONS_TABLE=" + operationsTable,
			"BROADCASTER_REPORTS_TABLE=" + reportsTable,
			"BROADCASTER_QUEUE_URL=" + w.queue.URL(ofBroadcaster),
			"BROADCASTER_SUBSCRIPTIONS=" + path,
			"AWS_ENDPOINT_URL_DYNAMODB=" + ofBroadcaster,
			"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + ofBroadcaster,
			"AWS_ENDPOINT_URL_SQS=" + ofBroadcaster,
			"AWS_ENDPOINT_URL_LAMBDA=" + w.host.Endpoint(),
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range w.functions {
		err := w.host.Deploy(functions.Function{
			Name: name, Command: []string{program}, Timeout: 30 * time.Second,
			Modified: time.Now().Add(-time.Hour), // so that what its environments report is of this code
			Tags:     map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: env, invalidation.DomainTag: domain},
			Env: []string{
				"_HANDLER=demo-function", "DEMO_API_KEY_TTL=24h",
				"POWERTOOLS_SERVICE_NAME=" + name,
				"POWERTOOLS_PARAMETERS_MAX_AGE=86400", // no TTL makes up for what the log does not tell
				"SECRET_BROADCAST_TABLE=" + changesTable,
				"SECRET_BROADCAST_REPORTS_TABLE=" + reportsTable,
				"SECRET_BROADCAST_ENV=" + env,
				"SECRET_BROADCAST_DOMAIN=" + domain,
				"SECRET_BROADCAST_CHECK_EVERY=" + checkEvery.String(),
				"AWS_ENDPOINT_URL_DYNAMODB=" + ofFunctions,
				"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + ofFunctions,
			},
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) serve(handler http.HandlerFunc) (url string) {
	w.t.Helper()
	server := httptest.NewServer(handler)
	w.t.Cleanup(server.Close)
	return server.URL
}

// route serves DynamoDB, Secrets Manager and SQS at one URL.
func (w *world) route(out http.ResponseWriter, r *http.Request) {
	switch operation := r.Header.Get("X-Amz-Target"); {
	case strings.HasPrefix(operation, "secretsmanager."):
		w.secrets.ServeHTTP(out, r)
	case strings.HasPrefix(operation, "AmazonSQS."):
		w.queue.ServeHTTP(out, r)
	default:
		w.tables.ServeHTTP(out, r)
	}
}

// recorded is route, with all that the broadcaster asks and is answered written to a file.
func (w *world) recorded() http.HandlerFunc {
	file := w.create("broadcaster-calls")
	return func(out http.ResponseWriter, r *http.Request) {
		w.records.Add(1)
		defer w.records.Done()
		request, err := io.ReadAll(r.Body)
		if err != nil {
			return // it was killed while it asked
		}
		r.Body = io.NopCloser(strings.NewReader(string(request)))
		answer := httptest.NewRecorder()
		if !w.called(r.Header.Get("X-Amz-Target"), func() { w.route(answer, r) }) {
			return
		}
		_, err = fmt.Fprintf(file, "%s %s\n%d %s\n", r.Header.Get("X-Amz-Target"), request, answer.Code, answer.Body)
		w.done(err)
		for name, values := range answer.Header() {
			out.Header()[name] = values
		}
		out.WriteHeader(answer.Code)
		_, _ = out.Write(answer.Body.Bytes()) // who was killed needs no answer
	}
}

// create makes a file of this world, which is closed with it. A write to an *os.File is one write.
func (w *world) create(name string) *os.File {
	file, err := os.OpenFile(filepath.Join(w.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Error(err)
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files = append(w.files, file)
	return file
}

// output is where the processes of a function write.
func (w *world) output(function, environment string) io.Writer {
	return w.create(strings.ReplaceAll(environment, "#", "-") + ".log")
}

// invokeBroadcaster is the queue's way to the broadcaster.
func (w *world) invokeBroadcaster(ctx context.Context, payload []byte) (answer []byte, functionError string, err error) {
	result, err := w.host.Invoke(ctx, broadcaster, payload)
	if err != nil {
		return nil, "", err
	}
	w.counts.invocations.Add(1)
	if result.FunctionError != "" {
		w.counts.failed.Add(1)
	}
	return result.Payload, result.FunctionError, nil
}

// reopen closes everything that runs, and reads what the tables' file holds as if the machine had been started again.
func (w *world) reopen() {
	w.t.Helper()
	w.done(w.host.Close())
	w.records.Wait()
	w.done(w.tables.Close())
	w.mu.Lock()
	for _, file := range w.files {
		w.done(file.Close())
	}
	w.mu.Unlock()
	w.openTables()
}
