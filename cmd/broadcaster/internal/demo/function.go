package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

// Handler is the _HANDLER of a process that is to be the demo's function.
const Handler = "demo-function"

// Variables of the demo's function beside the client's own.
const (
	clientVariable = "DEMO_CLIENT"          // "", or the Break that its client has
	ttlVariable    = "DEMO_API_KEY_TTL"     // the TTL of APIKey
	maxAgeVariable = "DEMO_API_KEY_MAX_AGE" // the same in seconds, for the TypeScript function
)

// question is the function's event, and answered what it returns: who it is, and what it did with each secret.
type question struct {
	Read []string `json:"read"`
	// Challenge is what the function proves its use of each secret with.
	Challenge string `json:"challenge"`
}

type answered struct {
	PID    int            `json:"pid"`
	Values []answeredRead `json:"values"`
}

// An answeredRead proves which value the function used, as a login does, without showing it: whoever knows the value can
// check it. So it does not matter which version the client says it has.
type answeredRead struct {
	Name  string `json:"name"`
	Proof string `json:"proof,omitempty"`
	Error string `json:"error,omitempty"`
}

// proofOf is what somebody who has a secret's value answers to a challenge.
func proofOf(text, challenge string) string {
	mac := hmac.New(sha256.New, []byte(text))
	mac.Write([]byte(challenge))
	return hex.EncodeToString(mac.Sum(nil))
}

// Serve is the process of the function. It returns, with an exit code, only if it cannot start.
func Serve(ctx context.Context) int {
	handler, err := newHandler(ctx, os.Getenv)
	if err != nil {
		slog.ErrorContext(ctx, "starting", "error", err)
		return 1
	}
	lambda.StartWithOptions(handler, lambda.WithContext(ctx))
	return 1
}

// A reader returns the text that a secret has for whoever reads it now.
type reader interface {
	read(ctx context.Context, name string) (text string, err error)
}

// newHandler wraps the business code, as a team would, with the client that the environment variables configure.
func newHandler(ctx context.Context, getenv func(string) string) (lambda.Handler, error) {
	cfg, err := secretcacheaws.Config(ctx)
	if err != nil {
		return nil, err
	}
	cfg.CheckTimeout = cfg.CheckEvery / 2 // many processes on one machine answer later than DynamoDB
	ttl, err := time.ParseDuration(getenv(ttlVariable))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", ttlVariable, err)
	}
	switch Break(getenv(clientVariable)) {
	case PushOnly:
		client := newNaive(cfg.Secrets, cfg.Reports, map[string]time.Duration{APIKey: ttl})
		client.next = business(client)
		return client, nil
	case NoCheck:
		cfg.Log = &deafLog{Log: cfg.Log}
	case TTLAsFallback:
		ttl = time.Hour // here the log always answers
	}
	cache, err := secretcache.New(cfg)
	if err != nil {
		return nil, err
	}
	return cache.Wrap(business(&cached{cache, ttl})), nil
}

// business is the function's own code: it uses the secrets that it is asked for.
func business(secrets reader) lambda.Handler {
	return lambda.NewHandler(func(ctx context.Context, q question) (answered, error) {
		a := answered{PID: os.Getpid()}
		for _, name := range q.Read {
			read := answeredRead{Name: name}
			if text, err := secrets.read(ctx, name); err != nil {
				read.Error = err.Error()
			} else {
				read.Proof = proofOf(text, q.Challenge)
			}
			a.Values = append(a.Values, read)
		}
		return a, nil
	})
}

// cached reads through the real client.
type cached struct {
	cache *secretcache.Cache
	ttl   time.Duration
}

func (c *cached) read(ctx context.Context, name string) (string, error) {
	secret := c.cache.Secret(name)
	if name == APIKey {
		secret = secret.WithTTL(c.ttl)
	}
	value, err := secret.Get(ctx)
	return value.Text(), err
}
