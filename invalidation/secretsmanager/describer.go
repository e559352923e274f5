// Package secretsmanager asks Secrets Manager what is current. It is an edge: the AWS SDK stops here. It calls
// DescribeSecret only, which returns no value.
package secretsmanager

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// Describer implements invalidation.Describer. It is safe for concurrent use.
type Describer struct{ client *secretsmanager.Client }

var _ invalidation.Describer = (*Describer)(nil)

// New returns a Describer that uses the client.
func New(client *secretsmanager.Client) *Describer { return &Describer{client} }

// Describe implements invalidation.Describer.
func (d *Describer) Describe(ctx context.Context, id string) (invalidation.Description, error) {
	out, err := d.client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &id})
	if err != nil {
		var missing *types.ResourceNotFoundException
		if errors.As(err, &missing) {
			return invalidation.Description{}, fmt.Errorf("%w: %w", invalidation.ErrNotFound, err)
		}
		return invalidation.Description{}, err
	}
	is := invalidation.Description{
		Name: aws.ToString(out.Name), ARN: aws.ToString(out.ARN), LastChanged: aws.ToTime(out.LastChangedDate), Deleted: out.DeletedDate != nil,
	}
	for version, labels := range out.VersionIdsToStages {
		if slices.Contains(labels, "AWSCURRENT") {
			is.Current = version
		}
		if slices.Contains(labels, "AWSPREVIOUS") {
			is.Previous = version
		}
	}
	return is, nil
}
