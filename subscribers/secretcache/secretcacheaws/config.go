// Package secretcacheaws holds the Go client's AWS edges: it configures a secretcache from the Lambda environment, and
// reads secrets, the change log and writes reports with the function's own credentials. What a cache does with them may
// not be here.
//
// DynamoDB is spoken to without its SDK client, which would cost every cold start more than the two operations in use
// are worth.
package secretcacheaws

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// The environment variables that configure a client. The SECRET_BROADCAST_ ones have the same names in every language.
const (
	tableVariable        = "SECRET_BROADCAST_TABLE"
	reportsTableVariable = "SECRET_BROADCAST_REPORTS_TABLE"
	envVariable          = "SECRET_BROADCAST_ENV"
	domainVariable       = "SECRET_BROADCAST_DOMAIN"
	checkEveryVariable   = "SECRET_BROADCAST_CHECK_EVERY"
	modeVariable         = "SECRET_BROADCAST_MODE"
	serviceVariable      = "POWERTOOLS_SERVICE_NAME"
	maxAgeVariable       = "POWERTOOLS_PARAMETERS_MAX_AGE"
	regionVariable       = "AWS_REGION"

	// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
	functionVariable  = "AWS_LAMBDA_FUNCTION_NAME"
	versionVariable   = "AWS_LAMBDA_FUNCTION_VERSION"
	logStreamVariable = "AWS_LAMBDA_LOG_STREAM_NAME"
)

// Config returns the configuration that the environment variables describe, with AWS's default credentials and Region.
// It reads the AWS SDK's configuration and may block for that; ctx bounds it. The error names all that is wrong.
//
//	SECRET_BROADCAST_TABLE          the change log's table; unset: Mode is Off, the TTL alone applies
//	SECRET_BROADCAST_REPORTS_TABLE  where this environment reports; unset: it does not
//	SECRET_BROADCAST_ENV, _DOMAIN   whose secrets the log speaks of: /bank/{env}/{domain}/…
//	SECRET_BROADCAST_CHECK_EVERY    Config.CheckEvery, as 1500ms, 2s or plain seconds
//	SECRET_BROADCAST_MODE           on (default), observe or off
//	POWERTOOLS_SERVICE_NAME         Config.Service; unset: the function's name
//	POWERTOOLS_PARAMETERS_MAX_AGE   Config.TTL in seconds; 0 fetches at each read
//
// Function.ARN stays empty: Lambda tells a function its ARN with each invocation only, where InvokedARN finds it
// (https://docs.aws.amazon.com/lambda/latest/dg/golang-context.html).
func Config(ctx context.Context) (secretcache.Config, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return secretcache.Config{}, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	return ConfigFrom(cfg, os.Getenv)
}

// ConfigFrom is Config for callers that have an aws.Config, and for tests. Secrets Manager and DynamoDB are called at the
// endpoints that cfg or the variables AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SECRETS_MANAGER and AWS_ENDPOINT_URL_DYNAMODB
// configure, else at AWS's own (https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html).
// An HTTP client in cfg is used, but DynamoDB's and Secrets Manager's idle connections are closed when one proves dead.
func ConfigFrom(cfg aws.Config, getenv func(string) string) (secretcache.Config, error) {
	s := settings{getenv: getenv}
	out := secretcache.Config{
		Env:        s.place(envVariable),
		Domain:     s.place(domainVariable),
		Service:    getenv(serviceVariable),
		Mode:       s.mode(),
		TTL:        s.ttl(),
		CheckEvery: s.checkEvery(),
		Function:   secretcache.Function{Version: getenv(versionVariable), LogStream: getenv(logStreamVariable)},
		InvokedARN: invokedARN,
	}
	if out.Service == "" {
		out.Service = getenv(functionVariable)
	}
	out.Secrets = newSecrets(cfg, s.endpoint(cfg, secretsManagerID))
	if out.Mode != secretcache.Off {
		s.require(cfg, out.Service)
		if tables := newTables(cfg, s.dynamoDBEndpoint(cfg)); len(s.problems) == 0 {
			out.Log = &changeLog{tables, getenv(tableVariable)}
			if table := getenv(reportsTableVariable); table != "" {
				out.Reports = &reports{tables, table}
			}
		}
	}
	if len(s.problems) > 0 {
		return secretcache.Config{}, fmt.Errorf("configuring the secret cache: %w", errors.Join(s.problems...))
	}
	return out, nil
}

