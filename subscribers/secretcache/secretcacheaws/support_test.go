package secretcacheaws_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

const connectionString = "/bank/prod/payments/neon/connection-string"

// credentialsOfTests sign; nothing checks them against an account.
func credentialsOfTests() aws.Credentials {
	return aws.Credentials{AccessKeyID: "example-key-id", SecretAccessKey: "example-key", SessionToken: "example-token"}
}

// awsConfig is what a function has, with everything called at the given endpoint.
func awsConfig(endpoint string) aws.Config {
	return aws.Config{
		Region: "eu-west-2", BaseEndpoint: &endpoint,
		Credentials: credentials.StaticCredentialsProvider{Value: credentialsOfTests()},
	}
}

// variables are the environment of a function that follows the log and reports.
func variables() map[string]string {
	return map[string]string{
		"SECRET_BROADCAST_TABLE":         "payments-changes",
		"SECRET_BROADCAST_REPORTS_TABLE": "payments-reports",
		"SECRET_BROADCAST_ENV":           "prod",
		"SECRET_BROADCAST_DOMAIN":        "payments",
		"POWERTOOLS_SERVICE_NAME":        "payments-api",
		"AWS_LAMBDA_FUNCTION_NAME":       "payments-api-fn",
		"AWS_LAMBDA_FUNCTION_VERSION":    "7",
		"AWS_LAMBDA_LOG_STREAM_NAME":     "2026/11/23/[7]0f3a",
	}
}

// setEnvironment makes these the only variables of AWS and of ours for the rest of the test.
func setEnvironment(t *testing.T, env map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "SECRET_BROADCAST_") || strings.HasPrefix(name, "POWERTOOLS_") {
			t.Setenv(name, value) // so that it is restored
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
}

func getenv(of map[string]string) func(string) string {
	return func(name string) string { return of[name] }
}

func configFrom(t testing.TB, cfg aws.Config) secretcache.Config {
	t.Helper()
	out, err := secretcacheaws.ConfigFrom(cfg, getenv(variables()))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A request is what an endpoint got.
type request struct {
	connection int // which of the endpoint's connections it came on, from 1
	header     http.Header
	body       string
}

// An endpoint records requests and answers them with what the test says.
type endpoint struct {
	*httptest.Server
	mu          sync.Mutex
	connections int
	requests    []request
}

type connectionNumber struct{}

// newEndpoint starts an endpoint whose n-th request, from 1, is answered by answer.
func newEndpoint(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, n, connection int)) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading a request: %v", err)
		}
		connection, _ := r.Context().Value(connectionNumber{}).(int)
		if err := verifySignature(r, body); err != nil {
			t.Error(err)
		}
		e.mu.Lock()
		e.requests = append(e.requests, request{connection, r.Header.Clone(), string(body)})
		n := len(e.requests)
		e.mu.Unlock()
		answer(w, r, n, connection)
	}))
	e.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.connections++
		return context.WithValue(ctx, connectionNumber{}, e.connections)
	}
	e.Start()
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) got() []request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]request(nil), e.requests...)
}

// always answers each request alike.
func always(status int, body string) func(http.ResponseWriter, *http.Request, int, int) {
	return func(w http.ResponseWriter, _ *http.Request, _, _ int) {
		w.WriteHeader(status)
		io.WriteString(w, body) //nolint:errcheck // the client sees it
	}
}

// verifySignature signs what was received once more: the signature must be the one that came with it.
func verifySignature(r *http.Request, body []byte) error {
	service := "secretsmanager"
	if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_20120810.") {
		service = "dynamodb"
	}
	got := r.Header.Get("Authorization")
	_, signed, _ := strings.Cut(got, "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	for _, name := range strings.Split(signed, ";") {
		if name != "host" && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return fmt.Errorf("a request without a date: %w", err)
	}
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(context.Background(), credentialsOfTests(), again, hex.EncodeToString(sum[:]), service, "eu-west-2", at)
	if err != nil {
		return err
	}
	scope := "Credential=example-key-id/" + at.Format("20060102") + "/eu-west-2/" + service + "/aws4_request"
	if want := again.Header.Get("Authorization"); got != want || !strings.Contains(got, scope) {
		return fmt.Errorf("the signature is %q, want %q of %s", got, want, scope)
	}
	return nil
}

// sealedRow is a row of a log, with its body.
func sealedRow(t testing.TB, revision int64, previousHash string) (row wire.Row, body string) {
	t.Helper()
	at := time.Date(2026, time.November, 23, 10, 0, 0, 0, time.UTC).Add(time.Duration(revision) * time.Second)
	row = wire.Row{
		Schema: wire.Schema, Env: "prod", Domain: "payments", Revision: revision, Time: at, PreviousHash: previousHash,
		Changes: []wire.Change{{Name: connectionString, Kind: wire.Moved, VersionID: "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE", At: at}},
	}
	sealed, err := row.Seal()
	if err != nil {
		t.Fatal(err)
	}
	return row, string(sealed)
}

// chain is a log of n rows.
func chain(t testing.TB, n int) (rows []wire.Row, bodies []string) {
	t.Helper()
	previous := ""
	for revision := range n {
		row, body := sealedRow(t, int64(revision)+1, previous)
		previous = row.Hash
		rows, bodies = append(rows, row), append(bodies, body)
	}
	return rows, bodies
}

type failingCredentials struct{ err error }

func (f failingCredentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{}, f.err
}

// answers is a transport that gives each of its bodies once and then answers with nothing.
type answers struct{ bodies [][]byte }

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body := []byte("{}")
	if len(a.bodies) > 0 {
		body, a.bodies = a.bodies[0], a.bodies[1:]
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}
