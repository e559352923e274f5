// Package ops_test has people's commands carried out by the broadcaster as it is deployed: the command line signs and
// invokes, the Lambda artifact runs under a Lambda host, and a third party's STS says who it was.
package ops_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/bank-platform/secret-broadcaster/internal/awstest"
	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
)

const (
	region        = "eu-west-2"
	oncallAccount = "444455556666"

	broadcaster = "prod-payments-broadcaster"
	consumer    = "payments-api"

	changesTable    = "prod-payments-changes"
	operationsTable = "prod-payments-operations"
	reportsTable    = "prod-payments-reports"

	neon = "/bank/prod/payments/neon/connection-string"
)

const manifest = `apiVersion: secret-broadcaster/v1
env: prod
domain: payments
owner: payments-oncall@bank.example
services:
  - name: payments-api
    function: payments-api
    secrets: ["**"]
`

// A world is a domain with one consumer, and whoever is on call.
type world struct {
	*testing.T
	dir, program string
	tables       *tables.Tables
	secrets      *secrets.Manager
	host         *functions.Host
	client       *awsdynamodb.Client
	store        *dynamodb.Store
	reports      *dynamodb.Reports
	sts          string // where the third party's is
	endpoint     string // where tables and secrets are
	deployed     map[string]functions.Function
	throttled    atomic.Bool // the consumer
	account      string      // of its own at the emulator
	who          string      // the account of whoever is on call: the emulator takes an access key of twelve digits for one

	mu  sync.Mutex
	out bytes.Buffer // what the broadcaster's processes write
}

func newWorld(t *testing.T, program, artifact string) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), program: program, sts: awstest.URL(t), deployed: map[string]functions.Function{}, who: oncallAccount}
	w.account = fmt.Sprintf("7%011d", time.Now().UnixNano()%1e11)
	var err error
	if w.tables, err = tables.Open(tables.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.tables.Close() })
	if err := w.tables.CreateTables("pk", "sk", changesTable, operationsTable, reportsTable); err != nil {
		t.Fatal(err)
	}
	w.client = awsdynamodb.New(awsdynamodb.Options{
		Region: region, HTTPClient: &http.Client{Transport: w.tables.RoundTripper()},
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	})
	w.store, w.reports = dynamodb.New(w.client, changesTable, operationsTable), dynamodb.NewReports(w.client, reportsTable)
	w.secrets = secrets.New(secrets.Config{Region: region, Account: w.account})
	if w.host, err = functions.New(functions.Config{Region: region, AccountID: w.account, Output: w.output, Before: w.before}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.host.Close(); err != nil {
			t.Error(err)
		}
	})
	w.deploy(artifact)
	return w
}

// before refuses what comes for the consumer while that is throttled.
func (w *world) before(i functions.Invocation) error {
	if i.Function == consumer && w.throttled.Load() {
		return &functions.Refusal{Status: http.StatusTooManyRequests, Type: "TooManyRequestsException", Message: "Rate Exceeded."}
	}
	return nil
}

// wake has the emulator answer who somebody is once: its first answer takes longer than the broadcaster waits for one.
func wake(t *testing.T) {
	t.Helper()
	client := awssts.New(awssts.Options{
		Region: region, BaseEndpoint: aws.String(awstest.URL(t)), HTTPClient: awstest.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(oncallAccount, "placeholder", ""),
	})
	if _, err := client.GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{}); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, name string, flags ...string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), name)
	command := append(append([]string{"build"}, flags...), "-o", program, "../../cmd/broadcaster")
	if out, err := exec.CommandContext(t.Context(), "go", command...).CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return program
}

// output keeps what the broadcaster writes, which CloudWatch would.
func (w *world) output(function, _ string) io.Writer {
	if function == broadcaster {
		return w
	}
	return io.Discard
}

// Write implements io.Writer.
func (w *world) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(text)
}

func (w *world) written() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.String()
}

func (w *world) deploy(artifact string) {
	w.Helper()
	path := filepath.Join(w.dir, "payments.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		w.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.") {
			w.secrets.ServeHTTP(out, r)
			return
		}
		w.tables.ServeHTTP(out, r)
	}))
	w.Cleanup(server.Close)
	w.endpoint = server.URL
	w.put(functions.Function{
		Name: broadcaster, Command: []string{artifact}, Timeout: 30 * time.Second, Aliases: []string{"live", "pause", "resume", "invalidate", "replay", "apply"},
		Env: []string{
			"BROADCASTER_ENV=prod", "BROADCASTER_DOMAIN=payments", "BROADCASTER_CHANGES_TABLE=" + changesTable,
			"BROADCASTER_OPERATIONS_TABLE=" + operationsTable, "BROADCASTER_REPORTS_TABLE=" + reportsTable, "BROADCASTER_SUBSCRIPTIONS=" + path,
			"AWS_ENDPOINT_URL_DYNAMODB=" + w.endpoint, "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + w.endpoint,
			"AWS_ENDPOINT_URL_LAMBDA=" + w.host.Endpoint(), "AWS_ENDPOINT_URL_STS=" + w.sts,
		},
	})
	w.deployConsumer(consumer)
}

