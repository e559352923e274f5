package secretcacheaws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// changeLog reads the log from the changes table.
type changeLog struct {
	tables *tables
	table  string
}

var _ secretcache.Log = (*changeLog)(nil)

// query is a request of Query
// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html).
type query struct {
	TableName                 string
	ConsistentRead            bool
	KeyConditionExpression    string
	ExpressionAttributeValues map[string]value
	ScanIndexForward          bool
	Limit                     int
	ExclusiveStartKey         map[string]value `json:",omitempty"`
}

type queryAnswer struct {
	Items []struct {
		Hash   value `json:"hash"`
		Detail value `json:"detail"`
	}
	LastEvaluatedKey map[string]value
}

// Since implements secretcache.Log.
func (l *changeLog) Since(ctx context.Context, revision int64, limit int) (secretcache.Page, error) {
	return l.read(ctx, query{
		KeyConditionExpression: "pk = :log AND sk >= :revision",
		ExpressionAttributeValues: map[string]value{
			":log": text(wire.LogPartition), ":revision": text(wire.RevisionKey(revision)),
		},
		ScanIndexForward: true, Limit: limit,
	})
}

// Tail implements secretcache.Log.
func (l *changeLog) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	page, err := l.read(ctx, query{
		KeyConditionExpression:    "pk = :log",
		ExpressionAttributeValues: map[string]value{":log": text(wire.LogPartition)},
		ScanIndexForward:          false, Limit: limit,
	})
	slices.Reverse(page.Rows)
	return page, err
}

// read follows a query until its limit is reached. The page's date is the first answer's: a row is at least that old.
func (l *changeLog) read(ctx context.Context, q query) (secretcache.Page, error) {
	q.TableName, q.ConsistentRead = l.table, true
	var page secretcache.Page
	for limit := q.Limit; len(page.Rows) < limit; {
		q.Limit = limit - len(page.Rows)
		date, answer, err := l.once(ctx, q)
		if err != nil {
			return secretcache.Page{}, err
		}
		if q.ExclusiveStartKey == nil {
			page.Date = date
		}
		for _, item := range answer.Items {
			if item.Hash.S == nil || item.Detail.S == nil {
				return secretcache.Page{}, fmt.Errorf("reading table %s: %w", l.table, errForeignItem)
			}
			row, err := wire.OpenRow([]byte(*item.Detail.S), *item.Hash.S)
			if err != nil {
				return secretcache.Page{}, fmt.Errorf("reading table %s: %w", l.table, err)
			}
			page.Rows = append(page.Rows, row)
		}
		if len(answer.LastEvaluatedKey) == 0 {
			break
		}
		q.ExclusiveStartKey = answer.LastEvaluatedKey
	}
	return page, nil
}

var errForeignItem = errors.New("an item of the log has no hash or no detail: check that SECRET_BROADCAST_TABLE names the changes table")

func (l *changeLog) once(ctx context.Context, q query) (time.Time, queryAnswer, error) {
	var answer queryAnswer
	date, err := l.tables.call(ctx, "Query", l.table, q, &answer)
	return date, answer, err
}
