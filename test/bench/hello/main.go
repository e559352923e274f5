// Command hello is the baseline of the artifact's start: the least function that makes the same clients of AWS and uses
// them for the same operations.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

type clients struct {
	tables    *dynamodb.Client
	functions *awslambda.Client
	secrets   *secretsmanager.Client
	queue     *sqs.Client
	callers   *sts.Client
}

func main() {
	cfg, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	c := clients{dynamodb.NewFromConfig(cfg), awslambda.NewFromConfig(cfg), secretsmanager.NewFromConfig(cfg), sqs.NewFromConfig(cfg), sts.NewFromConfig(cfg)}
	lambda.Start(c.handle)
}

// handle calls each operation that the broadcaster calls, so that the linker keeps as much of AWS's SDK.
func (c clients) handle(ctx context.Context, name string) error {
	pages := dynamodb.NewQueryPaginator(c.tables, &dynamodb.QueryInput{TableName: &name})
	for _, call := range []func() error{
		func() error { _, err := pages.NextPage(ctx); return err },
		func() error { _, err := c.tables.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{}); return err },
		func() error { _, err := c.tables.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{}); return err },
		func() error {
			_, err := c.tables.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{})
			return err
		},
		func() error { _, err := c.tables.PutItem(ctx, &dynamodb.PutItemInput{}); return err },
		func() error { _, err := c.tables.DeleteItem(ctx, &dynamodb.DeleteItemInput{}); return err },
		func() error {
			_, err := c.functions.Invoke(ctx, &awslambda.InvokeInput{FunctionName: &name})
			return err
		},
		func() error {
			_, err := c.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &name})
			return err
		},
		func() error {
			_, err := c.queue.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &name, MessageBody: &name})
			return err
		},
		func() error {
			_, err := c.callers.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			return err
		},
	} {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}
