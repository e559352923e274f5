package secretsmanager

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// Lister implements invalidation.Lister. It is safe for concurrent use.
type Lister struct{ client *secretsmanager.Client }

var _ invalidation.Lister = (*Lister)(nil)

// NewLister returns a Lister that uses the client.
func NewLister(client *secretsmanager.Client) *Lister { return &Lister{client} }

// List implements invalidation.Lister. A secret without a date of its last change has not changed since it was created.
func (l *Lister) List(ctx context.Context, prefix string) ([]invalidation.Listed, error) {
	pages := secretsmanager.NewListSecretsPaginator(l.client, &secretsmanager.ListSecretsInput{
		Filters:                []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{prefix}}},
		IncludePlannedDeletion: aws.Bool(true), MaxResults: aws.Int32(100),
	})
	var all []invalidation.Listed
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.SecretList {
			name := aws.ToString(s.Name)
			if !strings.HasPrefix(name, prefix) { // what a filter takes for a prefix is not all that clear
				continue
			}
			changed := aws.ToTime(s.LastChangedDate)
			if changed.IsZero() {
				changed = aws.ToTime(s.CreatedDate)
			}
			all = append(all, invalidation.Listed{Name: name, LastChanged: changed, Deleted: s.DeletedDate != nil})
		}
	}
	return all, nil
}
