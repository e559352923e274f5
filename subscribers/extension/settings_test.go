package main

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bank-platform/secret-broadcaster/subscribers/extension/lifecycle"
)

// onLambda are the variables that Lambda sets, and those of a test.
func onLambda(entries map[string]string) func(string) string {
	return func(name string) string {
		if name == "AWS_LAMBDA_RUNTIME_API" && entries[name] == "" {
			return "127.0.0.1:9001"
		}
		return entries[name]
	}
}

func TestSettings(t *testing.T) {
	usual := settings{
		api: "127.0.0.1:9001", port: "2773", ttl: 5 * time.Minute, maxSecrets: 1000, level: slog.LevelInfo,
		events: []lifecycle.Kind{lifecycle.Invoke, lifecycle.Shutdown},
	}
	throughProxyOf := func(variable string) func(*settings) {
		return func(s *settings) {
			s.warnings = []string{"some clients would send the function's requests, and its token, through the proxy of " + variable + ": set NO_PROXY to 127.0.0.1,localhost"}
		}
	}
	const proxy = "http://proxy.example.com:3128"
	for name, c := range map[string]struct {
		env  map[string]string
		want func(*settings)
	}{
		"defaults": {nil, func(*settings) {}},
		"the port of AWS's extension": {
			map[string]string{"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "4000"}, func(s *settings) { s.port = "4000" },
		},
		"the port beside AWS's extension": {
			map[string]string{"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "4000", "SECRET_BROADCAST_EXTENSION_PORT": "5000"}, func(s *settings) { s.port = "5000" },
		},
		"the time to live":     {map[string]string{"SECRETS_MANAGER_TTL": "60"}, func(s *settings) { s.ttl = time.Minute }},
		"nothing lives":        {map[string]string{"SECRETS_MANAGER_TTL": "0"}, func(s *settings) { s.ttl = 1 }},
		"how many are cached":  {map[string]string{"PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE": "7"}, func(s *settings) { s.maxSecrets = 7 }},
		"nothing is cached":    {map[string]string{"PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED": "FALSE"}, func(s *settings) { s.maxSecrets = 0 }},
		"everything is cached": {map[string]string{"PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED": "true"}, func(*settings) {}},
		"debug":                {map[string]string{"PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL": "DEBUG"}, func(s *settings) { s.level = slog.LevelDebug }},
		"info":                 {map[string]string{"PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL": "info"}, func(*settings) {}},
		"warnings":             {map[string]string{"PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL": "warn"}, func(s *settings) { s.level = slog.LevelWarn }},
		"errors":               {map[string]string{"PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL": "error"}, func(s *settings) { s.level = slog.LevelError }},
		"no logs":              {map[string]string{"PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL": "none"}, func(s *settings) { s.level = slog.LevelError + 1 }},
		"Managed Instances": {
			map[string]string{"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"},
			func(s *settings) { s.events = []lifecycle.Kind{lifecycle.Shutdown} },
		},
		"a proxy":                               {map[string]string{"HTTP_PROXY": proxy}, throughProxyOf("HTTP_PROXY")},
		"a proxy, written small":                {map[string]string{"http_proxy": proxy}, throughProxyOf("http_proxy")},
		"a proxy for everything":                {map[string]string{"ALL_PROXY": proxy}, throughProxyOf("ALL_PROXY")},
		"a proxy for everything, written small": {map[string]string{"all_proxy": proxy}, throughProxyOf("all_proxy")},
		"a proxy for AWS only":                  {map[string]string{"HTTPS_PROXY": proxy, "https_proxy": proxy}, func(*settings) {}},
		"a proxy, but not for the extension": {
			map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "169.254.169.254, 127.0.0.1 ,LOCALHOST"}, func(*settings) {},
		},
		"a proxy, but not for the extension, written small": {map[string]string{"HTTP_PROXY": proxy, "no_proxy": "127.0.0.1,localhost"}, func(*settings) {}},
		"a proxy, but not for the extension's port": {
			map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1:2773,localhost:2773"}, func(*settings) {},
		},
		"a proxy, but for another port": {
			map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1:80,localhost:80"}, throughProxyOf("HTTP_PROXY"),
		},
		"a proxy for nothing":                  {map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "*"}, func(*settings) {}},
		"a proxy for the address":              {map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "localhost"}, throughProxyOf("HTTP_PROXY")},
		"a proxy for the name":                 {map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1"}, throughProxyOf("HTTP_PROXY")},
		"a proxy but for what some understand": {map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.0/8,localhost"}, throughProxyOf("HTTP_PROXY")},
		"a proxy for who reads one spelling": {
			map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "example.com"}, throughProxyOf("HTTP_PROXY"),
		},
		"FIPS":                  {map[string]string{"AWS_USE_FIPS_ENDPOINT": "True"}, func(s *settings) { s.sdk = map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"} }},
		"FIPS, as a number":     {map[string]string{"AWS_USE_FIPS_ENDPOINT": "1"}, func(s *settings) { s.sdk = map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"} }},
		"dual stack":            {map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "TRUE"}, func(s *settings) { s.sdk = map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"} }},
		"neither FIPS nor dual": {map[string]string{"AWS_USE_FIPS_ENDPOINT": "0", "AWS_USE_DUALSTACK_ENDPOINT": "False"}, func(*settings) {}},
		"FIPS that nobody knows of": {
			map[string]string{"AWS_USE_FIPS_ENDPOINT": "yes"},
			func(s *settings) {
				s.warnings = []string{`AWS_USE_FIPS_ENDPOINT is "yes" and taken for false: set it to true or false`}
			},
		},
		"FIPS beside this extension": {
			map[string]string{"AWS_USE_FIPS_ENDPOINT": "true", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:2773"},
			func(s *settings) {
				s.sdk = map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}
				s.warnings = []string{"some AWS SDKs refuse AWS_USE_FIPS_ENDPOINT beside AWS_ENDPOINT_URL_SECRETS_MANAGER: turn it off where the code makes their client of Secrets Manager"}
			},
		},
		"its own endpoints": {
			map[string]string{"SECRET_BROADCAST_ENDPOINT_URL_SECRETS_MANAGER": "https://vpce.test", "SECRET_BROADCAST_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:8000"},
			func(s *settings) {
				s.sdk = map[string]string{"AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://vpce.test", "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:8000"}
			},
		},
		"SnapStart": {
			map[string]string{"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "example-token"},
			func(s *settings) { s.tokens = []string{"example-token"} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := usual
			c.want(&want)
			got, err := readSettings(onLambda(c.env))
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{}), cmpopts.EquateEmpty()); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

// TestWhatIsWrongIsNamed: the variable, what it is, and what to do; all of it at once.
func TestWhatIsWrongIsNamed(t *testing.T) {
	wrong := map[string]string{
		"SECRET_BROADCAST_EXTENSION_PORT": "0", "SECRETS_MANAGER_TTL": "5m", "PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE": "1001",
		"PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED": "no", "PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL": "loud",
	}
	_, err := readSettings(func(name string) string { return wrong[name] })
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`SECRET_BROADCAST_EXTENSION_PORT is "0", which is no port`, `SECRETS_MANAGER_TTL is "5m": set it to a whole number`,
		`PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE is "1001"`, `PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED is "no"`,
		`PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL is "loud"`, "AWS_LAMBDA_RUNTIME_API is not set: this is a Lambda extension",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	for value, want := range map[string]string{
		"http://localhost:2773": "own endpoint", "http://LOCALHOST.:2773": "own endpoint", "http://a.localhost:2773": "own endpoint", "http://127.0.0.1:2773/": "own endpoint",
		"http://0.0.0.0:2773": "own endpoint", "http://127.1.2.3:2773": "own endpoint", "http://[::1]:2773": "own endpoint", "http://[::]:2773": "own endpoint", "http://[::ffff:127.0.0.1]:2773": "own endpoint",
		"localhost:4566": "no URL", "ftp://host": "no URL", "https://": "no URL", "://": "no URL",
		"http://localhost:4566": "", "https://vpce.test:2773": "", "http://192.0.2.1:2773": "",
	} {
		for _, variable := range []string{"SECRET_BROADCAST_ENDPOINT_URL_SECRETS_MANAGER", "SECRET_BROADCAST_ENDPOINT_URL_DYNAMODB"} {
			_, err := readSettings(onLambda(map[string]string{variable: value}))
			if (err == nil) != (want == "") || err != nil && (!strings.HasPrefix(err.Error(), variable+" is ") || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s=%s: got %v, want %s", variable, value, err, want)
			}
		}
	}
}

// TestItsOwnClientsAreNotTheFunctions: or it would ask itself, and end by what another language's SDK takes.
func TestItsOwnClientsAreNotTheFunctions(t *testing.T) {
	kept := map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example-key", "AWS_SESSION_TOKEN": "example-token", "AWS_REGION": "eu-west-2",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9001/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "example-token",
		"AWS_LAMBDA_FUNCTION_NAME": "payments-api", "AWS_ENDPOINT_URL_DYNAMODB": "https://vpce-example.test", "AWS_USE_FIPS_ENDPOINT": "true",
		"HTTPS_PROXY": "http://proxy.example.com:3128",
	}
	functions := map[string]string{
		"AWS_ENDPOINT_URL": "http://127.0.0.1:2773", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:2773",
		"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:2773", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
		"AWS_USE_FIPS_ENDPOINT": "1", "AWS_USE_DUALSTACK_ENDPOINT": "0", "AWS_RETRY_MODE": "legacy", "AWS_MAX_ATTEMPTS": "a", "AWS_DEFAULTS_MODE": "auto",
		"AWS_DISABLE_REQUEST_COMPRESSION": "1", "AWS_S3_USE_ARN_REGION": "1", "AWS_ENABLE_ENDPOINT_DISCOVERY": "1", "AWS_EC2_METADATA_V1_DISABLED": "1",
		"AWS_ACCOUNT_ID_ENDPOINT_MODE": "a", "AWS_PROFILE": "a",
	}
	for name, value := range kept {
		t.Setenv(name, value)
	}
	for name, value := range functions {
		t.Setenv(name, value)
	}
	if err := takeEnvironment(map[string]string{"AWS_ENDPOINT_URL_DYNAMODB": "https://vpce-example.test", "AWS_USE_FIPS_ENDPOINT": "true"}); err != nil {
		t.Fatal(err)
	}
	for name := range functions {
		if got := os.Getenv(name); got != kept[name] {
			t.Errorf("%s is %q, want %q", name, got, kept[name])
		}
	}
	for name, want := range kept {
		if got := os.Getenv(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, err := awsconfig.LoadDefaultConfig(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWhereSecretsManagerIsCalled(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-2")
	for _, c := range []struct {
		region, own, fips, dual, want string
	}{
		{region: "eu-west-2", want: "https://secretsmanager.eu-west-2.amazonaws.com/"},
		{region: "cn-north-1", want: "https://secretsmanager.cn-north-1.amazonaws.com.cn/"},
		{region: "us-east-1", fips: "true", want: "https://secretsmanager-fips.us-east-1.amazonaws.com/"},
		{region: "eu-west-2", dual: "true", want: "https://secretsmanager.eu-west-2.amazonaws.com/"},
		{region: "eu-west-2", own: "https://vpce-example.test", want: "https://vpce-example.test"},
		{region: "us-east-1", own: "https://vpce-example.test", want: "https://secretsmanager.us-east-1.amazonaws.com/"},
	} {
		t.Setenv("SECRET_BROADCAST_ENDPOINT_URL_SECRETS_MANAGER", c.own)
		t.Setenv("AWS_USE_FIPS_ENDPOINT", c.fips)
		t.Setenv("AWS_USE_DUALSTACK_ENDPOINT", c.dual)
		if got, err := urlOf(c.region); got != c.want || err != nil {
			t.Errorf("%+v: got %s, %v", c, got, err)
		}
	}
}
