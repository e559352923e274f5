package endpoint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation/connection"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/extension/endpoint"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

const (
	region   = "eu-west-2"
	token    = "example-token"
	password = "/bank/prod/payments/neon/password"
	outside  = "/other/password"
	canary   = "canary-value"
	table    = "payments-changes"
)

func ownCredentials() aws.Credentials {
	return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example-key", SessionToken: token}
}

// A world is an endpoint, and behind it AWS: a Secrets Manager, a change log and whoever changes both.
type world struct {
	t        testing.TB
	vault    *secrets.Manager
	tables   *tables.Tables
	log      *dynamodb.Client
	head     wire.Row
	cache    *secretcache.Cache
	endpoint *endpoint.Endpoint
	logged   *logged
	clock    *clock

	mu    sync.Mutex
	calls []call
	front func(*http.Request) (*http.Response, error)
}

// A call is one of Secrets Manager.
type call struct {
	operation, body string
	request         *http.Request
}

func (c call) String() string { return c.operation + " " + c.body }

// An option changes an endpoint before it is made.
type option func(*endpoint.Config, *secretcache.Config)

func newWorld(t testing.TB, options ...option) *world {
	t.Helper()
	own := aws.NewCredentialsCache(credentials.StaticCredentialsProvider{Value: ownCredentials()})
	return newWorldOf(t, endpoint.NewIdentity(own, nil), options...)
}

// newWorldOf returns a world whose function has these credentials.
func newWorldOf(t testing.TB, identity *endpoint.Identity, options ...option) *world {
	t.Helper()
	w := &world{t: t, vault: secrets.New(secrets.Config{}), logged: &logged{}, clock: &clock{began: time.Now()}}
	var err error
	if w.tables, err = tables.Open(tables.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := w.tables.CreateTables("pk", "sk", table); err != nil {
		t.Fatal(err)
	}
	awsCfg := aws.Config{
		Region: region, Credentials: credentials.StaticCredentialsProvider{Value: ownCredentials()}, HTTPClient: &http.Client{Transport: w},
	}
	w.log = dynamodb.NewFromConfig(awsCfg)
	w.announce()
	awsCfg.Credentials = identity

	cacheCfg, err := secretcacheaws.ConfigFrom(awsCfg, func(name string) string {
		return map[string]string{
			"SECRET_BROADCAST_TABLE": table, "SECRET_BROADCAST_ENV": "prod", "SECRET_BROADCAST_DOMAIN": "payments",
			"SECRET_BROADCAST_CHECK_EVERY": "2s",
		}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cacheCfg.Logger, cacheCfg.Clock = logger, w.clock
	cacheCfg.CheckTimeout = cacheCfg.CheckEvery / 2 // a busy machine answers later than DynamoDB
	cfg := endpoint.Config{
		TTL: 5 * time.Minute, MaxSecrets: 100, Identity: identity, Region: region, Logger: logger,
		Client: connection.New(awsCfg.HTTPClient), URL: func(region string) (string, error) { return "https://secretsmanager." + region + ".test/", nil },
	}
	for _, o := range options {
		o(&cfg, &cacheCfg)
	}
	if w.cache, err = secretcache.New(cacheCfg); err != nil {
		t.Fatal(err)
	}
	cfg.Cache = w.cache
	if w.endpoint, err = endpoint.New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// RoundTrip is the way to AWS. What stands in front of Secrets Manager sees each call of it first.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	if !ok {
		return w.tables.RoundTripper().RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	w.calls = append(w.calls, call{operation, string(body), r})
	front := w.front
	w.mu.Unlock()
	if front == nil {
		return w.vault.RoundTripper().RoundTrip(r)
	}
	return front(r)
}

// behind puts something in front of Secrets Manager.
func (w *world) behind(front func(*http.Request) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.front = front
}

// hold holds Secrets Manager's answers back until the gate is closed.
func (w *world) hold() (gate chan struct{}) {
	gate = make(chan struct{})
	w.behind(func(r *http.Request) (*http.Response, error) {
		<-gate
		return w.vault.RoundTripper().RoundTrip(r)
	})
	return gate
}

// answerLate keeps Secrets Manager's answers to an operation. From when late is called the last of them is all it answers.
func (w *world) answerLate(operation string) (late func()) {
	var (
		last []byte
		is   bool
	)
	w.behind(func(r *http.Request) (*http.Response, error) {
		answer, err := w.vault.RoundTripper().RoundTrip(r)
		if err != nil || r.Header.Get("X-Amz-Target") != "secretsmanager."+operation {
			return answer, err
		}
		if !is {
			if last, err = io.ReadAll(answer.Body); err != nil {
				return nil, err
			}
		}
		answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(last)), int64(len(last))
		return answer, nil
	})
	return func() { is = true }
}

// called returns what Secrets Manager was asked, since the last time this was called.
func (w *world) called() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

// put makes a version current, and announces it if the log speaks of it.
func (w *world) put(name, text string) (versionID string) {
	w.t.Helper()
	out, err := w.vault.PutSecretValue(secrets.PutSecretValueInput{SecretID: name, SecretString: text})
	if err != nil {
		created, err := w.vault.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: text})
		if err != nil {
			w.t.Fatal(err)
		}
		return created.VersionID
	}
	return out.VersionID
}

