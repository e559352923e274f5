package secretcacheaws

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/bank-platform/secret-broadcaster/invalidation/connection"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// secrets reads values from Secrets Manager.
type secrets struct{ client *secretsmanager.Client }

var _ secretcache.Secrets = (*secrets)(nil)

// newSecrets calls the given endpoint, or the one the SDK finds if it is empty.
func newSecrets(cfg aws.Config, endpoint string) *secrets {
	return &secrets{secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) {
		o.HTTPClient = connection.New(cfg.HTTPClient)
		o.ClientLogMode = 0 // a log for debugging would quote answers, which hold values
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
			// It is called as it is. The SDK refuses it where another of AWS's own endpoints is asked for as well.
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateDisabled
			o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateDisabled
		}
	})}
}

// Get implements secretcache.Secrets.
func (s *secrets) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	in := &secretsmanager.GetSecretValueInput{SecretId: &id}
	if versionID != "" {
		in.VersionId = &versionID
	}
	return s.read(ctx, in)
}

// Pending implements secretcache.Secrets.
func (s *secrets) Pending(ctx context.Context, id string) (secretcache.Fetched, error) {
	return s.read(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id, VersionStage: aws.String("AWSPENDING")})
}

// read calls GetSecretValue (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html).
func (s *secrets) read(ctx context.Context, in *secretsmanager.GetSecretValueInput) (secretcache.Fetched, error) {
	out, err := s.client.GetSecretValue(ctx, in)
	if err != nil {
		return secretcache.Fetched{}, readError(ctx, err)
	}
	fetched := secretcache.Fetched{
		Name: aws.ToString(out.Name), ARN: aws.ToString(out.ARN), VersionID: aws.ToString(out.VersionId),
		Labels: out.VersionStages, Created: aws.ToTime(out.CreatedDate), Text: aws.ToString(out.SecretString),
	}
	if out.SecretString == nil {
		fetched.Text, fetched.Binary = string(out.SecretBinary), true
	}
	return fetched, nil
}

// errUnreadable stands for an error that might quote the answer, which might hold a value.
var errUnreadable = errors.New("the answer of Secrets Manager cannot be read: check the endpoint and what is in front of it")

// readError classes an error of GetSecretValue. Only its text tells that a secret is deleted
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_delete-secret.html).
func readError(ctx context.Context, err error) error {
	var (
		notFound   *types.ResourceNotFoundException
		invalid    *types.InvalidRequestException
		unreadable *smithy.DeserializationError
	)
	switch {
	case errors.As(err, &notFound):
		return fmt.Errorf("%w: %w", secretcache.ErrNotFound, err)
	case errors.As(err, &invalid) && isDeletion(invalid.ErrorMessage()):
		return fmt.Errorf("%w: %w", secretcache.ErrDeleted, err)
	case errors.As(err, &unreadable) && ctx.Err() != nil:
		return fmt.Errorf("%w: %w", errUnreadable, ctx.Err())
	case errors.As(err, &unreadable):
		return errUnreadable
	default:
		return err
	}
}

func isDeletion(message string) bool {
	return strings.Contains(message, "marked for deletion") || strings.Contains(message, "scheduled for deletion")
}
