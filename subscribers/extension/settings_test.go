package main

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		"a proxy":                               {map[string]string{"HTTP_PROXY": proxy}, func(s *settings) { s.proxy = "HTTP_PROXY" }},
		"a proxy, written small":                {map[string]string{"http_proxy": proxy}, func(s *settings) { s.proxy = "http_proxy" }},
		"a proxy for everything":                {map[string]string{"ALL_PROXY": proxy}, func(s *settings) { s.proxy = "ALL_PROXY" }},
		"a proxy for everything, written small": {map[string]string{"all_proxy": proxy}, func(s *settings) { s.proxy = "all_proxy" }},
		"a proxy for AWS only":                  {map[string]string{"HTTPS_PROXY": proxy, "https_proxy": proxy}, func(*settings) {}},
		"a proxy, but not for the extension": {
			map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "169.254.169.254, 127.0.0.1 ,LOCALHOST"}, func(*settings) {},
		},
		"a proxy, but not for the extension, written small": {map[string]string{"HTTP_PROXY": proxy, "no_proxy": "127.0.0.1,localhost"}, func(*settings) {}},
		"a proxy, but not for the extension's port": {
			map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1:2773,localhost:2773"}, func(*settings) {},
		},
		"a proxy, but for another port": {
			map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1:80,localhost:80"}, func(s *settings) { s.proxy = "HTTP_PROXY" },
		},
		"a proxy for nothing":                  {map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "*"}, func(*settings) {}},
		"a proxy for the address":              {map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "localhost"}, func(s *settings) { s.proxy = "HTTP_PROXY" }},
		"a proxy for the name":                 {map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1"}, func(s *settings) { s.proxy = "HTTP_PROXY" }},
		"a proxy but for what some understand": {map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.0/8,localhost"}, func(s *settings) { s.proxy = "HTTP_PROXY" }},
		"a proxy for who reads one spelling": {
			map[string]string{"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "example.com"}, func(s *settings) { s.proxy = "HTTP_PROXY" },
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
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); diff != "" || err != nil {
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
	for _, own := range []string{"http://localhost:2773", "http://127.0.0.1:2773/"} {
		_, err = readSettings(onLambda(map[string]string{"SECRET_BROADCAST_ENDPOINT_URL_SECRETS_MANAGER": own}))
		if err == nil || !strings.Contains(err.Error(), "SECRET_BROADCAST_ENDPOINT_URL_SECRETS_MANAGER is this extension's own endpoint") {
			t.Errorf("%s: got %v", own, err)
		}
	}
}

// TestItsOwnClientsAreNotTheFunctions: or it would ask itself.
func TestItsOwnClientsAreNotTheFunctions(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": "http://127.0.0.1:2773", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:2773",
		"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:2773", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
		"SECRET_BROADCAST_ENDPOINT_URL_DYNAMODB": "https://vpce-example.test", "AWS_REGION": "eu-west-2",
	} {
		t.Setenv(name, value)
	}
	if err := takeEndpoints(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "",
		"AWS_ENDPOINT_URL_DYNAMODB": "https://vpce-example.test",
	} {
		if got := os.Getenv(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
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
