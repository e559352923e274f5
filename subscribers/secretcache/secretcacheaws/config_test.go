package secretcacheaws_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

func TestConfigIsWhatTheEnvironmentSays(t *testing.T) {
	env := variables()
	env["SECRET_BROADCAST_CHECK_EVERY"] = "1500ms"
	env["SECRET_BROADCAST_MODE"] = "observe"
	env["POWERTOOLS_PARAMETERS_MAX_AGE"] = "60"
	got, err := secretcacheaws.ConfigFrom(awsConfig("http://127.0.0.1:1"), getenv(env))
	if err != nil {
		t.Fatal(err)
	}
	want := secretcache.Config{
		Env: "prod", Domain: "payments", Service: "payments-api", Mode: secretcache.Observe,
		TTL: time.Minute, CheckEvery: 1500 * time.Millisecond,
		Function: secretcache.Function{Version: "7", LogStream: "2026/11/23/[7]0f3a"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(secretcache.Config{}, "Secrets", "Log", "Reports", "InvokedARN")); diff != "" {
		t.Error(diff)
	}
	if got.Secrets == nil || got.Log == nil || got.Reports == nil {
		t.Errorf("something is missing: %+v", got)
	}
	if _, err := secretcache.New(got); err != nil {
		t.Errorf("New refuses it: %v", err)
	}
	const live = "arn:aws:lambda:eu-west-2:111122223333:function:payments-api:live"
	invocation := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{InvokedFunctionArn: live})
	if arn := got.InvokedARN(invocation); arn != live {
		t.Errorf("an invocation is of %q, want %s", arn, live)
	}
	if arn := got.InvokedARN(t.Context()); arn != "" {
		t.Errorf("no invocation is of %q", arn)
	}
}

func TestConfigReadsTheProcessEnvironment(t *testing.T) {
	env := variables()
	env["AWS_REGION"] = "eu-west-2"
	env["AWS_CONFIG_FILE"] = t.TempDir() + "/none"
	setEnvironment(t, env)
	got, err := secretcacheaws.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Mode != secretcache.On || got.Env != "prod" || got.Log == nil {
		t.Errorf("got %+v", got)
	}
}

func TestConfigTellsWhenAWSConfigurationIsBroken(t *testing.T) {
	setEnvironment(t, map[string]string{"AWS_PROFILE": "no-such-profile", "AWS_CONFIG_FILE": t.TempDir() + "/none"})
	_, err := secretcacheaws.Config(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no-such-profile") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutATableTheClientIsOffAndSaysSoOnce(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"nothing set":        {},
		"all but the table":  {"SECRET_BROADCAST_ENV": "prod", "SECRET_BROADCAST_DOMAIN": "payments", "SECRET_BROADCAST_REPORTS_TABLE": "r"},
		"off without it":     {"SECRET_BROADCAST_MODE": "off"},
		"off with the table": {"SECRET_BROADCAST_MODE": "off", "SECRET_BROADCAST_TABLE": "payments-changes"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := secretcacheaws.ConfigFrom(aws.Config{}, getenv(env))
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Mode != secretcache.Off || cfg.Log != nil || cfg.Reports != nil || cfg.Secrets == nil {
				t.Errorf("got %+v", cfg)
			}
			var log bytes.Buffer
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if _, err := secretcache.New(cfg); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(log.String(), "\n"); got != 1 {
				t.Errorf("%d log lines, want 1: %s", got, log.String())
			}
		})
	}
}

func TestReportsAndServiceAreOptional(t *testing.T) {
	env := variables()
	delete(env, "POWERTOOLS_SERVICE_NAME")
	cfg, err := secretcacheaws.ConfigFrom(awsConfig("http://127.0.0.1:1"), getenv(env))
	if err != nil || cfg.Service != "payments-api-fn" {
		t.Errorf("without a service's name the function's is taken: %q, %v", cfg.Service, err)
	}
	delete(env, "AWS_LAMBDA_FUNCTION_NAME")
	delete(env, "SECRET_BROADCAST_REPORTS_TABLE")
	cfg, err = secretcacheaws.ConfigFrom(awsConfig("http://127.0.0.1:1"), getenv(env))
	if err != nil || cfg.Reports != nil {
		t.Errorf("without a table for reports there are none: %v, %v", cfg.Reports, err)
	}
}

