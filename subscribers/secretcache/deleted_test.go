package secretcache_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// unmovedSecrets goes on answering with the first answer, however it is asked.
type unmovedSecrets struct {
	secretcache.Secrets
	first *secretcache.Fetched
}

func (s *unmovedSecrets) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if s.first != nil {
		return *s.first, nil
	}
	got, err := s.Secrets.Get(ctx, id, versionID)
	if err == nil {
		s.first = &got
	}
	return got, err
}

// TestAKnownDeletionIsWhatTheErrorSays: also while Secrets Manager, eventually consistent as it is, still answers.
func TestAKnownDeletionIsWhatTheErrorSays(t *testing.T) {
	for name, change := range map[string]struct {
		by   func(*secretcachetest.Fake)
		want bool
	}{
		"a deletion":      {func(fake *secretcachetest.Fake) { fake.Delete(password) }, true},
		"another version": {func(fake *secretcachetest.Fake) { fake.Put(password, "second") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := secretcachetest.New(t)
				fake.Put(password, "first")
				secret := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = &unmovedSecrets{Secrets: cfg.Secrets} }).Secret(password)
				wantText(t, secret, "first")
				fake.Advance(secretcache.DefaultTTL) // what is held may not be served either
				change.by(fake)
				fake.Advance(nextCheck)
				v, err := secret.Get(t.Context())
				if got := errors.Is(err, secretcache.ErrDeleted); got != change.want || v.Text() == "first" && change.want {
					t.Errorf("got %q, %v; ErrDeleted: %t, want %t", v.Text(), err, got, change.want)
				}
				if change.want && !strings.Contains(err.Error(), password) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
