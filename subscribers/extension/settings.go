package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
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
	ignoreEndpoints     = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
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
	proxy      string // the variable of a proxy that the function's requests may take, if there is one
}

func readSettings(getenv func(string) string) (settings, error) {
	r := reader{getenv: getenv}
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
	r.checkLoop(s.port)
	s.proxy = r.proxy(s.port)
	return s, errors.Join(r.problems...)
}

// A reader reads variables and collects what is wrong with them.
type reader struct {
	getenv   func(string) string
	problems []error
}

func (r *reader) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf(format, args...))
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

// checkLoop: an extension that calls itself would wait for itself.
func (r *reader) checkLoop(port string) {
	for _, service := range ownServices() {
		variable := ownEndpointVariable + "_" + service
		u, err := url.Parse(r.getenv(variable))
		if err == nil && u.Port() == port && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1") {
			r.problem("%s is this extension's own endpoint: set it to where the service itself is, or unset it", variable)
		}
	}
}

// proxy returns the variable that has clients ask this extension through a proxy, or "". Go's never do, whatever the variables
// say (https://pkg.go.dev/golang.org/x/net/http/httpproxy), so its reading of NO_PROXY cannot tell. Those of Python and
// others do, unless NO_PROXY names the host as the URL has it: each knows some of its other forms.
func (r *reader) proxy(port string) string {
	upper, lower := r.getenv("NO_PROXY"), r.getenv("no_proxy") // a client prefers the one or the other
	if leavesOut(cmp.Or(upper, lower), port) && leavesOut(cmp.Or(lower, upper), port) {
		return ""
	}
	for _, variable := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		if r.getenv(variable) != "" {
			return variable
		}
	}
	return ""
}

// leavesOut reports whether a NO_PROXY names this extension, by its address and by its name.
func leavesOut(noProxy, port string) bool {
	named := map[string]bool{}
	for entry := range strings.SplitSeq(strings.ToLower(noProxy), ",") {
		named[strings.TrimSuffix(strings.TrimSpace(entry), ":"+port)] = true
	}
	return named["*"] || named["127.0.0.1"] && named["localhost"]
}

func ownServices() []string { return []string{"SECRETS_MANAGER", "DYNAMODB"} }

// takeEndpoints makes this process's own clients call AWS, or what our own variables say. The function's variables name
// this extension as Secrets Manager: whatever here followed them would ask itself.
func takeEndpoints() error {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if name == ignoreEndpoints || name == endpointVariable || strings.HasPrefix(name, endpointVariable+"_") {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	for _, service := range ownServices() {
		if own := os.Getenv(ownEndpointVariable + "_" + service); own != "" {
			if err := os.Setenv(endpointVariable+"_"+service, own); err != nil {
				return err
			}
		}
	}
	return nil
}
