package dynamodb

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const (
	controlPartition = "control"
	progressKey      = "reconcile"
	resumeKey        = "resume"
)

var _ invalidation.Sweeps = (*Store)(nil)

// Secrets implements invalidation.Sweeps.
func (s *Store) Secrets(ctx context.Context) ([]invalidation.SecretRow, error) {
	var all []invalidation.SecretRow
	err := s.each(ctx, secretPartition, func(i item) error {
		row, err := secretOf(i)
		all = append(all, row)
		return err
	})
	return all, err
}

// Progress implements invalidation.Sweeps.
func (s *Store) Progress(ctx context.Context) (invalidation.Progress, error) {
	return control[invalidation.Progress](ctx, s, progressKey)
}

// SaveProgress implements invalidation.Sweeps.
func (s *Store) SaveProgress(ctx context.Context, p invalidation.Progress) error {
	return s.saveControl(ctx, progressKey, p)
}

// ClaimResume implements invalidation.Sweeps.
func (s *Store) ClaimResume(ctx context.Context, now, due time.Time) (bool, error) {
	i := key(controlPartition, resumeKey)
	i["due"] = number(due.UnixMilli())
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.operations, Item: i, ConditionExpression: aws.String("attribute_not_exists(pk) OR due < :now OR due > :due"),
		ExpressionAttributeValues: item{":now": number(now.UnixMilli()), ":due": number(due.UnixMilli())},
	})
	if err = conflictOr(err); errors.Is(err, invalidation.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}