func invokedARN(ctx context.Context) string {
	invocation, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return ""
	}
	return invocation.InvokedFunctionArn
}

// settings reads variables and collects what is wrong with them.
type settings struct {
	getenv   func(string) string
	problems []error
}

func (s *settings) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Errorf(format, args...))
}

// require notes what is missing for the change log.
func (s *settings) require(cfg aws.Config, service string) {
	for _, variable := range []string{envVariable, domainVariable} {
		if s.getenv(variable) == "" {
			s.problem("%s is not set, but %s is: set it to the {env} and {domain} of /bank/{env}/{domain}/…, or unset the table",
				variable, tableVariable)
		}
	}
	if s.getenv(reportsTableVariable) != "" && service == "" {
		s.problem("neither %s nor %s is set, but %s is: set %s, or nobody can tell whose report it is",
			serviceVariable, functionVariable, reportsTableVariable, serviceVariable)
	}
	if cfg.Region == "" {
		s.problem("%s is not set and the AWS configuration has no Region: set it to the Region of the table in %s", regionVariable, tableVariable)
	}
	if cfg.Credentials == nil {
		s.problem("the AWS configuration has no credentials to read the table in %s with: load it with config.LoadDefaultConfig", tableVariable)
	}
}

// mode is Off without a table, so that unit tests and local runs need no AWS. But who asks for the log must name it.
func (s *settings) mode() secretcache.Mode {
	mode, table := secretcache.Mode(s.getenv(modeVariable)), s.getenv(tableVariable)
	switch mode {
	case "", secretcache.On, secretcache.Observe, secretcache.Off:
	default:
		s.problem("%s is %q, which is no mode: set it to on, observe or off", modeVariable, mode)
	}
	switch {
	case table != "" && mode == "":
		return secretcache.On
	case table != "":
		return mode
	case mode == secretcache.On, mode == secretcache.Observe:
		s.problem("%s is %s, but %s is not set: set it to the domain's changes table, or unset the mode", modeVariable, mode, tableVariable)
	}
	return secretcache.Off
}

// place reads an env or a domain, which have the form that the broadcaster demands of them.
func (s *settings) place(variable string) string {
	value := s.getenv(variable)
	if value != "" && !isPlace(value) {
		s.problem("%s is %q, which no secret's name has there: set it to lower-case letters, digits and single hyphens", variable, value)
	}
	return value
}

func isPlace(text string) bool {
	for word := range strings.SplitSeq(text, "-") {
		if word == "" || strings.ContainsFunc(word, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
			return false
		}
	}
	return true
}

// leastCheckEvery is what secretcache.New demands of CheckEvery when CheckTimeout is the default.
const leastCheckEvery = 2 * secretcache.DefaultCheckTimeout

func (s *settings) checkEvery() time.Duration {
	text := s.getenv(checkEveryVariable)
	if text == "" {
		return 0
	}
	every, ok := seconds(text)
	if !ok {
		var err error
		if every, err = time.ParseDuration(text); err != nil {
			s.problem("%s is %q, which is neither a duration nor a number of seconds: set it to something like 2s", checkEveryVariable, text)
			return 0
		}
	}
	if every < leastCheckEvery {
		s.problem("%s is %v, in which a check of the log may not be done: set it to %v or more", checkEveryVariable, every, leastCheckEvery)
	}
	return every
}

func (s *settings) ttl() time.Duration {
	text := s.getenv(maxAgeVariable)
	if text == "" {
		return 0
	}
	ttl, ok := seconds(text)
	if !ok || ttl < 0 {
		s.problem("%s is %q, which is no number of seconds: set it to something like 300", maxAgeVariable, text)
		return 0
	}
	return max(ttl, 1) // Config's zero is its default, Powertools' zero is "do not cache": nothing is that young
}

// seconds reads a plain number of seconds, at most ten years of them.
func seconds(text string) (time.Duration, bool) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.Abs(n) > 10*365*24*60*60 {
		return 0, false
	}
	return time.Duration(n * float64(time.Second)), true
}
