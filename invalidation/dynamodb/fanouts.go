package dynamodb

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Open implements invalidation.Fanouts.
func (s *Store) Open(ctx context.Context) ([]invalidation.Fanout, error) {
	return query[invalidation.Fanout](ctx, s, openPartition)
}

// Deliveries implements invalidation.Fanouts.
func (s *Store) Deliveries(ctx context.Context, revision int64) ([]invalidation.Delivery, error) {
	return query[invalidation.Delivery](ctx, s, deliveryPartition+wire.RevisionKey(revision))
}

// query returns the contents of a partition of the operations table in the order of the sort key.
func query[T any](ctx context.Context, s *Store, partition string) ([]T, error) {
	var all []T
	err := s.each(ctx, partition, func(i item) error {
		var content T
		err := contentOf(i, &content)
		all = append(all, content)
		return err
	})
	return all, err
}

// each calls take with the items of a partition of the operations table in the order of the sort key.
func (s *Store) each(ctx context.Context, partition string, take func(item) error) error {
	pages := dynamodb.NewQueryPaginator(s.client, &dynamodb.QueryInput{
		TableName: &s.operations, ConsistentRead: aws.Bool(true),
		KeyConditionExpression: aws.String("pk = :pk"), ExpressionAttributeValues: item{":pk": text(partition)},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("reading %s: %w", partition, err)
		}
		for _, i := range page.Items {
			if err := take(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// Record implements invalidation.Fanouts.
func (s *Store) Record(ctx context.Context, deliveries []invalidation.Delivery) error {
	puts := make([]types.WriteRequest, 0, len(deliveries))
	for _, d := range deliveries {
		i, err := deliveryItem(d)
		if err != nil {
			return err
		}
		if d.Outcome == invalidation.Pending {
			if err := s.recordPending(ctx, i); err != nil {
				return err
			}
			continue
		}
		puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: i}})
	}
	var pace pacing
	for len(puts) > 0 {
		some := puts[:min(len(puts), 25)] // BatchWriteItem's limit
		out, err := s.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
			RequestItems: map[string][]types.WriteRequest{s.operations: some},
		})
		if err != nil {
			return fmt.Errorf("recording deliveries: %w", err)
		}
		left := out.UnprocessedItems[s.operations]
		if err := pace.after(ctx, len(left)); err != nil {
			return fmt.Errorf("recording deliveries: %d left unprocessed: %w", len(left), err)
		}
		puts = append(puts[len(some):], left...)
	}
	return nil
}

func deliveryItem(d invalidation.Delivery) (item, error) {
	i, err := dataItem(deliveryPartition+wire.RevisionKey(d.Revision), d.Subscription+"#"+d.Function+"#"+d.Hash, d)
	if err != nil {
		return nil, err
	}
	i["outcome"] = text(string(d.Outcome))
	return i, nil
}

// markerOf is the item that says that a fan-out is open.
func markerOf(f invalidation.Fanout) (item, error) {
	i, err := dataItem(openPartition, wire.RevisionKey(f.Revision), f)
	if err != nil {
		return nil, err
	}
	i["hash"] = text(f.Hash)
	if f.Reopened != "" {
		i["reopened"] = text(f.Reopened)
	}
	return i, nil
}

// recordPending writes a delivery that is not over, unless somebody else has brought it to its outcome: then the fan-out
// may be closed, and nobody would come back to it.
func (s *Store) recordPending(ctx context.Context, i item) error {
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.operations, Item: i, ConditionExpression: aws.String("attribute_not_exists(pk) OR #outcome = :pending"),
		ExpressionAttributeNames:  map[string]string{"#outcome": "outcome"},
		ExpressionAttributeValues: item{":pending": text(string(invalidation.Pending))},
	})
	if err = conflictOr(err); err != nil && !errors.Is(err, invalidation.ErrConflict) {
		return fmt.Errorf("recording deliveries: %w", err)
	}
	return nil
}

// Close implements invalidation.Fanouts. A marker that is gone or has another hash is not this fan-out's; one that was reopened
// since it was read may owe what its reader does not know of.
func (s *Store) Close(ctx context.Context, f invalidation.Fanout) error {
	condition, values := "#hash = :hash AND attribute_not_exists(#reopened)", item{":hash": text(f.Hash)}
	if f.Reopened != "" {
		condition, values[":reopened"] = "#hash = :hash AND #reopened = :reopened", text(f.Reopened)
	}
	_, err := s.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &s.operations, Key: key(openPartition, wire.RevisionKey(f.Revision)),
		ConditionExpression: &condition, ExpressionAttributeNames: map[string]string{"#hash": "hash", "#reopened": "reopened"},
		ExpressionAttributeValues: values,
	})
	if err = conflictOr(err); errors.Is(err, invalidation.ErrConflict) {
		return nil
	}
	return err
}
