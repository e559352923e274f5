// Package cloud is what a process under test calls instead of AWS: a Secrets Manager and a change log on this machine, at
// one URL, and whoever changes both.
package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Where the secrets are said to be, and the tables.
const (
	Region  = "eu-west-2"
	Env     = "prod"
	Domain  = "payments"
	Changes = "prod-payments-changes"
	Reports = "prod-payments-reports"
	// Password is in the domain's path.
	Password = "/bank/prod/payments/neon/password"
)

// A Cloud is AWS for one test.
type Cloud struct {
	URL     string
	Secrets *secrets.Manager

	t      testing.TB
	tables *tables.Tables
	client *dynamodb.Client

	mu      sync.Mutex
	head    wire.Row
	calls   []string // operations of Secrets Manager
	gate    chan struct{}
	reports []wire.Report
}

// New returns a cloud without secrets whose log has one row without changes.
func New(t testing.TB) *Cloud {
	t.Helper()
	c := &Cloud{t: t, Secrets: secrets.New(secrets.Config{})}
	var err error
	if c.tables, err = tables.Open(tables.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := c.tables.CreateTables("pk", "sk", Changes, Reports); err != nil {
		t.Fatal(err)
	}
	c.client = dynamodb.New(dynamodb.Options{
		Region: Region, HTTPClient: &http.Client{Transport: c.tables.RoundTripper()},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	c.Announce()
	return c
}

// ServeHTTP is both services.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever asked is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	if !ok {
		c.tables.ServeHTTP(w, r)
		c.noteReport(body)
		return
	}
	c.mu.Lock()
	c.calls = append(c.calls, operation)
	gate := c.gate
	c.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
	}
	c.Secrets.ServeHTTP(w, r)
}

// Hold holds Secrets Manager's answers back until release is called.
func (c *Cloud) Hold() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gate = make(chan struct{})
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(c.gate)
		c.gate = nil
	})
}

// Called returns which operations of Secrets Manager were called since it was last asked.
func (c *Cloud) Called() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

// Put makes a version current; a secret that is not there is created.
func (c *Cloud) Put(name, text string) (versionID string) {
	c.t.Helper()
	put, err := c.Secrets.PutSecretValue(secrets.PutSecretValueInput{SecretID: name, SecretString: text})
	if err == nil {
		return put.VersionID
	}
	if !errors.Is(err, secrets.ResourceNotFound) {
		c.t.Fatal(err)
	}
	created, err := c.Secrets.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: text})
	if err != nil {
		c.t.Fatal(err)
	}
	return created.VersionID
}

// Announce appends to the log that secrets are as they now are, as the broadcaster does.
func (c *Cloud) Announce(names ...string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	row := wire.Row{
		Schema: wire.Schema, Env: Env, Domain: Domain, Revision: c.head.Revision + 1, PreviousHash: c.head.Hash,
		Time: time.Now().UTC(), Changes: []wire.Change{},
	}
	for _, name := range names {
		is, err := c.Secrets.DescribeSecret(name)
		if err != nil {
			c.t.Fatal(err)
		}
		change := wire.Change{Name: name, Kind: wire.Moved, At: is.LastChangedDate}
		for id, labels := range is.VersionIDsToStages {
			if slices.Contains(labels, secrets.Current) {
				change.VersionID = id
			}
		}
		row.Changes = append(row.Changes, change)
	}
	body, err := row.Seal()
	if err != nil {
		c.t.Fatal(err)
	}
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	_, err = c.client.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: aws.String(Changes), Item: map[string]types.AttributeValue{
		"pk": text(wire.LogPartition), "sk": text(wire.RevisionKey(row.Revision)), "hash": text(row.Hash), "detail": text(string(body)),
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.head = row
}

// Reported returns the reports that were written, oldest first.
func (c *Cloud) Reported() []wire.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.reports)
}

// noteReport keeps a report that is being written.
func (c *Cloud) noteReport(body []byte) {
	var put struct {
		TableName string
		Item      struct {
			Data struct{ S string } `json:"data"`
		}
	}
	var report wire.Report
	if json.Unmarshal(body, &put) != nil || put.TableName != Reports || json.Unmarshal([]byte(put.Item.Data.S), &report) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, report)
}

// Variables configure a client of the change log, and the extension's own way to this cloud.
func (c *Cloud) Variables() []string {
	return []string{
		"SECRET_BROADCAST_TABLE=" + Changes,
		"SECRET_BROADCAST_REPORTS_TABLE=" + Reports,
		"SECRET_BROADCAST_ENV=" + Env,
		"SECRET_BROADCAST_DOMAIN=" + Domain,
		"SECRET_BROADCAST_CHECK_EVERY=500ms",
		"SECRET_BROADCAST_ENDPOINT_URL_SECRETS_MANAGER=" + c.URL,
		"SECRET_BROADCAST_ENDPOINT_URL_DYNAMODB=" + c.URL,
	}
}

// BuildExtension builds the extension as it is deployed, but for this machine, into a directory and returns its path.
func BuildExtension(ctx context.Context, dir string) (string, error) {
	file := filepath.Join(dir, "secret-broadcaster")
	build := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags", "-s -w", "-o", file,
		"github.com/bank-platform/secret-broadcaster/subscribers/extension")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the extension: %w\n%s", err, out)
	}
	return file, nil
}
