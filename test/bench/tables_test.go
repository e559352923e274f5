package bench

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

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
	client := awsdynamodb.NewFromConfig(awsConfig(local.RoundTripper()))
	for _, table := range []string{changesTable, operationsTable, reportsTable} {
		_, err := client.CreateTable(b.Context(), &awsdynamodb.CreateTableInput{
			TableName: &table, BillingMode: types.BillingModePayPerRequest,
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
			},
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
			},
		})
		if err != nil {
			b.Fatal(err)
		}
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
