package fleet

import (
	"context"
	"sync"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// A client is what keeps an environment's secrets, behind ports that a freeze holds up.
type client interface {
	// invoke hands an event to the wrapped handler and returns what that has answered.
	invoke(ctx context.Context, payload []byte) ([]byte, error)
	// get reads a secret and tells what came of it. It may return before, once ctx has ended: a client that takes no ctx
	// reads on.
	get(ctx context.Context, id string, told func(reading))
	// appliedHash returns the hash of the newest row that has been applied.
	appliedHash() string
	counts() wire.Counts
	// die ends the client with its environment.
	die()
}

// A newClient makes an environment's client, with the function's own code behind it.
type newClient func(e *environment, own secretcache.Handler) client

// goClient is the Go client.
type goClient struct {
	cache *secretcache.Cache
	entry secretcache.Handler // the wrapped handler

	mu      sync.Mutex
	secrets map[string]*secretcache.Secret
}

func newGoClient(e *environment, own secretcache.Handler) client {
	cache, err := secretcache.New(secretcache.Config{
		Env: env, Domain: domain, Service: "api", Log: logPort{e}, Secrets: secretsPort{e}, Reports: reportsPort{e},
		Clock: e.clock, Logger: e.w.logger,
	})
	if err != nil {
		panic(err)
	}
	return &goClient{cache: cache, entry: cache.Wrap(own), secrets: map[string]*secretcache.Secret{}}
}

func (c *goClient) invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return c.entry.Invoke(ctx, payload)
}

func (c *goClient) get(ctx context.Context, id string, told func(reading)) {
	value, err := c.secret(id).Get(ctx)
	told(reading{value.VersionID(), value.Text(), err, ctx.Err() != nil})
}

// secret returns the handle to a secret.
func (c *goClient) secret(id string) *secretcache.Secret {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.secrets[id]
	if s == nil {
		s = c.cache.Secret(id)
		c.secrets[id] = s
	}
	return s
}

func (c *goClient) appliedHash() string {
	_, hash := c.cache.Position()
	return hash
}

func (c *goClient) counts() wire.Counts { return c.cache.Counts() }

// die implements client. What is on its way ends unheard.
func (c *goClient) die() {}
