package endpoint

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
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

// secrets are the handles to what has been read: as many as may be kept, those that were used last.
type secrets struct {
	cache *secretcache.Cache
	limit int

	mu    sync.Mutex
	known map[string]*handle
	uses  uint64
}

type handle struct {
	secret  *secretcache.Secret
	lastUse uint64
	isRead  bool // it has been, at least once
}

func newSecrets(cache *secretcache.Cache, limit int) *secrets {
	return &secrets{cache: cache, limit: limit, known: map[string]*handle{}}
}

// get reads what is called by an id. If it is to be new, nothing that was asked for before is good enough: then there may be two
// answers to wait for.
func (s *secrets) get(ctx context.Context, id string, isNew bool) (found, error) {
	kept := s.use(id)
	secret := kept
	if isNew {
		secret = secret.Anew()
	}
	v, err := secret.Get(ctx)
	s.settle(ctx, id, kept, err)
	d := v.Details()
	if err == nil && strings.HasPrefix(id, "arn:") {
		s.use(d.Name) // the cache keeps it under its name as well: an ARN takes two places
	}
	return found{d, v.Text()}, err
}

// use returns the handle to what is called by an id. If that is one too many, the one that was used longest ago goes.
func (s *secrets) use(id string) *secretcache.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.known[id]
	if h == nil {
		h = &handle{secret: s.cache.Secret(id)}
		s.known[id] = h
	}
	s.uses++
	h.lastUse = s.uses
	if len(s.known) > s.limit {
		oldest := s.oldest()
		s.forget(oldest, s.known[oldest].secret)
	}
	return h.secret
}

// oldest returns the id that was used longest ago. The caller holds mu.
func (s *secrets) oldest() (id string) {
	oldest := s.uses + 1
	for one, h := range s.known {
		if h.lastUse < oldest {
			id, oldest = one, h.lastUse
		}
	}
	return id
}

// settle notes what became of a read that ctx was for. An id that nobody could read yet, or that is not there any more, takes
// no place.
func (s *secrets) settle(ctx context.Context, id string, secret *secretcache.Secret, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.known[id]
	switch {
	case h == nil:
		s.forget(id, secret) // it had to go while it was read, and the cache may have it again
	case err == nil:
		h.isRead = true
	case errors.Is(err, secretcache.ErrNotFound), !h.isRead && ctx.Err() == nil:
		s.forget(id, secret)
	}
}

// forget drops an id, and the name under which the answer to an ARN is kept, if nobody was there when it came. The caller holds
// mu.
func (s *secrets) forget(id string, secret *secretcache.Secret) {
	delete(s.known, id)
	s.cache.Forget(id)
	if name := secret.KeptAs(); s.known[name] == nil {
		s.cache.Forget(name)
	}
}

// forgetAll drops every id, also those that are being read.
func (s *secrets) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, h := range s.known {
		s.forget(id, h.secret)
	}
}

// A found is a version that was asked for.
type found struct {
	secretcache.Details
	text string
}

// read returns a version, from memory if it may. If it is to be new, or is being changed, nothing that was asked for before is
// good enough.
func (e *Endpoint) read(ctx context.Context, want wanted, isNew bool) (found, error) {
	isNew = isNew || e.cache.IsChanging(want.id)
	switch {
	case !e.caches, want.label == currentLabel && want.versionID != "": // only Secrets Manager knows whether it is still current
		return e.passage.get(ctx, want.body())
	case want.isCurrent():
		return e.current.get(ctx, want.id, isNew)
	default:
		return e.versions.get(ctx, want.body(), isNew)
	}
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
