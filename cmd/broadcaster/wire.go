package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	awssecretsmanager "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/connection"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
	"github.com/bank-platform/secret-broadcaster/invalidation/secretsmanager"
	"github.com/bank-platform/secret-broadcaster/invalidation/sqs"
	"github.com/bank-platform/secret-broadcaster/invalidation/sts"
)

// loadAWS reads what AWS's SDK takes from the environment: credentials, endpoints. Nothing else in this program does.
func loadAWS(ctx context.Context, cfg config) (aws.Config, error) {
	// Enough idle connections for every push of a fan-out: the SDK's own 10 would close and reopen the rest each time.
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, cfg.maxPushes)
		t.MaxIdleConns = max(t.MaxIdleConns, 2*cfg.maxPushes)
	})
	on, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(cfg.region), awsconfig.WithHTTPClient(client))
	if err != nil {
		return aws.Config{}, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	on.HTTPClient = connection.New(on.HTTPClient)
	return on, nil
}

// newHandler puts the broadcaster's parts together.
func newHandler(cfg config, on aws.Config, logger *slog.Logger, metrics io.Writer) *handler {
	quick, patient := on.Copy(), on.Copy()
	quick.HTTPClient, patient.HTTPClient = limited{on.HTTPClient, callTimeout}, limited{on.HTTPClient, listTimeout}
	tables := awsdynamodb.NewFromConfig(quick)
	store := dynamodb.New(tables, cfg.changesTable, cfg.operationsTable)
	functions, reports := awslambda.NewFromConfig(patient), dynamodb.NewReports(tables, cfg.reportsTable)
	// A push has the broadcaster's own retries, which know what an ack is.
	invoker := awslambda.NewFromConfig(on, func(o *awslambda.Options) { o.Retryer = aws.NopRetryer{} })
	commands := ledger{store, store, logger}
	vault := awssecretsmanager.NewFromConfig(quick)
	parts := invalidation.Config{
		Region: cfg.region, Env: cfg.env, Domain: cfg.domain,
		Secrets: secretsmanager.New(vault), Lister: secretsmanager.NewLister(awssecretsmanager.NewFromConfig(patient)),
		Log: store, Fanouts: store, Sweeps: store, Control: commands, Pusher: lambda.New(invoker),
		Subscribed: invalidation.NewSubscribed(cfg.env, cfg.domain, commands, cfg.packaged),
		Audience:   invalidation.NewAudience(cfg.env, cfg.domain, lambda.NewFunctions(functions), reports, nil),
		MaxPushes:  cfg.maxPushes, PushTimeout: cfg.pushTimeout,
		Logger: logger,
	}
	if cfg.queueURL != "" {
		parts.Resumer = sqs.New(awssqs.NewFromConfig(quick), cfg.queueURL)
	}
	return &handler{parts: parts, reports: reports, tallies: store, callers: sts.New(awssts.NewFromConfig(quick)), metrics: metrics}
}
