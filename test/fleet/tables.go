package fleet

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

const (
	changesTable    = "changes"
	operationsTable = "operations"
)

// newTables returns the local tables in memory, the broadcaster's real store on them, and a client's log.
func newTables() (*tables.Tables, *dynamodb.Store, tableLog) {
	t, err := tables.Open(tables.Config{})
	if err != nil {
		panic(err)
	}
	client := sdk.New(sdk.Options{
		Region: "eu-west-2", Credentials: credentials.NewStaticCredentialsProvider("model", "model", ""),
		HTTPClient: &http.Client{Transport: t.RoundTripper()},
	})
	if err := t.CreateTables("pk", "sk", changesTable, operationsTable); err != nil {
		panic(err)
	}
	return t, dynamodb.New(client, changesTable, operationsTable), tableLog{client}
}

// tableLog is a client's log on the table itself.
type tableLog struct{ client *sdk.Client }

var _ secretcache.Log = tableLog{}

// Since implements secretcache.Log.
func (l tableLog) Since(ctx context.Context, revision int64, limit int) (secretcache.Page, error) {
	return l.query(ctx, revision, limit, true)
}

// Tail implements secretcache.Log.
func (l tableLog) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	page, err := l.query(ctx, 0, limit, false)
	for i, j := 0, len(page.Rows)-1; i < j; i, j = i+1, j-1 {
		page.Rows[i], page.Rows[j] = page.Rows[j], page.Rows[i]
	}
	return page, err
}

func (l tableLog) query(ctx context.Context, from int64, limit int, forward bool) (secretcache.Page, error) {
	out, err := l.client.Query(ctx, &sdk.QueryInput{
		TableName: aws.String(changesTable), ConsistentRead: aws.Bool(true), ScanIndexForward: &forward, Limit: aws.Int32(int32(limit)),
		KeyConditionExpression: aws.String("pk = :log AND sk >= :from"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":log":  &types.AttributeValueMemberS{Value: wire.LogPartition},
			":from": &types.AttributeValueMemberS{Value: wire.RevisionKey(from)},
		},
	})
	if err != nil {
		return secretcache.Page{}, err
	}
	page := secretcache.Page{Date: time.Now().Truncate(time.Second)} // as HTTP's Date header has it
	for _, i := range out.Items {
		row, err := wire.OpenRow([]byte(i["detail"].(*types.AttributeValueMemberS).Value), i["hash"].(*types.AttributeValueMemberS).Value)
		if err != nil {
			return secretcache.Page{}, err
		}
		page.Rows = append(page.Rows, row)
	}
	return page, nil
}

// rows returns the whole log.
func (l tableLog) rows() []wire.Row {
	page, err := l.Since(context.Background(), 0, 100_000)
	if err != nil {
		panic(err)
	}
	return page.Rows
}
