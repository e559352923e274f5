package secretsmanager_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/secretsmanager"
)

const (
	name = "/bank/prod/payments/neon/connection-string"
	one  = "00000000-0000-4000-8000-000000000001"
	two  = "00000000-0000-4000-8000-000000000002"
)

// recorded keeps which operations were called.
type recorded struct {
	http.RoundTripper
	operations []string
}

func (r *recorded) RoundTrip(request *http.Request) (*http.Response, error) {
	r.operations = append(r.operations, request.Header.Get("X-Amz-Target"))
	return r.RoundTripper.RoundTrip(request)
}

func describerOn(transport http.RoundTripper) *secretsmanager.Describer {
	return secretsmanager.New(clientOn(transport))
}

func clientOn(transport http.RoundTripper) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: "eu-west-2", RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	})
}

// TestDescribe: what the local Secrets Manager holds after some calls, as the broadcaster sees it.
func TestDescribe(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 59, 59, 713_000_000, time.UTC)
	for title, c := range map[string]struct {
		happens func(m *secrets.Manager) error
		want    invalidation.Description
	}{
		"a new secret": {
			func(*secrets.Manager) error { return nil },
			invalidation.Description{Current: one, LastChanged: now},
		},
		"a rotated one": {
			func(m *secrets.Manager) error { return put(m, two) },
			invalidation.Description{Current: two, Previous: one, LastChanged: now.Add(time.Second)},
		},
		"one in the middle of its rotation": {
			func(m *secrets.Manager) error { return put(m, two, secrets.Pending) },
			invalidation.Description{Current: one, LastChanged: now.Add(time.Second)},
		},
		"a version with several labels": {
			func(m *secrets.Manager) error { return put(m, two, secrets.Current, secrets.Pending, "canary") },
			invalidation.Description{Current: two, Previous: one, LastChanged: now.Add(time.Second)},
		},
		"one that is scheduled for deletion": {
			func(m *secrets.Manager) error {
				_, err := m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name})
				return err
			},
			invalidation.Description{Current: one, LastChanged: now.Add(time.Second), Deleted: true},
		},
	} {
		t.Run(title, func(t *testing.T) {
			clock := now
			m := secrets.New(secrets.Config{Now: func() time.Time { return clock }, Suffix: func() string { return "a1B2c3" }})
			_, err := m.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: "placeholder", ClientRequestToken: one})
			if err != nil {
				t.Fatal(err)
			}
			clock = clock.Add(time.Second)
			if err := c.happens(m); err != nil {
				t.Fatal(err)
			}
			calls := &recorded{RoundTripper: m.RoundTripper()}
			got, err := describerOn(calls).Describe(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			c.want.Name = name
			c.want.ARN = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:" + name + "-a1B2c3"
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff([]string{"secretsmanager.DescribeSecret"}, calls.operations); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func put(m *secrets.Manager, version string, labels ...string) error {
	_, err := m.PutSecretValue(secrets.PutSecretValueInput{
		SecretID: name, SecretString: "placeholder", ClientRequestToken: version, VersionStages: labels,
	})
	return err
}

func TestASecretWithoutAVersion(t *testing.T) {
	m := secrets.New(secrets.Config{})
	if _, err := m.CreateSecret(secrets.CreateSecretInput{Name: name}); err != nil {
		t.Fatal(err)
	}
	got, err := describerOn(m.RoundTripper()).Describe(t.Context(), name)
	if err != nil || got.Current != "" || got.Previous != "" || got.Deleted || got.LastChanged.IsZero() {
		t.Errorf("got %+v, %v; want a date and no version", got, err)
	}
}

func TestNotFound(t *testing.T) {
	_, err := describerOn(secrets.New(secrets.Config{}).RoundTripper()).Describe(t.Context(), name)
	if !errors.Is(err, invalidation.ErrNotFound) {
		t.Errorf("got %v, want %v", err, invalidation.ErrNotFound)
	}
}

// answering is a Secrets Manager that says one thing only.
type answering struct{ body string }

func (a answering) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{
		Status: "400 Bad Request", StatusCode: http.StatusBadRequest, Request: request,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(a.body)),
	}, nil
}

// TestOtherErrorsAreNotNotFound: or a throttled minute would delete secrets.
func TestOtherErrorsAreNotNotFound(t *testing.T) {
	for _, code := range []string{"ThrottlingException", "AccessDeniedException", "InternalServiceError", "ExpiredTokenException", "InvalidRequestException"} {
		t.Run(code, func(t *testing.T) {
			_, err := describerOn(answering{`{"__type":"` + code + `","Message":"as asked"}`}).Describe(t.Context(), name)
			var api smithy.APIError
			if !errors.As(err, &api) || api.ErrorCode() != code || errors.Is(err, invalidation.ErrNotFound) {
				t.Errorf("got %v, want %s and nothing else", err, code)
			}
		})
	}
	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := describerOn(secrets.New(secrets.Config{}).RoundTripper()).Describe(ctx, name)
		if !errors.Is(err, context.Canceled) || errors.Is(err, invalidation.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}
