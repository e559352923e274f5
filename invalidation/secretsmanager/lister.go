package secretsmanager

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// Lister implements invalidation.Lister and history.Rotations. It is safe for concurrent use.
type Lister struct{ client *secretsmanager.Client }

var (
	_ invalidation.Lister = (*Lister)(nil)
	_ history.Rotations   = (*Lister)(nil)
)

// NewLister returns a Lister that uses the client.
func NewLister(client *secretsmanager.Client) *Lister { return &Lister{client} }

// List implements invalidation.Lister. A secret without a date of its last change has not changed since it was created.
func (l *Lister) List(ctx context.Context, prefix string) ([]invalidation.Listed, error) {
	entries, err := l.entries(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := make([]invalidation.Listed, 0, len(entries))
	for _, s := range entries {
		changed := aws.ToTime(s.LastChangedDate)
		if changed.IsZero() {
			changed = aws.ToTime(s.CreatedDate)
		}
		all = append(all, invalidation.Listed{Name: *s.Name, LastChanged: changed, Deleted: s.DeletedDate != nil})
	}
	return all, nil
}

// Rotations implements history.Rotations.
func (l *Lister) Rotations(ctx context.Context, prefix string) ([]history.Rotation, error) {
	entries, err := l.entries(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := make([]history.Rotation, 0, len(entries))
	for _, s := range entries {
		if s.DeletedDate == nil {
			all = append(all, history.Rotation{
				Name: *s.Name, Enabled: aws.ToBool(s.RotationEnabled), Last: aws.ToTime(s.LastRotatedDate), Next: aws.ToTime(s.NextRotationDate),
			})
		}
	}
	return all, nil
}

// entries returns every secret whose name begins with the prefix: all or none, or what is missing would be taken for what is
// gone.
func (l *Lister) entries(ctx context.Context, prefix string) ([]types.SecretListEntry, error) {
	pages := secretsmanager.NewListSecretsPaginator(l.client, &secretsmanager.ListSecretsInput{
		Filters:                []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{prefix}}},
		IncludePlannedDeletion: aws.Bool(true), MaxResults: aws.Int32(100),
	})
	var all []types.SecretListEntry
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.SecretList {
			if strings.HasPrefix(aws.ToString(s.Name), prefix) { // what a filter takes for a prefix is not all that clear
				all = append(all, s)
			}
		}
	}
	return all, nil
}
