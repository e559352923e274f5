package bench

import (
	"net/http"
	"testing"
	"time"

	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	changesTable    = "prod-payments-changes"
	operationsTable = "prod-payments-operations"
	reportsTable    = "prod-payments-reports"
)

// newTables returns a domain's tables, in memory, and the broadcaster's store on them.
func newTables(b *testing.B) (*tables.Tables, *dynamodb.Store) {
	b.Helper()
	local, err := tables.Open(tables.Config{})
	if err != nil {
		b.Fatal(err)
	}
	if err := local.CreateTables("pk", "sk", changesTable, operationsTable, reportsTable); err != nil {
		b.Fatal(err)
	}
	return local, storeOn(local.RoundTripper())
}

func storeOn(transport http.RoundTripper) *dynamodb.Store {
	return dynamodb.New(awsdynamodb.NewFromConfig(awsConfig(transport)), changesTable, operationsTable)
}

// appendChange appends a change of a secret as the broadcaster does, and so opens its fan-out.
func appendChange(b *testing.B, store *dynamodb.Store, name string) wire.Row {
	b.Helper()
	head, err := store.Row(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().UTC()
	row, err := store.Append(b.Context(), invalidation.Append{
		Head: invalidation.Position{Revision: head.Revision, Hash: head.Hash},
		Row: wire.Row{
			Schema: wire.Schema, Env: "prod", Domain: "payments", Revision: head.Revision + 1, Time: now, PreviousHash: head.Hash,
			Changes: []wire.Change{{Name: name, Kind: wire.Moved, VersionID: "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE", At: now}},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return row
}
