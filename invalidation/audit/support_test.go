package audit_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/audit"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	changes    = "changes"
	operations = "operations"

	neon   = "/bank/prod/payments/neon/connection-string"
	stripe = "/bank/prod/payments/stripe/api-key"
)

// T is a testing.T or a rapid.T.
type T interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// A world is a store on the local tables, and what the broadcaster logged when it wrote there.
type world struct {
	T
	client    *sdk.Client
	store     *dynamodb.Store
	head      wire.Row
	witnessed audit.Witnessed
}

func at(minute int) time.Time {
	return time.Date(2026, 11, 23, 10, minute, 0, 0, time.UTC)
}

func newWorld(t T) *world {
	local, err := tables.Open(tables.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := local.CreateTables("pk", "sk", changes, operations); err != nil {
		t.Fatal(err)
	}
	client := sdk.New(sdk.Options{
		Region: "eu-west-2", RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: local.RoundTripper()},
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	})
	return &world{T: t, client: client, store: dynamodb.New(client, changes, operations), witnessed: audit.NewWitnessed()}
}

// append writes the next row, at its minute, with one event as its cause, and logs it.
func (w *world) append(changes ...wire.Change) wire.Row {
	w.Helper()
	a := w.next(changes...)
	row, err := w.store.Append(w.Context(), a)
	if err != nil {
		w.Fatal(err)
	}
	w.head = row
	w.witnessed.Take(fmt.Appendf(nil, `{"time":%q,"msg":"appended","revision":%d,"hash":%q}`, row.Time.Format(time.RFC3339Nano), row.Revision, row.Hash))
	return row
}

func (w *world) next(changes ...wire.Change) invalidation.Append {
	n := w.head.Revision + 1
	return invalidation.Append{
		Head: invalidation.Position{Revision: w.head.Revision, Hash: w.head.Hash},
		Row: wire.Row{
			Schema: wire.Schema, Env: "prod", Domain: "payments", Revision: n, Time: at(int(n)), PreviousHash: w.head.Hash, Changes: changes,
		},
		Causes: []invalidation.Cause{{
			EventID: fmt.Sprint("event-", n), DetailType: "Secret Label Updated", Actor: "arn:aws:iam::111122223333:user/rotation",
			EventTime: at(int(n)).Add(-time.Second), Received: at(int(n)),
		}},
	}
}

func moved(name, version string, minute int) wire.Change {
	return wire.Change{Name: name, Kind: wire.Moved, VersionID: version, At: at(minute).Add(-time.Second)}
}

// command writes a pause or resume, and logs it.
func (w *world) command(name, reason string, when time.Time) {
	w.Helper()
	c := invalidation.Command{Name: name, By: "arn:aws:sts::111122223333:assumed-role/oncall/alice", Reason: reason, About: "a secret", At: when, RequestID: "request-" + when.Format("15:04")}
	if err := w.store.SetPause(w.Context(), invalidation.Pause{}, c); err != nil {
		w.Fatal(err)
	}
	w.witnessed.Take(fmt.Appendf(nil, `{"time":%[1]q,"msg":"a command was recorded","command":%[2]q,"about":%[3]q,"by":%[4]q,"reason":%[5]q,"at":%[1]q,"requestId":%[6]q}`,
		when.Format(time.RFC3339Nano), c.Name, c.About, c.By, c.Reason, c.RequestID))
}

func key(partition, sort string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": text(partition), "sk": text(sort)}
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func (w *world) get(table, partition, sort string) map[string]types.AttributeValue {
	w.Helper()
	out, err := w.client.GetItem(w.Context(), &sdk.GetItemInput{TableName: &table, Key: key(partition, sort)})
	if err != nil || out.Item == nil {
		w.Fatalf("%s %s %s: %v", table, partition, sort, err)
	}
	return out.Item
}

// put writes an item as somebody may who can write the table.
func (w *world) put(table string, item map[string]types.AttributeValue) {
	w.Helper()
	if _, err := w.client.PutItem(w.Context(), &sdk.PutItemInput{TableName: &table, Item: item}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) remove(table, partition, sort string) {
	w.Helper()
	if _, err := w.client.DeleteItem(w.Context(), &sdk.DeleteItemInput{TableName: &table, Key: key(partition, sort)}); err != nil {
		w.Fatal(err)
	}
}

func textOf(item map[string]types.AttributeValue, attribute string) string {
	return item[attribute].(*types.AttributeValueMemberS).Value
}
