package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/invalidation/eventbridge"
)

// A rotation is what the last step of a rotation function needs.
type rotation struct {
	secrets *secretsmanager.Client
	hints   *eventbridge.Hinter
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
