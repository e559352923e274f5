package fleet

import (
	"context"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// listPort is a broadcaster's way to ListSecrets.
type listPort struct{ b *broadcaster }

// List implements invalidation.Lister.
func (p listPort) List(_ context.Context, prefix string) ([]invalidation.Listed, error) {
	s := p.b.w.secrets
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []invalidation.Listed
	for token := ""; ; {
		page, err := s.m.ListSecrets(secrets.ListSecretsInput{NamePrefixes: []string{prefix}, IncludePlannedDeletion: true, NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, is := range page.Secrets {
			all = append(all, invalidation.Listed{Name: is.Name, LastChanged: is.LastChangedDate, Deleted: !is.DeletedDate.IsZero()})
		}
		if token = page.NextToken; token == "" {
			return all, nil
		}
	}
}
