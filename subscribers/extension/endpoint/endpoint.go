// Package endpoint is the local endpoint of the extension: functions in any language ask it for secrets instead of Secrets
// Manager. It speaks two protocols, those that unmodified code speaks: the HTTP API of AWS's Parameters and Secrets
// extension, and Secrets Manager's own JSON protocol, which every AWS SDK speaks to the endpoint it is told.
//
// What is asked for by AWSCURRENT comes from a secretcache, which reads the change log before it serves anything. What is
// asked of Secrets Manager otherwise is signed anew and passed on. What a cache does with the log may not be here.
package endpoint

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

const (
	// maxRequests is how many requests are answered at once, as many as AWS's agent answers; pings have a few more.
	maxRequests = 800
	morePings   = 2
)

// Config says what an Endpoint answers with.
type Config struct {
	// Cache answers reads of AWSCURRENT. Required.
	Cache *secretcache.Cache
	// TTL is how long what the HTTP API is asked for by another label or a version id is kept. Those reads and what is
	// passed on go to Secrets Manager itself.
	TTL time.Duration
	// MaxSecrets is how many ids are cached, those that were used last; one that is an ARN counts as two. Zero passes every
	// read on.
	MaxSecrets int

	// Identity has this environment's own credentials: requests must be signed with them, and are signed anew with them.
	// What else calls AWS in this process has them from it, or those that the function has just got are not theirs. Required.
	Identity *Identity
	// Region is the function's own. Requests signed for another one are passed on to it. Required.
	Region string
	// URL returns where Secrets Manager is called in a Region. Required.
	URL func(region string) (string, error)
	// Client sends what is passed on. Required.
	Client aws.HTTPClient
	// Logger is slog.Default() if nil. No secret value ever reaches it.
	Logger *slog.Logger
}

// An Endpoint answers requests. It is safe for concurrent use.
type Endpoint struct {
	cache    *secretcache.Cache
	identity *Identity
	refused  struct{ tokens, requests rarely }
	troubles troubles
	bodies   bodies
	passage  *passage
	current  *secrets // by AWSCURRENT
	versions *secrets // by another label or by version id
	caches   bool
	logger   *slog.Logger
	requests atomic.Int64 // under way
}

// New returns an endpoint, or an error that tells all that is missing. It calls nobody yet.
func New(cfg Config) (*Endpoint, error) {
	var problems []error
	for _, required := range []struct {
		name    string
		missing bool
	}{
		{"Cache", cfg.Cache == nil},
		{"Identity", cfg.Identity == nil},
		{"Region", cfg.Region == ""},
		{"URL", cfg.URL == nil},
		{"Client", cfg.Client == nil},
	} {
		if required.missing {
			problems = append(problems, errors.New(required.name+" is missing"))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	passage := &passage{client: cfg.Client, identity: cfg.Identity, signer: v4.NewSigner(), region: cfg.Region, url: cfg.URL}
	versions, err := newVersions(passage, cfg.TTL)
	if err != nil {
		return nil, err
	}
	return &Endpoint{
		cache: cfg.Cache, identity: cfg.Identity, passage: passage, logger: cfg.Logger, troubles: troubles{logger: cfg.Logger},
		current: newSecrets(cfg.Cache, cfg.MaxSecrets), versions: newSecrets(versions, cfg.MaxSecrets), caches: cfg.MaxSecrets > 0,
	}, nil
}

// Begin says that an invocation begins, which lasts until end is called: see secretcache.Cache.Begin.
func (e *Endpoint) Begin(ctx context.Context) (end func()) {
	endCurrent, endVersions := e.cache.Begin(ctx), e.versions.cache.Begin(ctx)
	return func() {
		endVersions()
		endCurrent()
	}
}

// ServeHTTP answers a request, in the order in which AWS's agent looks at one: are there too many, was it forwarded, whose
// is it, what does it ask for.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limitBody(w, r)
	ping := r.URL.Path == "/ping"
	limit := int64(maxRequests)
	if ping {
		limit += morePings
	}
	defer e.requests.Add(-1)
	switch {
	case e.requests.Add(1) > limit:
		tell(w, http.StatusTooManyRequests, "Connection limit exceeded")
	case ping && r.Method == http.MethodGet:
		tell(w, http.StatusOK, "healthy")
	case wasForwarded(r.Header):
		tell(w, http.StatusBadRequest, "Forwarded")
	case strings.HasPrefix(r.Header.Get(targetHeader), targetPrefix):
		e.serveJSON(w, r)
	default:
		e.serveHTTPAPI(w, r)
	}
}

// wasForwarded reports whether a proxy says that it passes a request on for somebody else.
func wasForwarded(h http.Header) bool {
	return len(h.Values("X-Forwarded-For")) > 0 || len(h.Values("Forwarded")) > 0
}
