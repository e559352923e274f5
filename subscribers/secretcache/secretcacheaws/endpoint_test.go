package secretcacheaws_test

import (
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

// asked is a transport that answers every request with nothing and tells which URL was asked last.
type asked struct{ url string }

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	a.url = r.URL.String()
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"X-Amz-Crc32": {"2745614147"}}, // the SDK wants the checksum
		Body: io.NopCloser(strings.NewReader("{}")), Request: r,
	}, nil
}

// TestEndpointsAreTheSDKsOwn compares with what the SDK's clients do under the same configuration.
func TestEndpointsAreTheSDKsOwn(t *testing.T) {
	shared := filepath.Join(t.TempDir(), "config")
	services := "[default]\nservices = local\nendpoint_url = http://shared.test\n[services local]\ndynamodb =\n  endpoint_url = http://shared-dynamodb.test\n"
	if err := os.WriteFile(shared, []byte(services), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]map[string]string{
		"London":                   {"AWS_REGION": "eu-west-2"},
		"Virginia":                 {"AWS_REGION": "us-east-1"},
		"China":                    {"AWS_REGION": "cn-north-1"},
		"GovCloud":                 {"AWS_REGION": "us-gov-west-1"},
		"European sovereign cloud": {"AWS_REGION": "eusc-de-east-1"},
		"FIPS":                     {"AWS_REGION": "us-east-1", "AWS_USE_FIPS_ENDPOINT": "true"},
		"FIPS in GovCloud":         {"AWS_REGION": "us-gov-west-1", "AWS_USE_FIPS_ENDPOINT": "true"},
		"dual stack":               {"AWS_REGION": "eu-west-2", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
		"dual stack in China":      {"AWS_REGION": "cn-north-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
		"dual stack and FIPS":      {"AWS_REGION": "us-east-1", "AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "true"},
		"for all services":         {"AWS_REGION": "eu-west-2", "AWS_ENDPOINT_URL": "http://all.test"},
		"for DynamoDB":             {"AWS_REGION": "eu-west-2", "AWS_ENDPOINT_URL_DYNAMODB": "http://dynamodb.test:8000/"},
		"for both": {
			"AWS_REGION": "eu-west-2", "AWS_ENDPOINT_URL": "http://all.test", "AWS_ENDPOINT_URL_DYNAMODB": "http://dynamodb.test",
			"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://secretsmanager.test:2773",
		},
		"for another service":     {"AWS_REGION": "eu-west-2", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://secretsmanager.test"},
		"ignored":                 {"AWS_REGION": "eu-west-2", "AWS_ENDPOINT_URL": "http://all.test", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
		"shared file":             {"AWS_REGION": "eu-west-2", "AWS_CONFIG_FILE": shared},
		"shared file and for all": {"AWS_REGION": "eu-west-2", "AWS_CONFIG_FILE": shared, "AWS_ENDPOINT_URL": "http://all.test"},
		"shared file, ignored":    {"AWS_REGION": "eu-west-2", "AWS_CONFIG_FILE": shared, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
	} {
		t.Run(name, func(t *testing.T) {
			all := variables()
			all["AWS_CONFIG_FILE"] = filepath.Join(t.TempDir(), "none")
			maps.Copy(all, env)
			setEnvironment(t, all)
			cfg, err := awsconfig.LoadDefaultConfig(t.Context(),
				awsconfig.WithCredentialsProvider(credentials.StaticCredentialsProvider{Value: credentialsOfTests()}))
			if err != nil {
				t.Fatal(err)
			}
			seen := &asked{}
			cfg.HTTPClient = &http.Client{Transport: seen}
			ours, err := secretcacheaws.ConfigFrom(cfg, os.Getenv)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dynamodb.NewFromConfig(cfg).Query(t.Context(), &dynamodb.QueryInput{TableName: aws.String("t")}); err != nil {
				t.Fatal(err)
			}
			want := seen.url
			if _, err := ours.Log.Tail(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if seen.url != want {
				t.Errorf("the log was asked at %s, the SDK asks at %s", seen.url, want)
			}
			in := &secretsmanager.GetSecretValueInput{SecretId: aws.String("a")}
			if _, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			want = seen.url
			if _, err := ours.Secrets.Get(t.Context(), "a", ""); err != nil {
				t.Fatal(err)
			}
			if seen.url != want {
				t.Errorf("the secret was asked for at %s, the SDK asks at %s", seen.url, want)
			}
		})
	}
}

func TestVariablesReachAConfigurationMadeByHand(t *testing.T) {
	env := variables()
	env["AWS_ENDPOINT_URL_DYNAMODB"] = "http://dynamodb.test"
	env["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = "http://secretsmanager.test"
	seen := &asked{}
	cfg := awsConfig("http://base.test")
	cfg.HTTPClient = &http.Client{Transport: seen}
	ours, err := secretcacheaws.ConfigFrom(cfg, getenv(env))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Log.Tail(t.Context(), 1); err != nil || seen.url != "http://dynamodb.test/" {
		t.Errorf("the log was asked at %s: %v", seen.url, err)
	}
	if _, err := ours.Secrets.Get(t.Context(), "a", ""); err != nil || seen.url != "http://secretsmanager.test/" {
		t.Errorf("the secret was asked for at %s: %v", seen.url, err)
	}
}

// TestAConfiguredEndpointIsCalledAsItIs: the SDK refuses it beside FIPS and dual stack, and every read would fail.
func TestAConfiguredEndpointIsCalledAsItIs(t *testing.T) {
	for _, variable := range []string{"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"} {
		t.Run(variable, func(t *testing.T) {
			env := variables()
			env["AWS_CONFIG_FILE"] = filepath.Join(t.TempDir(), "none")
			env["AWS_REGION"], env[variable] = "eu-west-2", "true"
			env["AWS_ENDPOINT_URL_SECRETS_MANAGER"], env["AWS_ENDPOINT_URL_DYNAMODB"] = "http://secretsmanager.test", "http://dynamodb.test"
			setEnvironment(t, env)
			seen := &asked{}
			cfg, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithHTTPClient(&http.Client{Transport: seen}),
				awsconfig.WithCredentialsProvider(credentials.StaticCredentialsProvider{Value: credentialsOfTests()}))
			if err != nil {
				t.Fatal(err)
			}
			ours, err := secretcacheaws.ConfigFrom(cfg, os.Getenv)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ours.Log.Tail(t.Context(), 1); err != nil || seen.url != "http://dynamodb.test/" {
				t.Errorf("the log was asked at %s: %v", seen.url, err)
			}
			if _, err := ours.Secrets.Get(t.Context(), "a", ""); err != nil || seen.url != "http://secretsmanager.test/" {
				t.Errorf("the secret was asked for at %s: %v", seen.url, err)
			}
		})
	}
}
