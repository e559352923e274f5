package secrets_test

import (
	"net/http/httptest"
	"testing"

	"github.com/bank-platform/secret-broadcaster/internal/awstest"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets/secretstest"
)

func TestContract(t *testing.T) {
	t.Run("stand-in over the in-process transport", func(t *testing.T) {
		secretstest.Run(t, func(*testing.T) secretstest.Endpoint {
			return secretstest.Endpoint{URL: "http://secrets", Transport: secrets.New(secrets.Config{}).RoundTripper()}
		})
	})
	t.Run("stand-in over loopback", func(t *testing.T) {
		secretstest.Run(t, func(t *testing.T) secretstest.Endpoint {
			server := httptest.NewServer(secrets.New(secrets.Config{}))
			t.Cleanup(server.Close)
			return secretstest.Endpoint{URL: server.URL}
		})
	})
	t.Run("third party's emulator", func(t *testing.T) {
		url := awstest.URL(t)
		secretstest.Run(t, func(*testing.T) secretstest.Endpoint { return secretstest.Endpoint{URL: url} },
			secretstest.IgnoresTokens, secretstest.CreatesOnce, secretstest.OverwritesVersions, secretstest.IgnoresStageOfVersion,
			secretstest.DropsDeprecated, secretstest.AcceptsAnyName, secretstest.AcceptsAnyValue, secretstest.CreatesEmptyVersion,
			secretstest.DoublesCustomLabels, secretstest.RoundsDates, secretstest.MatchesARNPrefixes, secretstest.FiltersBySubstring,
			secretstest.ReportsDeletedAsTaken, secretstest.NeedsSecretToForce, secretstest.AcceptsCurrentRemoval)
	})
}
