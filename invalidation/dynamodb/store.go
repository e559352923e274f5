// Package dynamodb keeps the change log and everything the broadcaster knows in DynamoDB. It is an edge: the AWS SDK stops
// here. Two tables, both with the string keys pk and sk:
//
//	changes     pk "log"            sk revision   one row of the log: hash, detail (the row's body); never rewritten
//	operations  pk "secret"         sk name       how a secret stands: data, sequence
//	            pk "audit"          sk revision   what caused it: data
//	            pk "open"           sk revision   a fan-out under way: hash, reopened, data
//	            pk "control"        sk "reconcile": how far reconciling has come: data
//	                                sk "resume": until when a message to ourselves is on its way: due
//	                            sk "pause": whether pushes are held back: data
//	                            sk "check-failures": how many failed checks each environment had told of: data
//	                            sk "subscriptions": which manifest holds: data, sequence
//	            pk "subscriptions#"+digest  sk part: a manifest's text: data
//	            pk "command"        sk time + "#" + request: who had the broadcaster do what, and why: data
//	            pk "delivery#"+rev  sk service + "#" + function + "#" + hash: what became of it: data, outcome
package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Partitions of the operations table.
const (
	secretPartition   = "secret"
	auditPartition    = "audit"
	openPartition     = "open"
	deliveryPartition = "delivery#"
)

// Store implements invalidation.Log and invalidation.Fanouts. It is safe for concurrent use.
type Store struct {
	client              *dynamodb.Client
	changes, operations string
}

var (
	_ invalidation.Log     = (*Store)(nil)
	_ invalidation.Fanouts = (*Store)(nil)
)

// New returns a store on the two named tables.
func New(client *dynamodb.Client, changes, operations string) *Store {
	return &Store{client: client, changes: changes, operations: operations}
}

type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func textOf(i item, attribute string) string {
	s, ok := i[attribute].(*types.AttributeValueMemberS)
	if !ok {
		return ""
	}
	return s.Value
}

func numberOf(i item, attribute string) int64 {
	n, ok := i[attribute].(*types.AttributeValueMemberN)
	if !ok {
		return 0
	}
	v, _ := strconv.ParseInt(n.Value, 10, 64) // what is no number was not written here
	return v
}

func key(partition, sort string) item { return item{"pk": text(partition), "sk": text(sort)} }

// dataItem is an item whose content is one JSON attribute.
func dataItem(partition, sort string, content any) (item, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encoding %s %s: %w", partition, sort, err)
	}
	i := key(partition, sort)
	i["data"] = text(string(data))
	return i, nil
}

func contentOf(i item, into any) error {
	if err := json.Unmarshal([]byte(textOf(i, "data")), into); err != nil {
		return fmt.Errorf("decoding %s %s: %w", textOf(i, "pk"), textOf(i, "sk"), err)
	}
	return nil
}

func secretOf(i item) (invalidation.SecretRow, error) {
	var row invalidation.SecretRow
	err := contentOf(i, &row)
	row.Sequence = numberOf(i, "sequence")
	return row, err
}

// Load implements invalidation.Log.
func (s *Store) Load(ctx context.Context, names []string) (invalidation.Snapshot, error) {
	snapshot := invalidation.Snapshot{Secrets: make(map[string]invalidation.SecretRow, len(names))}
	head, err := s.Row(ctx, 0)
	if err != nil {
		return snapshot, err
	}
	snapshot.Head = invalidation.Position{Revision: head.Revision, Hash: head.Hash}
	keys := make([]item, 0, len(names))
	for _, name := range names {
		keys = append(keys, key(secretPartition, name))
	}
	var pace pacing
	for len(keys) > 0 {
		some := keys[:min(len(keys), 100)] // BatchGetItem's limit
		keys = keys[len(some):]
		out, err := s.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
			s.operations: {Keys: some, ConsistentRead: aws.Bool(true)},
		}})
		if err != nil {
			return snapshot, fmt.Errorf("reading secrets' rows: %w", err)
		}
		for _, i := range out.Responses[s.operations] {
			row, err := secretOf(i)
			if err != nil {
				return snapshot, err
			}
			snapshot.Secrets[row.Name] = row
		}
		left := out.UnprocessedKeys[s.operations].Keys
		if err := pace.after(ctx, len(left)); err != nil {
			return snapshot, fmt.Errorf("reading secrets' rows: %d left unprocessed: %w", len(left), err)
		}
		keys = append(keys, left...)
	}
	return snapshot, nil
}

// Row implements invalidation.Log.
func (s *Store) Row(ctx context.Context, revision int64) (wire.Row, error) {
	condition, values := "pk = :log", item{":log": text(wire.LogPartition)}
	if revision > 0 {
		condition += " AND sk = :revision"
		values[":revision"] = text(wire.RevisionKey(revision))
	}
	out, err := s.client.Query(ctx, &dynamodb.QueryInput{
		TableName: &s.changes, ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(false), Limit: aws.Int32(1),
		KeyConditionExpression: &condition, ExpressionAttributeValues: values,
	})
	if err != nil {
		return wire.Row{}, fmt.Errorf("reading the change log: %w", err)
	}
	if len(out.Items) == 0 {
		return wire.Row{}, nil
	}
	row, err := wire.OpenRow([]byte(textOf(out.Items[0], "detail")), textOf(out.Items[0], "hash"))
	if err != nil {
		return wire.Row{}, fmt.Errorf("reading revision %s of the change log: %w", textOf(out.Items[0], "sk"), err)
	}
	return row, nil
}

