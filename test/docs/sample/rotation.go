package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	broadcaster "github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/eventbridge"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	broadcasterlambda "github.com/bank-platform/secret-broadcaster/invalidation/lambda"
)

// A rotation is what the last step of a rotation function needs.
type rotation struct {
	secrets *secretsmanager.Client
	hints   *eventbridge.Hinter
	history *history.Reader
}

// finishSecret makes a version current, and says so.
func (r *rotation) finishSecret(ctx context.Context, secretARN, version string) error {
	is, err := r.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &secretARN})
	if err != nil {
		return fmt.Errorf("describing the secret: %w", err)
	}
	move := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &secretARN, VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: &version}
	for id, labels := range is.VersionIdsToStages {
		for _, label := range labels {
			if label == "AWSCURRENT" {
				move.RemoveFromVersionId = &id
			}
		}
	}
	if _, err := r.secrets.UpdateSecretVersionStage(ctx, move); err != nil {
		return fmt.Errorf("making version %s current: %w", version, err)
	}
	name := aws.ToString(is.Name)
	if err := r.hints.Hint(ctx, name); err != nil { // AWS's own event follows: a lost hint costs seconds
		slog.WarnContext(ctx, "no hint was put", "error", err)
	}
	return nil
}

// newHistory reads what the broadcaster of the secrets' domain has written.
func newHistory(on aws.Config) (*history.Reader, error) {
	tables := dynamodb.NewFromConfig(on)
	store := broadcaster.New(tables, "prod-payments-changes", "prod-payments-operations")
	return history.New(history.Config{
		Env: "prod", Domain: "payments",
		Store: store, Manifests: store,
		Reports:  broadcaster.NewReports(tables, "prod-payments-reports"),
		Timeouts: broadcasterlambda.NewFunctions(lambda.NewFromConfig(on)),
	})
}

// mayRevoke returns an error as long as a service may still log in with what the version has replaced.
func (r *rotation) mayRevoke(ctx context.Context, name, version string) error {
	is, err := r.history.Wait(ctx, history.Awaited{Name: name, Version: version, Within: 2 * time.Minute})
	if err != nil {
		return fmt.Errorf("keeping the old credential, since %s: %w", missing(is), err)
	}
	return nil
}

// missing says who has not applied the change, and why.
func missing(is history.Waited) string {
	var all []string
	if is.Problem != "" {
		all = append(all, is.Problem)
	}
	for _, s := range is.Services {
		if s.Missing != "" {
			all = append(all, s.Service+": "+s.Missing)
		}
	}
	return strings.Join(all, "; ")
}
