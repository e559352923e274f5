package secretcacheaws_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	localsecrets "github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// newTables starts local tables that tell the given time, and a client as the broadcaster uses one.
func newTables(t *testing.T, now time.Time) (aws.Config, *dynamodb.Client) {
	t.Helper()
	local, err := tables.Open(tables.Config{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(local)
	t.Cleanup(server.Close)
	cfg := awsConfig(server.URL)
	client := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { o.HTTPClient = &http.Client{Transport: local.RoundTripper()} })
	if err := local.CreateTables("pk", "sk", "payments-changes", "payments-reports"); err != nil {
		t.Fatal(err)
	}
	return cfg, client
}

func s(text string) types.AttributeValue { return &types.AttributeValueMemberS{Value: text} }

func TestTheLogOfTheLocalTables(t *testing.T) {
	now := time.Date(2026, time.November, 23, 10, 1, 0, 0, time.UTC)
	cfg, client := newTables(t, now)
	log := configFrom(t, cfg).Log
	if page, err := log.Tail(t.Context(), 10); err != nil || len(page.Rows) != 0 {
		t.Errorf("an empty log: %+v, %v", page, err)
	}
	rows, bodies := chain(t, 12)
	for i, row := range rows {
		_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("payments-changes"), Item: map[string]types.AttributeValue{
			"pk": s(wire.LogPartition), "sk": s(wire.RevisionKey(row.Revision)), "hash": s(row.Hash), "detail": s(bodies[i]),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		revision int64 // 0: the tail
		limit    int
		want     []wire.Row
	}{{0, 3, rows[9:]}, {0, 100, rows}, {9, 100, rows[8:]}, {12, 100, rows[11:]}, {2, 3, rows[1:4]}, {13, 100, nil}} {
		page, err := log.Since(t.Context(), test.revision, test.limit)
		if test.revision == 0 {
			page, err = log.Tail(t.Context(), test.limit)
		}
		if diff := cmp.Diff(test.want, page.Rows); diff != "" || err != nil || !page.Date.Equal(now) {
			t.Errorf("from %d, at most %d: %v, %v %s", test.revision, test.limit, err, page.Date, diff)
		}
	}
}

func TestAReportInTheLocalTables(t *testing.T) {
	cfg, client := newTables(t, time.Now())
	reports := configFrom(t, cfg).Reports
	report := exampleReport()
	for report.Revision = range int64(3) { // each takes the place of the one before
		if err := reports.Put(t.Context(), report); err != nil {
			t.Fatal(err)
		}
	}
	out, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String("payments-reports"),
		Key:       map[string]types.AttributeValue{"pk": s(wire.ReportPartition(report.Environment)), "sk": s(wire.ReportKey(report.Service, report.Environment))},
	})
	if err != nil {
		t.Fatal(err)
	}
	if revision, ok := out.Item["revision"].(*types.AttributeValueMemberN); !ok || revision.Value != "2" {
		t.Errorf("got %v", out.Item["revision"])
	}
}

func TestATableThatIsNotThere(t *testing.T) {
	cfg, client := newTables(t, time.Now())
	if _, err := client.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: aws.String("payments-changes")}); err != nil {
		t.Fatal(err)
	}
	_, err := configFrom(t, cfg).Log.Tail(t.Context(), 1)
	if err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") || !strings.Contains(err.Error(), "SECRET_BROADCAST_TABLE") {
		t.Errorf("got %v", err)
	}
}

func TestTheLocalSecretsManager(t *testing.T) {
	server := httptest.NewServer(localsecrets.New(localsecrets.Config{}))
	t.Cleanup(server.Close)
	cfg := awsConfig(server.URL)
	client, ours := secretsmanager.NewFromConfig(cfg), configFrom(t, cfg).Secrets
	want := func(id, versionID, text string, wantErr error) {
		t.Helper()
		got, err := ours.Get(t.Context(), id, versionID)
		if !errors.Is(err, wantErr) || got.Text != text || err == nil && (got.Name != connectionString || got.Created.IsZero()) {
			t.Errorf("Get(%s, %s) = %+v, %v; want %q, %v", id, versionID, got, err, text, wantErr)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want(connectionString, "", "", secretcache.ErrNotFound)
	created, err := client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(connectionString), SecretString: aws.String("first")})
	must(err)
	_, err = client.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: created.ARN, SecretBinary: []byte("second")})
	must(err)
	arn := aws.ToString(created.ARN)
	want(connectionString, "", "second", nil)
	want(arn, "", "second", nil)
	want(arn[:len(arn)-7], "", "second", nil)
	want(connectionString, aws.ToString(created.VersionId), "first", nil)
	want(connectionString, "EXAMPLE0-90ab-cdef-fedc-ba987EXAMPLE", "", secretcache.ErrNotFound)

	_, err = client.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: created.ARN})
	must(err)
	want(connectionString, "", "", secretcache.ErrDeleted)
	_, err = client.RestoreSecret(t.Context(), &secretsmanager.RestoreSecretInput{SecretId: created.ARN})
	must(err)
	want(connectionString, "", "second", nil)
}
