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
	var all []invalidation.Listed
	err := l.each(ctx, prefix, func(name string, s types.SecretListEntry) {
		changed := aws.ToTime(s.LastChangedDate)
		if changed.IsZero() {
			changed = aws.ToTime(s.CreatedDate)
		}
		all = append(all, invalidation.Listed{Name: name, LastChanged: changed, Deleted: s.DeletedDate != nil})
	})
	return all, err
}

// Rotations implements history.Rotations.
func (l *Lister) Rotations(ctx context.Context, prefix string) ([]history.Rotation, error) {
	var all []history.Rotation
	err := l.each(ctx, prefix, func(name string, s types.SecretListEntry) {
		if s.DeletedDate != nil {
			return
		}
		all = append(all, history.Rotation{
			Name: name, Enabled: aws.ToBool(s.RotationEnabled), Last: aws.ToTime(s.LastRotatedDate), Next: aws.ToTime(s.NextRotationDate),
		})
	})
	return all, err
}

// each gives every secret whose name begins with the prefix to take.
func (l *Lister) each(ctx context.Context, prefix string, take func(name string, s types.SecretListEntry)) error {
	pages := secretsmanager.NewListSecretsPaginator(l.client, &secretsmanager.ListSecretsInput{
		Filters:                []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{prefix}}},
		IncludePlannedDeletion: aws.Bool(true), MaxResults: aws.Int32(100),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, s := range page.SecretList {
			if name := aws.ToString(s.Name); strings.HasPrefix(name, prefix) { // what a filter takes for a prefix is not all that clear
				take(name, s)
			}
		}
	}
	return nil
}
