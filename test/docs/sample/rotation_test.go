package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awseventbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation/eventbridge"
)

// TestARotationEndsWithAHintAndNeedsNone: the version is current when the hint is put, and stays so if it cannot be.
func TestARotationEndsWithAHintAndNeedsNone(t *testing.T) {
	const name = "/bank/prod/payments/neon/connection-string"
	for _, status := range []int{http.StatusOK, http.StatusBadRequest} {
		vault := secrets.New(secrets.Config{})
		created, err := vault.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: "first"})
		if err != nil {
			t.Fatal(err)
		}
		next, err := vault.PutSecretValue(secrets.PutSecretValueInput{SecretID: name, SecretString: "second", VersionStages: []string{"AWSPENDING"}})
		if err != nil {
			t.Fatal(err)
		}
		current := func() string {
			is, err := vault.GetSecretValue(secrets.GetSecretValueInput{SecretID: name})
			if err != nil {
				t.Fatal(err)
			}
			return is.VersionID
		}
		var hints []string
		bus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			hints = append(hints, current()+" "+string(body))
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"FailedEntryCount":0,"Entries":[{"EventId":"e"}]}`)
		}))
		on := aws.Config{Region: "eu-west-2", Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""), RetryMaxAttempts: 1}
		r := rotation{
			secrets: secretsmanager.NewFromConfig(on, func(o *secretsmanager.Options) { o.HTTPClient = &http.Client{Transport: vault.RoundTripper()} }),
			hints:   eventbridge.New(awseventbridge.NewFromConfig(on, func(o *awseventbridge.Options) { o.BaseEndpoint = &bus.URL }), "default"),
		}
		err = r.finishSecret(t.Context(), created.ARN, next.VersionID)
		bus.Close()
		if err != nil || current() != next.VersionID {
			t.Errorf("with a bus that answers %d: %v, current is %s", status, err, current())
		}
		if len(hints) != 1 || !strings.HasPrefix(hints[0], next.VersionID+" ") || !strings.Contains(hints[0], name) {
			t.Errorf("hints, each after the version that was current then: %v", hints)
		}
	}
}
