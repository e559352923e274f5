package dynamodb

import (
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

var _ history.Store = (*Store)(nil)

// Rows implements history.Log. The log and its audit records are read side by side, a page of each at a time.
func (s *Store) Rows(ctx context.Context, span history.Span) iter.Seq2[history.Row, error] {
	return func(yield func(history.Row, error) bool) {
		nextRecord, stop := iter.Pull2(s.spanOf(ctx, s.operations, auditPartition, span))
		defer stop()
		record, recordErr, more := nextRecord()
		for i, err := range s.spanOf(ctx, s.changes, wire.LogPartition, span) {
			if err != nil {
				yield(history.Row{}, err)
				return
			}
			at := textOf(i, "sk")
			for more && recordErr == nil && before(textOf(record, "sk"), at, span.NewestFirst) { // of a row that a restore took away
				record, recordErr, more = nextRecord()
			}
			row := history.Row{Key: at, Body: []byte(textOf(i, "detail"))}
			if row.Row, err = wire.OpenRow(row.Body, textOf(i, "hash")); err != nil {
				err = fmt.Errorf("reading revision %s of the change log: %w", at, err)
			}
			switch {
			case err != nil:
			case recordErr != nil:
				err = recordErr
			case more && textOf(record, "sk") == at:
				row.Record = []byte(textOf(record, "data"))
				err = contentOf(record, &row.Causes)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// before reports whether a sort key comes before another in the order of reading.
func before(a, b string, newestFirst bool) bool {
	if newestFirst {
		return a > b
	}
	return a < b
}

// spanOf returns the items of a partition whose sort keys are a span's revisions.
func (s *Store) spanOf(ctx context.Context, table, partition string, span history.Span) iter.Seq2[item, error] {
	if span.To == 0 {
		span.To = math.MaxInt64
	}
	return s.items(ctx, &dynamodb.QueryInput{
		TableName: &table, ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(!span.NewestFirst),
		KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :from AND :to"),
		ExpressionAttributeValues: item{":pk": text(partition), ":from": text(wire.RevisionKey(span.From)), ":to": text(wire.RevisionKey(span.To))},
	})
}

// items returns the items that a query finds, one after another.
func (s *Store) items(ctx context.Context, query *dynamodb.QueryInput) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		pages := dynamodb.NewQueryPaginator(s.client, query)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, fmt.Errorf("reading %s of table %s: %w", textOf(query.ExpressionAttributeValues, ":pk"), *query.TableName, err))
				return
			}
			for _, i := range page.Items {
				if !yield(i, nil) {
					return
				}
			}
		}
	}
}

// Outcomes implements history.Store.
func (s *Store) Outcomes(ctx context.Context, revision int64, service string) iter.Seq2[invalidation.Delivery, error] {
	condition, values := "pk = :pk", item{":pk": text(deliveryPartition + wire.RevisionKey(revision))}
	if service != "" {
		condition += " AND begins_with(sk, :service)"
		values[":service"] = text(service + "#")
	}
	return func(yield func(invalidation.Delivery, error) bool) {
		for i, err := range s.items(ctx, &dynamodb.QueryInput{
			TableName: &s.operations, ConsistentRead: aws.Bool(true), KeyConditionExpression: &condition, ExpressionAttributeValues: values,
		}) {
			var d invalidation.Delivery
			if err == nil {
				err = contentOf(i, &d)
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}
