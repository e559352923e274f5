package dynamodb

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const (
	subscriptionsKey  = "subscriptions"
	manifestPartition = "subscriptions#"
	// maxPart is how much of a manifest's text is in one item, which may have 400 KB
	// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
	maxPart = 300_000
)

var _ invalidation.Manifests = (*Store)(nil)

// Holding implements invalidation.Manifests.
func (s *Store) Holding(ctx context.Context) (invalidation.Holding, error) {
	var h invalidation.Holding
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &s.operations, Key: key(controlPartition, subscriptionsKey), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return h, fmt.Errorf("reading %s %s: %w", controlPartition, subscriptionsKey, err)
	}
	if out.Item == nil {
		return h, nil
	}
	err = contentOf(out.Item, &h)
	h.Sequence = numberOf(out.Item, "sequence")
	return h, err
}

// Manifest implements invalidation.Manifests.
func (s *Store) Manifest(ctx context.Context, digest string) ([]byte, error) {
	var whole strings.Builder
	err := s.each(ctx, manifestPartition+digest, func(i item) error {
		whole.WriteString(textOf(i, "data"))
		return nil
	})
	if err != nil {
		return nil, err
	}
	manifest := []byte(whole.String())
	if subscribers.Digest(manifest) != digest {
		return nil, fmt.Errorf("manifest %s is not kept as it was written: apply it again", digest)
	}
	return manifest, nil
}

// Keep implements invalidation.Manifests. The parts are of one digest, so writing them again, or from two places at once,
// writes the same.
func (s *Store) Keep(ctx context.Context, manifest []byte) error {
	partition := manifestPartition + subscribers.Digest(manifest)
	for n := 0; len(manifest) > 0; n++ {
		size := min(maxPart, len(manifest))
		for size < len(manifest) && !utf8.RuneStart(manifest[size]) {
			size--
		}
		part := key(partition, fmt.Sprintf("%04d", n))
		part["data"] = text(string(manifest[:size]))
		if _, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.operations, Item: part}); err != nil {
			return fmt.Errorf("writing %s: %w", partition, err)
		}
		manifest = manifest[size:]
	}
	return nil
}

// Hold implements invalidation.Manifests.
func (s *Store) Hold(ctx context.Context, h invalidation.Holding, by *invalidation.Command) error {
	i, err := dataItem(controlPartition, subscriptionsKey, h)
	if err != nil {
		return err
	}
	i["sequence"] = number(h.Sequence + 1)
	put := &types.Put{TableName: &s.operations, Item: i, ConditionExpression: aws.String("attribute_not_exists(pk)")}
	if h.Sequence > 0 {
		put.ConditionExpression = aws.String("#sequence = :was")
		put.ExpressionAttributeNames = map[string]string{"#sequence": "sequence"}
		put.ExpressionAttributeValues = item{":was": number(h.Sequence)}
	}
	writes := []types.TransactWriteItem{{Put: put}}
	if by != nil {
		record, err := s.putCommand(*by)
		if err != nil {
			return err
		}
		writes = append(writes, types.TransactWriteItem{Put: record})
	}
	_, err = s.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: writes})
	return conflictOr(err)
}
