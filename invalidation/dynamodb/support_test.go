package dynamodb_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	changesTable    = "changes"
	operationsTable = "operations"

	neon   = "/bank/prod/payments/neon/connection-string"
	stripe = "/bank/prod/payments/stripe/api-key"
)

// A world is a store on the local tables, over a way that can be troubled.
type world struct {
	t         *testing.T
	local     *tables.Tables
	transport *troubled
	client    *sdk.Client // over a way of its own
	store     *dynamodb.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	local, err := tables.Open(tables.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, local: local, transport: &troubled{tables: local.RoundTripper(), calls: map[string][]time.Time{}}, client: clientOn(local.RoundTripper())}
	w.store = dynamodb.New(clientOn(w.transport), changesTable, operationsTable)
	if err := local.CreateTables("pk", "sk", changesTable, operationsTable); err != nil {
		t.Fatal(err)
	}
	return w
}

func clientOn(transport http.RoundTripper) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: "eu-west-2", RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	})
}

// troubled is the way to the tables. As DynamoDB may, it processes only a part of a batch, or refuses.
type troubled struct {
	tables http.RoundTripper

	mu      sync.Mutex
	calls   map[string][]time.Time // of each operation
	most    int                    // of a batch; 0: all
	refusal string                 // the answer to everything; empty: none
}

func (r *troubled) processAtMost(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most = n
}

func (r *troubled) refuse(answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusal = answer
}

func (r *troubled) count(operation string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls[operation])
}

// times returns when an operation was called.
func (r *troubled) times(operation string) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls[operation])
}

func (r *troubled) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	_, operation, _ := strings.Cut(request.Header.Get("X-Amz-Target"), ".")
	r.calls[operation] = append(r.calls[operation], time.Now())
	most, refusal := r.most, r.refusal
	r.mu.Unlock()
	switch {
	case refusal != "":
		return answer(request, http.StatusBadRequest, []byte(refusal)), nil
	case most == 0:
		return r.tables.RoundTrip(request)
	case operation == "BatchWriteItem":
		return r.partly(request, 25, most, "UnprocessedItems", func(ofTable any) ([]any, func([]any) any) {
			requests, _ := ofTable.([]any)
			return requests, func(some []any) any { return some }
		})
	case operation == "BatchGetItem":
		return r.partly(request, 100, most, "UnprocessedKeys", func(ofTable any) ([]any, func([]any) any) {
			fields, _ := ofTable.(map[string]any)
			keys, _ := fields["Keys"].([]any)
			return keys, func(some []any) any { return map[string]any{"Keys": some, "ConsistentRead": true} }
		})
	}
	return r.tables.RoundTrip(request)
}

// partly processes the first of a batch and answers the others as unprocessed. A batch above the limit it refuses.
func (r *troubled) partly(
	request *http.Request, limit, most int, unprocessed string, open func(ofTable any) ([]any, func([]any) any),
) (*http.Response, error) {
	var in struct{ RequestItems map[string]any }
	if err := json.NewDecoder(request.Body).Decode(&in); err != nil {
		return nil, err
	}
	left := map[string]any{}
	for table, ofTable := range in.RequestItems {
		all, pack := open(ofTable)
		if len(all) > limit {
			return answer(request, http.StatusBadRequest, []byte(`{"__type":"com.amazon.coral.validate#ValidationException","message":"too many"}`)), nil
		}
		n := min(most, len(all))
		in.RequestItems[table] = pack(all[:n])
		if n < len(all) {
			left[table] = pack(all[n:])
		}
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	forwarded := request.Clone(request.Context())
	forwarded.Body, forwarded.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	response, err := r.tables.RoundTrip(forwarded)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(response.Body).Decode(&out); err != nil {
		return nil, err
	}
	if len(left) > 0 {
		out[unprocessed] = left
	}
	if body, err = json.Marshal(out); err != nil {
		return nil, err
	}
	return answer(request, response.StatusCode, body), nil
}

func answer(request *http.Request, status int, body []byte) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Request: request, ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}
}

// rowOf is the row after a position, about some secrets.
func rowOf(before invalidation.Position, names ...string) wire.Row {
	row := wire.Row{
		Schema: wire.Schema, Env: "prod", Domain: "payments", Revision: before.Revision + 1, PreviousHash: before.Hash,
		Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Changes: []wire.Change{},
	}
	for _, name := range names {
		row.Changes = append(row.Changes, wire.Change{Name: name, Kind: wire.Deleted, At: row.Time})
	}
	return row
}

func positionOf(row wire.Row) invalidation.Position {
	return invalidation.Position{Revision: row.Revision, Hash: row.Hash}
}

func (w *world) append(a invalidation.Append) wire.Row {
	w.t.Helper()
	row, err := w.store.Append(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	return row
}

func (w *world) load(names ...string) invalidation.Snapshot {
	w.t.Helper()
	snapshot, err := w.store.Load(w.t.Context(), names)
	if err != nil {
		w.t.Fatal(err)
	}
	return snapshot
}

func (w *world) put(table, partition, sort, attribute string, value types.AttributeValue) {
	w.t.Helper()
	item := map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: partition}, "sk": &types.AttributeValueMemberS{Value: sort},
	}
	if value != nil {
		item[attribute] = value
	}
	if _, err := w.client.PutItem(w.t.Context(), &sdk.PutItemInput{TableName: &table, Item: item}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) item(table, partition, sort string) map[string]types.AttributeValue {
	w.t.Helper()
	out, err := w.client.GetItem(w.t.Context(), &sdk.GetItemInput{TableName: &table, Key: map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: partition}, "sk": &types.AttributeValueMemberS{Value: sort},
	}})
	if err != nil || len(out.Item) == 0 {
		w.t.Fatalf("%s has no %s %s: %v", table, partition, sort, err)
	}
	return out.Item
}

func text(item map[string]types.AttributeValue, attribute string) string {
	value, ok := item[attribute].(*types.AttributeValueMemberS)
	if !ok {
		return ""
	}
	return value.Value
}

// dump returns all that appends and notes write.
func (w *world) dump() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for table, partitions := range map[string][]string{changesTable: {"log"}, operationsTable: {"secret", "audit", "open"}} {
		for _, partition := range partitions {
			out, err := w.client.Query(w.t.Context(), &sdk.QueryInput{
				TableName: &table, KeyConditionExpression: aws.String("pk = :pk"),
				ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: partition}},
			})
			if err != nil {
				w.t.Fatal(err)
			}
			for _, item := range out.Items {
				sequence := "none"
				if n, ok := item["sequence"].(*types.AttributeValueMemberN); ok {
					sequence = n.Value
				}
				all[table+" "+partition+" "+text(item, "sk")] = fmt.Sprintf("%d attributes: data %s, detail %s, hash %s, sequence %s",
					len(item), text(item, "data"), text(item, "detail"), text(item, "hash"), sequence)
			}
		}
	}
	return all
}
