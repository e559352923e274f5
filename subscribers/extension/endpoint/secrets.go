package endpoint

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// currentLabel is the label that the change log speaks of.
const currentLabel = "AWSCURRENT"

// A wanted says which version of which secret is asked for; without a version id and a label it is AWSCURRENT's.
type wanted struct {
	id, versionID, label string
}

func (w wanted) isCurrent() bool {
	return w.versionID == "" && (w.label == "" || w.label == currentLabel)
}

// body is the request of GetSecretValue for what is wanted. It names it as nothing else does, and is no ARN.
func (w wanted) body() string {
	return string(encode(request{SecretID: w.id, VersionID: w.versionID, VersionStage: w.label}))
}

// secrets are the handles to what has been asked for: as many as may be kept.
type secrets struct {
	cache *secretcache.Cache
	limit int

	mu    sync.RWMutex
	known map[string]*secretcache.Secret
}

func newSecrets(cache *secretcache.Cache, limit int) *secrets {
	return &secrets{cache: cache, limit: limit, known: map[string]*secretcache.Secret{}}
}

// of returns the handle to what is called by an id, or nil if there are too many.
func (s *secrets) of(id string) *secretcache.Secret {
	if secret := s.existing(id); secret != nil {
		return secret
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[id] == nil && len(s.known) < s.limit {
		s.known[id] = s.cache.Secret(id)
	}
	return s.known[id]
}

// existing returns the handle to what has been asked for before, or nil.
func (s *secrets) existing(id string) *secretcache.Secret {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[id]
}

// A found is a version that was asked for.
type found struct {
	secretcache.Details
	text string
}

// read returns a version. If it is to be new, nothing that was asked for before is good enough.
func (e *Endpoint) read(ctx context.Context, want wanted, isNew bool) (found, error) {
	handles, id := e.current, want.id
	if !want.isCurrent() {
		handles, id = e.versions, want.body()
	}
	secret := handles.of(id)
	if secret == nil {
		return e.passage.get(ctx, want.body())
	}
	if isNew {
		secret.Expire()
		secret = secret.WithTTL(time.Nanosecond)
	}
	v, err := secret.Get(ctx)
	return found{v.Details(), v.Text()}, err
}

// get reads a version from Secrets Manager itself.
func (p *passage) get(ctx context.Context, body string) (found, error) {
	answer, err := p.pass(ctx, p.region, getSecretValue, []byte(body), nil)
	if err != nil {
		return found{}, err
	}
	if answer.status != http.StatusOK {
		return found{}, answer.refusal()
	}
	return decodeValue(answer.body)
}

// newVersions returns a cache of versions that were named otherwise than by AWSCURRENT. The log does not speak of them: the
// TTL alone applies. What the cache takes for a secret's name is the request for what is wanted.
func newVersions(p *passage, ttl time.Duration) (*secretcache.Cache, error) {
	return secretcache.New(secretcache.Config{
		Mode: secretcache.Off, TTL: ttl, Secrets: versions{p}, Logger: slog.New(slog.DiscardHandler),
	})
}

type versions struct{ passage *passage }

// Get implements secretcache.Secrets.
func (v versions) Get(ctx context.Context, body, _ string) (secretcache.Fetched, error) {
	got, err := v.passage.get(ctx, body)
	return secretcache.Fetched{
		Name: got.Name, ARN: got.ARN, VersionID: got.VersionID, Created: got.Created, Labels: got.Labels, Text: got.text, Binary: got.Binary,
	}, err
}

// Pending implements secretcache.Secrets. Nobody asks: the endpoint reads AWSPENDING as any other label.
func (v versions) Pending(ctx context.Context, body string) (secretcache.Fetched, error) {
	return v.Get(ctx, body, "")
}
