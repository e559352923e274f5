// Program canary is a Lambda function that changes a secret of its own on a schedule and waits until it is served the new
// version, as a function of a team would be: it shows that a change of the domain reaches a cache. It is a client like any
// other, built on package secretcache, and knows nothing of the broadcaster. Nobody logs in with its secret.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

func main() {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	handler, err := start(context.Background(), logger, os.Stdout)
	if err != nil {
		logger.Error("starting", "error", err)
		os.Exit(1)
	}
	lambda.Start(handler)
}

func start(ctx context.Context, logger *slog.Logger, metrics io.Writer) (lambda.Handler, error) {
	on, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	return newHandler(on, os.Getenv, logger, metrics)
}

// secretVariable names the secret that the canary changes; what else it is told is what every client is told.
const secretVariable = "CANARY_SECRET"

// newHandler returns what answers the schedule's invocations. The error says which variable is wrong.
func newHandler(on aws.Config, getenv func(string) string, logger *slog.Logger, metrics io.Writer) (lambda.Handler, error) {
	cfg, err := secretcacheaws.ConfigFrom(on, getenv)
	name := getenv(secretVariable)
	switch {
	case err != nil:
		return nil, err
	case cfg.Mode != secretcache.On:
		return nil, errors.New("the change log is not followed: set SECRET_BROADCAST_TABLE, and SECRET_BROADCAST_MODE to on")
	case name == "":
		return nil, fmt.Errorf("%s is not set: set it to the name of the secret that the canary may change", secretVariable)
	}
	cfg.TTL = time.Hour // longer than a run: what ends it is the log
	cfg.Logger = logger
	cache, err := secretcache.New(cfg)
	if err != nil {
		return nil, err
	}
	c := &canary{
		env: cfg.Env, domain: cfg.Domain, name: name, vault: secretsmanager.NewFromConfig(on),
		cache: cache, secret: cache.Secret(name), logger: logger, metrics: metrics,
	}
	return lambda.NewHandler(c.handle), nil // not wrapped: it takes no pushes, which would reach another environment than the one that waits
}