// Append implements invalidation.Log.
func (s *Store) Append(ctx context.Context, a invalidation.Append) (wire.Row, error) {
	record, err := json.Marshal(a.Causes)
	if err != nil {
		return wire.Row{}, fmt.Errorf("encoding the audit record of revision %d: %w", a.Row.Revision, err)
	}
	a.Row.AuditHash = wire.Hash(record)
	body, err := a.Row.Seal()
	if err != nil {
		return wire.Row{}, err
	}
	row := key(wire.LogPartition, wire.RevisionKey(a.Row.Revision))
	row["hash"], row["detail"] = text(a.Row.Hash), text(string(body))
	writes := []types.TransactWriteItem{
		{Put: &types.Put{TableName: &s.changes, Item: row, ConditionExpression: aws.String("attribute_not_exists(pk)")}},
	}
	if a.Head.Revision > 0 {
		writes = append(writes, types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName: &s.changes, Key: key(wire.LogPartition, wire.RevisionKey(a.Head.Revision)),
			ConditionExpression: aws.String("#hash = :hash"), ExpressionAttributeNames: map[string]string{"#hash": "hash"},
			ExpressionAttributeValues: item{":hash": text(a.Head.Hash)},
		}})
	}
	for _, secret := range a.Secrets {
		put, err := s.putSecret(secret)
		if err != nil {
			return wire.Row{}, err
		}
		writes = append(writes, types.TransactWriteItem{Put: put})
	}
	records, err := s.records(a, record)
	if err != nil {
		return wire.Row{}, err
	}
	_, err = s.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: append(writes, records...)})
	if err != nil {
		return wire.Row{}, conflictOr(err)
	}
	return a.Row, nil
}

// records are what an append writes besides the log and the secrets' rows.
func (s *Store) records(a invalidation.Append, record []byte) ([]types.TransactWriteItem, error) {
	audit := key(auditPartition, wire.RevisionKey(a.Row.Revision))
	audit["data"] = text(string(record))
	puts := []types.TransactWriteItem{{Put: &types.Put{TableName: &s.operations, Item: audit}}}
	if len(a.Row.Changes) == 0 {
		return puts, nil // nothing to deliver
	}
	f := invalidation.Fanout{
		Position: invalidation.Position{Revision: a.Row.Revision, Hash: a.Row.Hash}, EventIDs: a.EventIDs(), Appended: a.Row.Time,
	}
	for _, change := range a.Row.Changes {
		f.Names = append(f.Names, change.Name)
	}
	marker, err := markerOf(f)
	if err != nil {
		return nil, err
	}
	return append(puts, types.TransactWriteItem{Put: &types.Put{TableName: &s.operations, Item: marker}}), nil
}

// putSecret writes a secret's row if it is still as it was read.
func (s *Store) putSecret(row invalidation.SecretRow) (*types.Put, error) {
	was := row.Sequence
	i, err := dataItem(secretPartition, row.Name, row)
	if err != nil {
		return nil, err
	}
	i["sequence"] = number(was + 1)
	put := &types.Put{TableName: &s.operations, Item: i, ConditionExpression: aws.String("attribute_not_exists(pk)")}
	if was > 0 {
		put.ConditionExpression = aws.String("#sequence = :was")
		put.ExpressionAttributeNames = map[string]string{"#sequence": "sequence"}
		put.ExpressionAttributeValues = item{":was": number(was)}
	}
	return put, nil
}

// Note implements invalidation.Log.
func (s *Store) Note(ctx context.Context, row invalidation.SecretRow) error {
	put, err := s.putSecret(row)
	if err != nil {
		return err
	}
	_, err = s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: put.TableName, Item: put.Item, ConditionExpression: put.ConditionExpression,
		ExpressionAttributeNames: put.ExpressionAttributeNames, ExpressionAttributeValues: put.ExpressionAttributeValues,
	})
	return conflictOr(err)
}

// conflictOr makes invalidation.ErrConflict of a failed condition and of a transaction that met another one
// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
func conflictOr(err error) error {
	var (
		condition *types.ConditionalCheckFailedException
		canceled  *types.TransactionCanceledException
		conflict  *types.TransactionConflictException
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &condition), errors.As(err, &conflict):
		return fmt.Errorf("%w: %w", invalidation.ErrConflict, err)
	case errors.As(err, &canceled):
		for _, reason := range canceled.CancellationReasons {
			switch aws.ToString(reason.Code) {
			case "None", "ConditionalCheckFailed", "TransactionConflict":
			default:
				return fmt.Errorf("writing: %w", err)
			}
		}
		return fmt.Errorf("%w: %w", invalidation.ErrConflict, err)
	default:
		return fmt.Errorf("writing: %w", err)
	}
}