// announce appends to the log that a secret is as it now is.
func (w *world) announce(names ...string) {
	w.t.Helper()
	row := wire.Row{
		Schema: wire.Schema, Env: "prod", Domain: "payments", Revision: w.head.Revision + 1, PreviousHash: w.head.Hash,
		Time: time.Now().UTC(), Changes: []wire.Change{},
	}
	for _, name := range names {
		d, err := w.vault.DescribeSecret(name)
		if err != nil {
			w.t.Fatal(err)
		}
		change := wire.Change{Name: name, Kind: wire.Moved, At: d.LastChangedDate}
		for id, labels := range d.VersionIDsToStages {
			if strings.Contains(fmt.Sprint(labels), "AWSCURRENT") {
				change.VersionID = id
			}
		}
		if !d.DeletedDate.IsZero() {
			change.Kind, change.VersionID = wire.Deleted, ""
		}
		row.Changes = append(row.Changes, change)
	}
	body, err := row.Seal()
	if err != nil {
		w.t.Fatal(err)
	}
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	_, err = w.log.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: aws.String(table), Item: map[string]types.AttributeValue{
		"pk": text(wire.LogPartition), "sk": text(wire.RevisionKey(row.Revision)), "hash": text(row.Hash), "detail": text(string(body)),
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.head = row
}

// get asks the HTTP API, with the token unless a header says otherwise.
func (w *world) get(path string, headers ...string) (status int, body string, header http.Header) {
	w.t.Helper()
	return w.ask(http.MethodGet, path, "", append([]string{"X-Aws-Parameters-Secrets-Token", token}, headers...)...)
}

// ask sends a request as it is.
func (w *world) ask(method, path, content string, headers ...string) (status int, body string, header http.Header) {
	w.t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(content))
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	w.endpoint.ServeHTTP(answer, request)
	return answer.Code, answer.Body.String(), answer.Result().Header
}

// client is AWS's own, as unmodified code has it: told the endpoint, signing with the function's credentials.
func (w *world) client(edits ...func(*secretsmanager.Options)) *secretsmanager.Client {
	server := httptest.NewServer(w.endpoint)
	w.t.Cleanup(server.Close)
	return secretsmanager.New(secretsmanager.Options{
		Region: region, BaseEndpoint: &server.URL, RetryMaxAttempts: 1,
		Credentials: credentials.StaticCredentialsProvider{Value: ownCredentials()},
	}, edits...)
}

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns what has been logged since the last time it was called.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// A clock tells the time, and what a test adds to it.
type clock struct {
	began time.Time
	added atomic.Int64
}

// Now implements secretcache.Clock.
func (c *clock) Now() (time.Duration, time.Time) {
	added := time.Duration(c.added.Load())
	return time.Since(c.began) + added, time.Now().Add(added)
}

// untilCheck lets so much time pass that the next read checks the log.
func (w *world) untilCheck() {
	w.clock.added.Add(int64(secretcache.DefaultCheckEvery + time.Millisecond))
}

// wantText reads a secret by the HTTP API and compares.
func (w *world) wantText(path, want string) {
	w.t.Helper()
	status, body, _ := w.get(path)
	var got struct{ SecretString string }
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK || got.SecretString != want {
		w.t.Errorf("%s: got %d %s, want %q", path, status, body, want)
	}
}