func TestDurations(t *testing.T) {
	for _, test := range []struct {
		variable, text  string
		every, ttl      time.Duration
		wantInTheReason string
	}{
		{variable: "SECRET_BROADCAST_CHECK_EVERY", text: "5s", every: 5 * time.Second},
		{variable: "SECRET_BROADCAST_CHECK_EVERY", text: "5", every: 5 * time.Second},
		{variable: "SECRET_BROADCAST_CHECK_EVERY", text: "0.5", every: 500 * time.Millisecond},
		{variable: "SECRET_BROADCAST_CHECK_EVERY", text: "499ms", wantInTheReason: "500ms or more"},
		{variable: "SECRET_BROADCAST_CHECK_EVERY", text: "0", wantInTheReason: "500ms or more"},
		{variable: "SECRET_BROADCAST_CHECK_EVERY", text: "-5", wantInTheReason: "500ms or more"},
		{variable: "SECRET_BROADCAST_CHECK_EVERY", text: "NaN", wantInTheReason: "neither a duration"},
		{variable: "SECRET_BROADCAST_CHECK_EVERY", text: "1e12", wantInTheReason: "neither a duration"},
		{variable: "SECRET_BROADCAST_CHECK_EVERY", text: "soon", wantInTheReason: "neither a duration"},
		{variable: "POWERTOOLS_PARAMETERS_MAX_AGE", text: "300", ttl: 5 * time.Minute},
		{variable: "POWERTOOLS_PARAMETERS_MAX_AGE", text: "0", ttl: 1},
		{variable: "POWERTOOLS_PARAMETERS_MAX_AGE", text: "-1", wantInTheReason: "no number of seconds"},
		{variable: "POWERTOOLS_PARAMETERS_MAX_AGE", text: "5m", wantInTheReason: "no number of seconds"},
		{variable: "POWERTOOLS_PARAMETERS_MAX_AGE", text: "Inf", wantInTheReason: "no number of seconds"},
	} {
		t.Run(test.variable+"="+test.text, func(t *testing.T) {
			env := variables()
			env[test.variable] = test.text
			cfg, err := secretcacheaws.ConfigFrom(awsConfig("http://127.0.0.1:1"), getenv(env))
			if test.wantInTheReason != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantInTheReason) || !strings.Contains(err.Error(), test.variable) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || cfg.CheckEvery != test.every || cfg.TTL != test.ttl {
				t.Errorf("CheckEvery %v, TTL %v, %v", cfg.CheckEvery, cfg.TTL, err)
			}
		})
	}
}

func TestAMaxAgeOfZeroFetchesAtEachRead(t *testing.T) {
	endpoint := newEndpoint(t, always(200, `{"Name":"a","ARN":"arn:aws:secretsmanager:eu-west-2:111122223333:secret:a-AbCdEf","VersionId":"EXAMPLE1","SecretString":"first"}`))
	cfg, err := secretcacheaws.ConfigFrom(awsConfig(endpoint.URL), getenv(map[string]string{"POWERTOOLS_PARAMETERS_MAX_AGE": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	cache, err := secretcache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := cache.Secret("a").Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(endpoint.got()); got != 3 {
		t.Errorf("%d fetches in 3 reads", got)
	}
}

// TestEnvAndDomainHaveTheBroadcastersForm: with another one no secret's name begins as the log says, and nothing would tell.
func TestEnvAndDomainHaveTheBroadcastersForm(t *testing.T) {
	for value, right := range map[string]bool{
		"prod": true, "risk-platform": true, "prod2": true,
		"prod*": false, "Prod": false, "prod/a": false, "prod ": false, "..": false, "-prod": false, "prod-": false, "a--b": false, "a_b": false, "prød": false,
	} {
		for _, variable := range []string{"SECRET_BROADCAST_ENV", "SECRET_BROADCAST_DOMAIN"} {
			env := variables()
			env[variable] = value
			_, err := secretcacheaws.ConfigFrom(awsConfig("http://127.0.0.1:1"), getenv(env))
			if (err == nil) != right || err != nil && !strings.Contains(err.Error(), variable+" is ") {
				t.Errorf("%s=%s: got %v", variable, value, err)
			}
		}
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := secretcacheaws.ConfigFrom(aws.Config{}, getenv(map[string]string{
		"SECRET_BROADCAST_TABLE":         "payments-changes",
		"SECRET_BROADCAST_REPORTS_TABLE": "payments-reports",
		"SECRET_BROADCAST_DOMAIN":        "payments/neon",
		"SECRET_BROADCAST_CHECK_EVERY":   "soon",
		"SECRET_BROADCAST_MODE":          "loud",
		"POWERTOOLS_PARAMETERS_MAX_AGE":  "long",
		"AWS_ENDPOINT_URL_DYNAMODB":      "127.0.0.1",
	}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"SECRET_BROADCAST_ENV is not set", "SECRET_BROADCAST_DOMAIN is", "SECRET_BROADCAST_CHECK_EVERY is", "SECRET_BROADCAST_MODE is",
		"POWERTOOLS_PARAMETERS_MAX_AGE is", "neither POWERTOOLS_SERVICE_NAME nor AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION is not set",
		"no credentials", "AWS_ENDPOINT_URL_DYNAMODB is no URL",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q", want)
		}
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if !strings.Contains(line, "set it") && !strings.Contains(line, "remove") && !strings.Contains(line, "load it") && !strings.Contains(line, "set POWER") {
			t.Errorf("no remedy in %q", line)
		}
	}
}

func TestWhoAsksForTheLogMustNameIt(t *testing.T) {
	for _, mode := range []string{"on", "observe"} {
		_, err := secretcacheaws.ConfigFrom(aws.Config{}, getenv(map[string]string{"SECRET_BROADCAST_MODE": mode}))
		if err == nil || !strings.Contains(err.Error(), "SECRET_BROADCAST_TABLE is not set") {
			t.Errorf("mode %s: %v", mode, err)
		}
	}
}
