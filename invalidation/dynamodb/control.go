package dynamodb

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const (
	commandPartition = "command"
	pauseKey         = "pause"
	failuresKey      = "check-failures"
)

var _ invalidation.Control = (*Store)(nil)

// Pause implements invalidation.Control.
func (s *Store) Pause(ctx context.Context) (invalidation.Pause, error) {
	return control[invalidation.Pause](ctx, s, pauseKey)
}

// SetPause implements invalidation.Control.
func (s *Store) SetPause(ctx context.Context, p invalidation.Pause, by invalidation.Command) error {
	pause, err := dataItem(controlPartition, pauseKey, p)
	if err != nil {
		return err
	}
	record, err := s.putCommand(by)
	if err != nil {
		return err
	}
	_, err = s.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: &s.operations, Item: pause}},
		{Put: record},
	}})
	if err != nil {
		return fmt.Errorf("writing %s %s: %w", controlPartition, pauseKey, err)
	}
	return nil
}

// RecordCommand implements invalidation.Control.
func (s *Store) RecordCommand(ctx context.Context, by invalidation.Command) error {
	record, err := s.putCommand(by)
	if err != nil {
		return err
	}
	_, err = s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: record.TableName, Item: record.Item, ConditionExpression: record.ConditionExpression,
	})
	if err != nil {
		return fmt.Errorf("writing the record of the command: %w", err)
	}
	return nil
}

// Reopen implements invalidation.Control.
func (s *Store) Reopen(ctx context.Context, f invalidation.Fanout, deliveries []invalidation.Delivery) error {
	marker, err := markerOf(f)
	if err != nil {
		return err
	}
	writes := []types.TransactWriteItem{{Put: &types.Put{
		TableName: &s.operations, Item: marker, ConditionExpression: aws.String("attribute_not_exists(pk) OR #hash = :hash"),
		ExpressionAttributeNames: map[string]string{"#hash": "hash"}, ExpressionAttributeValues: item{":hash": text(f.Hash)},
	}}}
	for _, d := range deliveries {
		i, err := deliveryItem(d)
		if err != nil {
			return err
		}
		writes = append(writes, types.TransactWriteItem{Put: &types.Put{
			TableName: &s.operations, Item: i, ConditionExpression: aws.String("#outcome = :failed"),
			ExpressionAttributeNames:  map[string]string{"#outcome": "outcome"},
			ExpressionAttributeValues: item{":failed": text(string(invalidation.Undelivered))},
		}})
	}
	_, err = s.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: writes})
	return conflictOr(err)
}

// putCommand writes the record of a command, which is never rewritten.
func (s *Store) putCommand(by invalidation.Command) (*types.Put, error) {
	record, err := dataItem(commandPartition, by.At.UTC().Format(time.RFC3339Nano)+"#"+by.RequestID, by)
	if err != nil {
		return nil, err
	}
	return &types.Put{TableName: &s.operations, Item: record, ConditionExpression: aws.String("attribute_not_exists(pk)")}, nil
}

// Commands returns what people on call had the broadcaster do, oldest first.
func (s *Store) Commands(ctx context.Context) ([]invalidation.Command, error) {
	return query[invalidation.Command](ctx, s, commandPartition)
}

// CheckFailures returns how many of its failed checks each environment had told of when that was counted last.
func (s *Store) CheckFailures(ctx context.Context) (map[string]int64, error) {
	return control[map[string]int64](ctx, s, failuresKey)
}

// SaveCheckFailures writes it. The last one wins.
func (s *Store) SaveCheckFailures(ctx context.Context, told map[string]int64) error {
	return s.saveControl(ctx, failuresKey, told)
}

// control reads one row of the control partition; a missing one is the zero value.
func control[T any](ctx context.Context, s *Store, name string) (T, error) {
	var content T
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &s.operations, Key: key(controlPartition, name), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return content, fmt.Errorf("reading %s %s: %w", controlPartition, name, err)
	}
	if out.Item == nil {
		return content, nil
	}
	return content, contentOf(out.Item, &content)
}

func (s *Store) saveControl(ctx context.Context, name string, content any) error {
	i, err := dataItem(controlPartition, name, content)
	if err != nil {
		return err
	}
	if _, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.operations, Item: i}); err != nil {
		return fmt.Errorf("writing %s %s: %w", controlPartition, name, err)
	}
	return nil
}
