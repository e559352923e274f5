// Command extension is a Lambda extension: functions in any language read their secrets from it instead of from Secrets
// Manager, and get none that the change log says has changed. docs/extension.md says how to use it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/invalidation/connection"
	"github.com/bank-platform/secret-broadcaster/subscribers/extension/endpoint"
	"github.com/bank-platform/secret-broadcaster/subscribers/extension/lifecycle"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

// gcPercent has garbage collected early: the function pays for memory, and the extension has little to do.
const gcPercent = 25

// client is what reports call this client.
const client = "extension/1.0.0"

func main() {
	if err := run(context.Background()); err != nil {
		// Whatever the log level: nothing else says why the function does not start.
		slog.New(slog.NewJSONHandler(os.Stdout, nil)).Error("the extension ends, and the environment with it", "error", err)
		os.Exit(1)
	}
}

// run serves until the environment ends. It listens before it registers, so that it answers before the function's runtime
// starts.
func run(ctx context.Context) error {
	s, err := readSettings(os.Getenv)
	if err != nil {
		return fmt.Errorf("configuring the extension: %w", err)
	}
	debug.SetGCPercent(gcPercent)
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: s.level})))
	for _, warning := range s.warnings {
		slog.Warn(warning)
	}
	if err := takeEnvironment(s.sdk); err != nil {
		return fmt.Errorf("configuring the extension: %w", err)
	}
	cache, handler, err := newEndpoint(ctx, s)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", s.port))
	if err != nil {
		return fmt.Errorf("listening: %w: if AWS's Parameters and Secrets extension is beside this one, set %s or %s to another port",
			err, ownPortVariable, portVariable)
	}
	lambda, err := lifecycle.Register(ctx, s.api, filepath.Base(os.Args[0]), s.events...)
	if err != nil {
		return err
	}
	cache.InAccount(lambda.Account)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	ctx, stop := context.WithCancelCause(ctx)
	go func() { stop(server.Serve(listener)) }()
	return live(ctx, lambda, cache, handler, server)
}

// newEndpoint makes the endpoint and the cache that it answers from. Nobody is called yet.
func newEndpoint(ctx context.Context, s settings) (*secretcache.Cache, *endpoint.Endpoint, error) {
	awsCfg, err := loadConfig(ctx)
	if err != nil {
		return nil, nil, err
	}
	identity, err := newIdentity(ctx, awsCfg, s.tokens)
	if err != nil {
		return nil, nil, err
	}
	awsCfg.Credentials = identity
	cacheCfg, err := secretcacheaws.ConfigFrom(awsCfg, func(name string) string {
		if name == maxAgeVariable {
			return "" // it is the function's own Powertools', which does not cache behind this extension
		}
		return os.Getenv(name)
	})
	if err != nil {
		return nil, nil, err
	}
	cacheCfg.TTL, cacheCfg.Client, cacheCfg.InvokedARN = s.ttl, client, arnOf
	cache, err := secretcache.New(cacheCfg)
	if err != nil {
		return nil, nil, fmt.Errorf("making the cache: %w", err)
	}
	e, err := endpoint.New(endpoint.Config{
		Cache: cache, TTL: s.ttl, MaxSecrets: s.maxSecrets, Identity: identity, Region: awsCfg.Region,
		URL: urlOf, Client: connection.New(awsCfg.HTTPClient),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("making the endpoint: %w", err)
	}
	return cache, e, nil
}

func loadConfig(ctx context.Context) (aws.Config, error) {
	// On Lambda there are no shared files, and an endpoint in one would not be this process's.
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithSharedConfigFiles([]string{}), awsconfig.WithSharedCredentialsFiles([]string{}))
	if err != nil {
		return aws.Config{}, fmt.Errorf("loading the AWS configuration: %w: check AWS_CA_BUNDLE and AWS_CONTAINER_CREDENTIALS_FULL_URI", err)
	}
	return cfg, nil
}

// newIdentity returns the identity with the credentials of a configuration. Those in variables are never replaced.
func newIdentity(ctx context.Context, cfg aws.Config, tokens []string) (*endpoint.Identity, error) {
	cache, _ := cfg.Credentials.(*aws.CredentialsCache) // the SDK caches all
	if cache.IsCredentialsProvider(credentials.StaticCredentialsProvider{}) {
		return endpoint.NewIdentity(cache, nil, tokens...), nil
	}
	again, err := loadConfig(ctx)
	if err != nil {
		return nil, err
	}
	spare, _ := again.Credentials.(*aws.CredentialsCache)
	return endpoint.NewIdentity(cache, spare, tokens...), nil
}

// urlOf returns where Secrets Manager is called in a Region.
func urlOf(region string) (string, error) {
	if own := os.Getenv(ownEndpointVariable + "_SECRETS_MANAGER"); own != "" && region == os.Getenv("AWS_REGION") {
		return own, nil
	}
	found, err := secretsmanager.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), secretsmanager.EndpointParameters{
		Region: &region, UseFIPS: aws.Bool(os.Getenv(fipsVariable) != ""), UseDualStack: aws.Bool(os.Getenv(dualStackVariable) != ""),
	})
	if err != nil {
		return "", err
	}
	return found.URI.String() + "/", nil
}

// live handles one event after the other until the environment ends. An invocation has the log checked beside the function,
// so that its first read finds that done, and what is on its way then has a moment before the environment may be frozen.
func live(ctx context.Context, lambda *lifecycle.Client, cache *secretcache.Cache, e *endpoint.Endpoint, server *http.Server) error {
	for {
		event, err := lambda.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("serving: %w", context.Cause(ctx))
			}
			return err
		}
		switch event.Kind {
		case lifecycle.Invoke:
			invocation := context.WithValue(ctx, arnKey{}, event.FunctionARN)
			leave := e.Begin(invocation)
			cache.Linger(invocation)
			leave()
		case lifecycle.Shutdown:
			slog.Debug("the environment ends", "reason", event.Reason)
			end(ctx, server, event.Deadline())
			return nil
		}
	}
}

// end has the requests under way be answered before the environment ends. It does not end with ctx, as which a server that
// is shut down ends at once.
func end(ctx context.Context, server *http.Server, deadline time.Time) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		slog.Warn("the environment ends before a request is answered", "error", err)
	}
}

// arnKey is the context's key of the ARN under which the function was invoked.
type arnKey struct{}

func arnOf(ctx context.Context) string {
	arn, _ := ctx.Value(arnKey{}).(string)
	return arn
}
