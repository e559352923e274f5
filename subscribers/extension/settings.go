package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/extension/lifecycle"
)

// The variables of the extension beside those of every client (see secretcacheaws.Config). Those of AWS's Parameters and
// Secrets extension mean what they mean there
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/retrieving-secrets_lambda.html).
const (
	apiVariable         = "AWS_LAMBDA_RUNTIME_API"
	kindVariable        = "AWS_LAMBDA_INITIALIZATION_TYPE"
	tokenVariable       = "AWS_CONTAINER_AUTHORIZATION_TOKEN" //nolint:gosec // the variable's name
	ownPortVariable     = "SECRET_BROADCAST_EXTENSION_PORT"
	portVariable        = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"
	cacheEnabled        = "PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED"
	cacheSizeVariable   = "PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE"
	logLevelVariable    = "PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL"
	ttlVariable         = "SECRETS_MANAGER_TTL"
	maxAgeVariable      = "POWERTOOLS_PARAMETERS_MAX_AGE"
	endpointVariable    = "AWS_ENDPOINT_URL"
	ownEndpointVariable = "SECRET_BROADCAST_ENDPOINT_URL"
	fipsVariable        = "AWS_USE_FIPS_ENDPOINT"
	dualStackVariable   = "AWS_USE_DUALSTACK_ENDPOINT"
)

// settings are what the variables say.
type settings struct {
	api        string
	port       string
	ttl        time.Duration
	maxSecrets int
	level      slog.Level
	events     []lifecycle.Kind
	tokens     []string
	sdk        map[string]string // what the AWS SDK in this process finds in its environment instead of what the function set
	warnings   []string
}

func readSettings(getenv func(string) string) (settings, error) {
	r := reader{getenv: getenv, sdk: map[string]string{}}
	s := settings{
		api: getenv(apiVariable), port: r.port(), level: r.level(), events: []lifecycle.Kind{lifecycle.Invoke, lifecycle.Shutdown},
		ttl: time.Duration(r.whole(ttlVariable, 300, math.MaxInt32)) * time.Second, maxSecrets: r.whole(cacheSizeVariable, 1000, 1000),
	}
	s.ttl = max(s.ttl, 1) // a secretcache's zero is its default, AWS's zero is "do not cache": nothing is that young
	if !r.isEnabled() {
		s.maxSecrets = 0
	}
	if s.api == "" {
		r.problem("%s is not set: this is a Lambda extension, add it to a function as a layer", apiVariable)
	}
	// Where an environment has many invocations at once an extension is not told of them
	// (https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html).
	if getenv(kindVariable) == "lambda-managed-instances" {
		s.events = []lifecycle.Kind{lifecycle.Shutdown}
	}
	if token := getenv(tokenVariable); token != "" {
		s.tokens = []string{token}
	}
	r.ownEndpoints(s.port)
	r.variants()
	r.proxy(s.port)
	s.sdk, s.warnings = r.sdk, r.warnings
	return s, errors.Join(r.problems...)
}

// A reader reads variables and collects what they mean for the SDK, what is wrong with them, and what may be.
type reader struct {
	getenv   func(string) string
	sdk      map[string]string
	problems []error
	warnings []string
}

func (r *reader) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf(format, args...))
}

func (r *reader) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// port is our own variable's, since AWS's extension beside this one reads the other.
func (r *reader) port() string {
	for _, variable := range []string{ownPortVariable, portVariable} {
		text := r.getenv(variable)
		if text == "" {
			continue
		}
		if n, err := strconv.ParseUint(text, 10, 16); err != nil || n == 0 {
			r.problem("%s is %q, which is no port: set it to a number from 1 to 65535", variable, text)
		}
		return text
	}
	return "2773"
}

func (r *reader) whole(variable string, initial, most int) int {
	text := r.getenv(variable)
	if text == "" {
		return initial
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		r.problem("%s is %q: set it to a whole number from 0 to %d, or unset it for %d", variable, text, most, initial)
	}
	return n
}

func (r *reader) isEnabled() bool {
	text := r.getenv(cacheEnabled)
	enabled, err := strconv.ParseBool(strings.ToLower(text))
	if text != "" && err != nil {
		r.problem("%s is %q: set it to true or false", cacheEnabled, text)
	}
	return text == "" || enabled
}

