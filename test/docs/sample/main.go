// Command sample is the function in README.md and docs/go.md: what a team writes. Its test is what a team writes too.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

func main() {
	cfg, err := secretcacheaws.Config(context.Background()) // from SECRET_BROADCAST_TABLE, _ENV, _DOMAIN …
	if err != nil {
		log.Fatal(err)
	}
	cache, err := secretcache.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	lambda.Start(newHandler(cache, &database{}))
}

// An Order is the function's event.
type Order struct {
	ID string `json:"id"`
}

func newHandler(cache *secretcache.Cache, db *database) lambda.Handler {
	password := cache.Secret("/bank/prod/payments/neon/password")
	password.OnChange(func(ctx context.Context, v secretcache.Value) error {
		return db.reconnect(ctx, v.Text()) // an error is in the ack, which pages somebody
	})
	handler := func(ctx context.Context, order Order) error {
		value, err := password.Get(ctx) // at every use: a value kept elsewhere is never invalidated
		if err != nil {
			return err
		}
		return db.pay(ctx, order, value.Text())
	}
	return cache.Wrap(lambda.NewHandler(handler))
}

// A database stands for whatever the function logs in to.
type database struct{ password string }

func (d *database) reconnect(_ context.Context, password string) error {
	d.password = password
	return nil
}

func (d *database) pay(ctx context.Context, _ Order, password string) error {
	if d.password == "" {
		return d.reconnect(ctx, password)
	}
	return nil
}
