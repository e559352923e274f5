package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	awssecretsmanager "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A world is the AWS around a broadcaster: the local stand-ins of DynamoDB and Secrets Manager, and functions that answer
// pushes. It serves real SDK clients, in process (RoundTrip) or over HTTP (ServeHTTP), and keeps all that it was sent.
type world struct {
	directory string // of the tables' journal
	tables    *tables.Tables
	secrets   *secrets.Manager

	mu       sync.Mutex
	sent     []string            // the bodies of all requests of the broadcaster
	pushed   []wire.Invalidation // in the order of their arrival
	resumes  []resume            // messages to the broadcaster's own queue
	onCall   func(r *http.Request, operation, body string) *refusal
	onAnswer func(operation, body string)
	onPush   func(r *http.Request)
	answer   func(out http.ResponseWriter, inv wire.Invalidation) bool // in the place of an ack, if it returns true
}

// A resume is a message that has the broadcaster invoked again.
type resume struct {
	body  string
	after time.Duration
}

// A refusal is an error that AWS answers.
type refusal struct {
	status int
	kind   string
}

const (
	changesTable    = "prod-payments-changes"
	operationsTable = "prod-payments-operations"
	reportsTable    = "prod-payments-reports"
	functionARN     = "arn:aws:lambda:eu-west-2:" + account + ":function:payments-api"
	account         = "111122223333"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{directory: t.TempDir()}
	var err error
	if w.tables, err = tables.Open(tables.Config{Dir: w.directory}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.tables.Close() })
	w.secrets = secrets.New(secrets.Config{})
	if err := w.tables.CreateTables("pk", "sk", changesTable, operationsTable, reportsTable); err != nil {
		t.Fatal(err)
	}
	w.report(t, wire.Report{
		Schema: wire.Schema, Service: "payments-api", Function: functionARN, Version: "7", Environment: "environment-1",
		TakesInvalidations: true, Started: time.Now(),
	})
	return w
}

// report writes what an environment's client reports.
func (w *world) report(t *testing.T, r wire.Report) {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	s := func(text string) types.AttributeValue { return &types.AttributeValueMemberS{Value: text} }
	_, err = awsdynamodb.NewFromConfig(w.config(w.tables.RoundTripper())).PutItem(t.Context(), &awsdynamodb.PutItemInput{
		TableName: aws.String(reportsTable), Item: map[string]types.AttributeValue{
			"pk": s(wire.ReportPartition(r.Environment)), "sk": s(wire.ReportKey(r.Service, r.Environment)), "data": s(string(data)),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// config is of a client that goes through the transport; the broadcaster's goes through the world itself.
func (w *world) config(transport http.RoundTripper) aws.Config {
	return aws.Config{
		Region: "eu-west-2", HTTPClient: &http.Client{Transport: transport},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	}
}

// RoundTrip implements http.RoundTripper without a network, so that it works in a testing/synctest bubble.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	w.ServeHTTP(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.mu.Lock()
	w.sent = append(w.sent, r.URL.String()+" "+string(body))
	onCall, onAnswer := w.onCall, w.onAnswer
	w.mu.Unlock()
	if onCall != nil {
		if no := onCall(r, operation, string(body)); no != nil {
			out.Header().Set("X-Amzn-Errortype", no.kind)
			out.WriteHeader(no.status)
			_, _ = io.WriteString(out, `{"__type":"`+no.kind+`","message":"refused by the test"}`)
			return
		}
	}
	switch {
	case strings.HasPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_"):
		w.tables.ServeHTTP(out, r)
	case strings.HasPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager."):
		w.secrets.ServeHTTP(out, r)
	case r.Header.Get("X-Amz-Target") == "AmazonSQS.SendMessage":
		w.resume(out, body)
	case strings.HasSuffix(r.URL.Path, "/configuration"):
		_, _ = io.WriteString(out, `{"FunctionArn":"`+functionARN+`:7","Version":"7","LastModified":"1999-12-31T00:00:00.000+0000"}`)
	case strings.Contains(r.URL.Path, "/tags/"):
		_, _ = io.WriteString(out, `{"Tags":{"secret-broadcaster:push":"true","secret-broadcaster:env":"prod","secret-broadcaster:domain":"payments"}}`)
	default:
		w.invoke(out, r, body)
	}
	if onAnswer != nil {
		onAnswer(operation, string(body))
	}
}

// resume takes a message to the broadcaster's own queue.
func (w *world) resume(out http.ResponseWriter, body []byte) {
	var message struct {
		MessageBody  string
		DelaySeconds int
	}
	if err := json.Unmarshal(body, &message); err != nil {
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	w.resumes = append(w.resumes, resume{message.MessageBody, time.Duration(message.DelaySeconds) * time.Second})
	w.mu.Unlock()
	sum := md5.Sum([]byte(message.MessageBody))
	_, _ = io.WriteString(out, `{"MessageId":"r1","MD5OfMessageBody":"`+hex.EncodeToString(sum[:])+`"}`)
}

// invoke answers a push with the ack of an environment that has just read the log.
func (w *world) invoke(out http.ResponseWriter, r *http.Request, payload []byte) {
	inv, ours, err := wire.ParseInvalidation(payload)
	if !ours || err != nil {
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	w.pushed = append(w.pushed, inv)
	onPush, answer := w.onPush, w.answer
	w.mu.Unlock()
	if onPush != nil {
		onPush(r)
	}
	if answer != nil && answer(out, inv) {
		return
	}
	function := path.Base(path.Dir(r.URL.Path)) // /2015-03-31/functions/{name}/invocations
	_ = json.NewEncoder(out).Encode(wire.Ack{
		Schema: wire.Schema, Client: "test", Service: function, Environment: "environment-1", Revision: inv.Detail.Revision, Hash: inv.Detail.Hash,
	})
}

func (w *world) pushes() []wire.Invalidation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]wire.Invalidation(nil), w.pushed...)
}

// on sets the world's hooks.
func (w *world) on(set func(w *world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	set(w)
}

// put gives a secret a new version and returns its id.
func (w *world) put(t *testing.T, name, value string) string {
	t.Helper()
	client := awssecretsmanager.NewFromConfig(w.config(w.secrets.RoundTripper()))
	created, err := client.CreateSecret(t.Context(), &awssecretsmanager.CreateSecretInput{Name: &name, SecretString: &value})
	if err == nil {
		return *created.VersionId
	}
	out, err := client.PutSecretValue(t.Context(), &awssecretsmanager.PutSecretValueInput{SecretId: &name, SecretString: &value})
	if err != nil {
		t.Fatal(err)
	}
	return *out.VersionId
}

// store is the broadcaster's own view of the tables.
func (w *world) store() *dynamodb.Store {
	return dynamodb.New(awsdynamodb.NewFromConfig(w.config(w.tables.RoundTripper())), changesTable, operationsTable)
}

func (w *world) head(t *testing.T) wire.Row {
	t.Helper()
	row, err := w.store().Row(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// deliveries returns what became of a revision, and whether its fan-out is still open.
func (w *world) deliveries(t *testing.T, revision int64) (all []invalidation.Delivery, open bool) {
	t.Helper()
	all, err := w.store().Deliveries(t.Context(), revision)
	if err != nil {
		t.Fatal(err)
	}
	fanouts, err := w.store().Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fanouts {
		open = open || f.Revision == revision
	}
	return all, open
}
