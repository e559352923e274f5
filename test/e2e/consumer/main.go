// Command consumer is a domain team's function in Go: it uses a secret at every invocation, and answers as whom.
package main

import (
	"context"
	"errors"
	"log"
	"net/url"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

func main() {
	cfg, err := secretcacheaws.Config(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	cache, err := secretcache.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	lambda.Start(cache.Wrap(lambda.NewHandler(pay(cache))))
}

// An order names the secret to pay it with, which holds a connection string.
type order struct {
	Secret string `json:"secret"`
}

// The role of a connection string tells the versions of a secret apart, and is no secret.
type paid struct {
	As string `json:"as"`
}

var errNoURL = errors.New("the secret is no URL") // what url.Parse says has the value in it

func pay(cache *secretcache.Cache) func(context.Context, order) (paid, error) {
	return func(ctx context.Context, o order) (paid, error) {
		value, err := cache.Secret(o.Secret).Get(ctx)
		if err != nil {
			return paid{}, err
		}
		connection, err := url.Parse(value.Text())
		if err != nil {
			return paid{}, errNoURL
		}
		return paid{connection.User.Username()}, nil
	}
}
