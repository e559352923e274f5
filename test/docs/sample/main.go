// Command sample is the function in README.md and docs/go.md: what a team writes. Its test is what a team writes too.
package main

import (
	"context"
	"database/sql"
	"errors"
	"log"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachepgx"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachesql"
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

// newSettlement is a handler that logs in for each order.
func newSettlement(cache *secretcache.Cache, db *database) lambda.Handler {
	password := cache.Secret("/bank/prod/payments/neon/password")
	return cache.Wrap(lambda.NewHandler(func(ctx context.Context, _ Order) error {
		return password.Try(ctx, func(ctx context.Context, v secretcache.Value) error {
			err := db.login(ctx, v.Text())
			if errors.Is(err, errWrongPassword) { // of all errors only this one, never a time-out
				return secretcache.Rejected(err)
			}
			return err
		}, secretcache.Pending())
	}))
}

// newPool is a database/sql pool on a secret that holds a connection string.
func newPool(cache *secretcache.Cache) *sql.DB {
	secret := cache.Secret("/bank/prod/payments/neon/connection-string")
	db := secretcachesql.Open(secret, 2, secretcachesql.DSN(secretcachepgx.Connector), secretcache.Pending())
	return db
}

// A database stands for whatever the function logs in to.
type database struct {
	password string // that a connection was opened with
	accepted string
}

var errWrongPassword = errors.New("wrong password")

func (d *database) login(_ context.Context, password string) error {
	if password != d.accepted {
		return errWrongPassword
	}
	return nil
}

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