// deployConsumer deploys a function whose client follows the log and takes invalidations.
func (w *world) deployConsumer(name string) {
	w.Helper()
	w.put(functions.Function{
		Name: name, Command: []string{w.program}, Timeout: 30 * time.Second, Modified: time.Now().Add(-time.Hour),
		Tags: map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: "prod", invalidation.DomainTag: "payments"},
		Env: []string{
			"_HANDLER=demo-function", "DEMO_API_KEY_TTL=24h", "POWERTOOLS_SERVICE_NAME=" + name,
			"SECRET_BROADCAST_TABLE=" + changesTable, "SECRET_BROADCAST_REPORTS_TABLE=" + reportsTable,
			"SECRET_BROADCAST_ENV=prod", "SECRET_BROADCAST_DOMAIN=payments", "SECRET_BROADCAST_CHECK_EVERY=500ms",
			"AWS_ENDPOINT_URL_DYNAMODB=" + w.endpoint, "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + w.endpoint,
		},
	})
}

// put deploys a function, or another version of it.
func (w *world) put(f functions.Function) {
	w.Helper()
	if err := w.host.Deploy(f); err != nil {
		w.Fatal(err)
	}
	w.deployed[f.Name] = f
}

// begin has the broadcaster and the consumer know of a secret, and returns what proves which value the consumer has.
func (w *world) begin() (proof string) {
	w.Helper()
	if _, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: neon, SecretString: "value 0"}); err != nil {
		w.Fatal(err)
	}
	w.tick()
	proof = w.read()
	w.until("the consumer's report", func() bool {
		all, err := w.reports.All(w.Context())
		return err == nil && len(all) == 1
	})
	return proof
}

// tick is the schedule's.
func (w *world) tick() {
	w.Helper()
	if answer, failed := w.invoke(broadcaster+":live", `{"id":"tick-1","source":"aws.events","detail-type":"Scheduled Event","detail":{}}`); failed {
		w.Fatalf("the broadcaster answers the tick with %s", answer)
	}
}

// until waits for something that others bring about.
func (w *world) until(what string, is func() bool) {
	w.Helper()
	for began := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			w.Fatalf("waiting for %s", what)
		}
	}
}

// invoke invokes a function and returns its answer, or what it says of its error.
func (w *world) invoke(function, payload string) (answer string, failed bool) {
	w.Helper()
	result, err := w.host.Invoke(w.Context(), function, []byte(payload))
	if err != nil {
		w.Fatal(err)
	}
	return string(result.Payload), result.FunctionError != ""
}

// read has the consumer use the secret, and returns what proves which value it used.
func (w *world) read() string { return w.readIn(consumer) }

func (w *world) readIn(function string) string {
	w.Helper()
	answer, failed := w.invoke(function, `{"read":["`+neon+`"],"challenge":"c"}`)
	var is struct {
		Values []struct{ Proof, Error string }
	}
	if err := json.Unmarshal([]byte(answer), &is); failed || err != nil || len(is.Values) != 1 || is.Values[0].Proof == "" {
		w.Fatalf("%s answers %s", function, answer)
	}
	return is.Values[0].Proof
}

// change gives the secret a new version, and the broadcaster the event of it, whose id it returns.
func (w *world) change(n int) (eventID string) {
	w.Helper()
	out, err := w.secrets.PutSecretValue(secrets.PutSecretValueInput{SecretID: neon, SecretString: fmt.Sprint("value ", n)})
	if err != nil {
		w.Fatal(err)
	}
	eventID = fmt.Sprintf("0d0b4a3e-0000-4000-8000-%012d", n)
	if answer, failed := w.invoke(broadcaster+":live", fmt.Sprintf(`{"version":"0","id":%q,"detail-type":"Secret Label Updated","source":"aws.secretsmanager",
		"account":%q,"time":%q,"region":%q,"resources":[%q],"detail":{"name":%q,"labelUpdated":"AWSCURRENT","versionId":%q}}`,
		eventID, w.account, time.Now().UTC().Format(time.RFC3339), region, out.ARN, neon, out.VersionID)); failed {
		w.Fatalf("the broadcaster answers %s", answer)
	}
	return eventID
}

// oncall is the environment of somebody on call.
func (w *world) oncall() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=" + w.who, "AWS_SECRET_ACCESS_KEY=placeholder",
		"AWS_ENDPOINT_URL=" + w.sts, "AWS_ENDPOINT_URL_LAMBDA=" + w.host.Endpoint(), "AWS_ENDPOINT_URL_DYNAMODB=" + w.endpoint,
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + w.endpoint,
	}
}

// command runs a command line as somebody on call would.
func (w *world) command(args ...string) (code int, stdout, stderr string) {
	w.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(w.Context(), w.program, args...)
	cmd.Env = w.oncall()
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code tells
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// An answer is what --json prints.
type answer struct {
	By          string
	DryRun      bool
	Was, Is     invalidation.Pause
	OpenFanouts int
}

// order is a command that must succeed.
func (w *world) order(args ...string) answer {
	w.Helper()
	code, stdout, stderr := w.command(append(args, "--env", "prod", "--domain", "payments", "--json")...)
	var a answer
	if err := json.Unmarshal([]byte(stdout), &a); code != 0 || stderr != "" || err != nil {
		w.Fatalf("%v: exit code %d, %v\n%s%s", args, code, err, stdout, stderr)
	}
	return a
}

// delivery is how the consumer's delivery of a revision stands.
func (w *world) delivery(revision int64) invalidation.Delivery {
	w.Helper()
	all, err := w.store.Deliveries(w.Context(), revision)
	if err != nil || len(all) != 1 {
		w.Fatalf("%d deliveries of revision %d, %v", len(all), revision, err)
	}
	return all[0]
}