func (r *reader) level() slog.Level {
	switch text := strings.ToLower(r.getenv(logLevelVariable)); text {
	case "debug":
		return slog.LevelDebug
	case "", "info":
		return slog.LevelInfo
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	case "none":
		return slog.LevelError + 1
	default:
		r.problem("%s is %q: set it to debug, info, warn, error or none", logLevelVariable, text)
		return slog.LevelInfo
	}
}

// ownEndpoints reads where this process calls AWS, if not at the usual names. An extension that calls itself would wait for
// itself.
func (r *reader) ownEndpoints(port string) {
	for _, service := range []string{"SECRETS_MANAGER", "DYNAMODB"} {
		variable := ownEndpointVariable + "_" + service
		text := r.getenv(variable)
		if text == "" {
			continue
		}
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
			r.problem("%s is no URL: set it to something like https://host, or unset it", variable)
		case u.Port() == port && isThisMachine(u.Hostname()):
			r.problem("%s is this extension's own endpoint: set it to where the service itself is, or unset it", variable)
		}
		r.sdk[endpointVariable+"_"+service] = text
	}
}

func isThisMachine(host string) bool {
	address, err := netip.ParseAddr(host)
	if err != nil {
		host = strings.TrimSuffix(strings.ToLower(host), ".")
		return host == "localhost" || strings.HasSuffix(host, ".localhost")
	}
	return address.Unmap().IsLoopback() || address.Unmap().IsUnspecified()
}

// variants reads which of AWS's endpoints are meant. The function's SDK may not know the spelling, or refuse the variable
// beside another endpoint, as the one for JavaScript does: this process's does neither.
func (r *reader) variants() {
	for _, variable := range []string{fipsVariable, dualStackVariable} {
		text := r.getenv(variable)
		on, err := strconv.ParseBool(strings.ToLower(text))
		switch {
		case text != "" && err != nil:
			r.warn("%s is %q and taken for false: set it to true or false", variable, text)
		case on:
			r.sdk[variable] = "true"
			if r.getenv(endpointVariable+"_SECRETS_MANAGER") != "" {
				r.warn("some AWS SDKs refuse %s beside %s_SECRETS_MANAGER: turn it off where the code makes their client of Secrets Manager", variable, endpointVariable)
			}
		}
	}
}

// proxy warns of a variable that has clients ask this extension through a proxy. Go's never do, whatever the variables
// say (https://pkg.go.dev/golang.org/x/net/http/httpproxy), so its reading of NO_PROXY cannot tell. Those of Python and
// others do, unless NO_PROXY names the host as the URL has it: each knows some of its other forms.
func (r *reader) proxy(port string) {
	upper, lower := r.getenv("NO_PROXY"), r.getenv("no_proxy") // a client prefers the one or the other
	if leavesOut(cmp.Or(upper, lower), port) && leavesOut(cmp.Or(lower, upper), port) {
		return
	}
	for _, variable := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		if r.getenv(variable) != "" {
			r.warn("some clients would send the function's requests, and its token, through the proxy of %s: set NO_PROXY to 127.0.0.1,localhost", variable)
			return
		}
	}
}

// leavesOut reports whether a NO_PROXY names this extension, by its address and by its name.
func leavesOut(noProxy, port string) bool {
	named := map[string]bool{}
	for entry := range strings.SplitSeq(strings.ToLower(noProxy), ",") {
		named[strings.TrimSuffix(strings.TrimSpace(entry), ":"+port)] = true
	}
	return named["*"] || named["127.0.0.1"] && named["localhost"]
}

// takeEnvironment leaves the AWS SDK in this process what it needs, and what sdk says. The other variables are for the
// function's SDK: they name this extension as Secrets Manager, so that whatever here followed them would ask itself, and what
// another language's SDK takes may be an error to this one.
func takeEnvironment(sdk map[string]string) error {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "AWS_") && !isNeeded(name) {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	for name, value := range sdk {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// isNeeded reports whether a variable is Lambda's own or says how AWS is reached: its credentials, Region and certificates.
func isNeeded(name string) bool {
	switch name {
	case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_CA_BUNDLE":
		return true
	default:
		return strings.HasPrefix(name, "AWS_LAMBDA_") || strings.HasPrefix(name, "AWS_CONTAINER_")
	}
}
