package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// prefix begins the name of every variable that is ours.
const prefix = "BROADCASTER_"

// config is what the Lambda function is told by its environment. The account is not in it: the ARN under which the function
// is invoked says it, and cannot be mistyped.
type config struct {
	env, domain, region           string
	changesTable, operationsTable string
	reportsTable, queueURL        string
	packaged                      invalidation.Packaged
	maxPushes                     int
	pushTimeout                   time.Duration
	logLevel                      slog.Level
}

// A variable is one setting. Its texts are the documentation: README.md is held to them.
type variable struct {
	name    string
	initial string // the value if it is not set; empty means it must be set, unless optional
	// optional: it may be left out although there is no initial value.
	optional bool
	meaning  string
	form     string // what its value must be, after "must be"
	// read reads the value into c. Its error is errForm if there is nothing to say but that the value is not of the form.
	read func(c *config, value string) error
}

var errForm = errors.New("not of the form")

// variables are all there are. Those of the scheme come before the manifest, which is checked against them.
func variables() []variable {
	return []variable{
		{
			name: "AWS_REGION", meaning: "The Region of the secrets, the tables and the subscribed functions. Lambda sets it.",
			form: "a Region's code, as eu-west-2", read: matching(subscribers.IsRegion, func(c *config, v string) { c.region = v }),
		},
		{
			name: prefix + "ENV", meaning: "The first part of the secrets' names: /bank/**{env}**/{domain}/{service}/{name}.",
			form: "lower case letters, digits and single hyphens, as prod", read: matching(subscribers.IsPlace, func(c *config, v string) { c.env = v }),
		},
		{
			name: prefix + "DOMAIN", meaning: "The second part of the secrets' names. Events of other domains are refused.",
			form: "lower case letters, digits and single hyphens, as payments", read: matching(subscribers.IsPlace, func(c *config, v string) { c.domain = v }),
		},
		{
			name: prefix + "CHANGES_TABLE", meaning: "The DynamoDB table of the change log, which clients read.",
			form: "a table's name", read: matching(isTable, func(c *config, v string) { c.changesTable = v }),
		},
		{
			name: prefix + "OPERATIONS_TABLE", meaning: "The DynamoDB table of what only the broadcaster and people on call need.",
			form: "the name of another table than the change log's", read: readOperationsTable,
		},
		{
			name: prefix + "REPORTS_TABLE", meaning: "The DynamoDB table in which environments report: only who has reported a client is pushed to.",
			form: "a table's name", read: matching(isTable, func(c *config, v string) { c.reportsTable = v }),
		},
		{
			name: prefix + "QUEUE_URL", optional: true,
			meaning: "The URL of the function's own queue. Without it, deliveries left pending wait for the next event or the schedule.",
			form:    "the URL of an SQS queue", read: matching(isQueueURL, func(c *config, v string) { c.queueURL = v }),
		},
		{
			name: prefix + "SUBSCRIPTIONS", optional: true,
			meaning: "The path of the manifest that holds until the first `subscriptions apply`. Without any nothing is pushed: clients read the log.",
			form:    "the path of a valid manifest", read: readManifest,
		},
		{
			name: prefix + "MAX_PUSHES", initial: "50", meaning: "How many functions are invoked at once.",
			form: "a whole number from 1 to 1000", read: readMaxPushes,
		},
		{
			name: prefix + "PUSH_TIMEOUT", initial: "10s", meaning: "How long one push may take, a cold start of the function included.",
			form: "a duration from 100ms to 5m, as 10s", read: readPushTimeout,
		},
		{
			name: prefix + "LOG_LEVEL", initial: "info", meaning: "The least level that is logged.",
			form: "debug, info, warn or error", read: readLogLevel,
		},
	}
}

// readConfig reads a process's environment, given as os.Environ gives it. Its error joins all problems; each is one line
// that names the variable, what is wrong and the remedy, and does not quote the value.
func readConfig(environ []string) (config, error) {
	var (
		c        = config{packaged: invalidation.Packaged{Subscriptions: &subscribers.Subscriptions{}}}
		problems []error
		set      = map[string]string{}
		known    []string
	)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		set[name] = value
	}
	for _, v := range variables() {
		known = append(known, v.name)
		if err := v.take(&c, set[v.name]); err != nil {
			problems = append(problems, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if strings.HasPrefix(name, prefix) && !slices.Contains(known, name) {
			problems = append(problems, fmt.Errorf("%s is not known: did you mean %s? If not, remove it", name, nearest(name, known)))
		}
	}
	return c, errors.Join(problems...)
}

// take reads a variable's value into c. An empty value is as good as none.
func (v variable) take(c *config, value string) error {
	if value == "" {
		value = v.initial
	}
	switch {
	case value == "" && v.optional:
		return nil
	case value == "":
		return fmt.Errorf("%s is missing: set it to %s", v.name, v.form)
	}
	remedy := "correct it"
	if v.initial != "" {
		remedy += ", or leave it out for " + v.initial
	}
	switch err := v.read(c, value); {
	case errors.Is(err, errForm):
		return fmt.Errorf("%s is not %s: %s", v.name, v.form, remedy)
	case err != nil:
		return fmt.Errorf("%s is not %s (%w): %s", v.name, v.form, err, remedy)
	}
	return nil
}

func matching(form func(string) bool, take func(*config, string)) func(*config, string) error {
	return func(c *config, value string) error {
		if !form(value) {
			return errForm
		}
		take(c, value)
		return nil
	}
}

// isTable reports whether a table may have this name
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html). It is no regular
// expression: compiling one that counts to 255 would take a tenth of the whole start.
func isTable(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	return len(name) >= 3 && len(name) <= 255 && strings.Trim(name, allowed) == ""
}

// readOperationsTable refuses the change log's table: who may read one of them may be told from who may read the other only if
// they are two.
func readOperationsTable(c *config, value string) error {
	if !isTable(value) || value == c.changesTable {
		return errForm
	}
	c.operationsTable = value
	return nil
}

func readManifest(c *config, value string) error {
	if c.env == "" || c.domain == "" {
		return nil // their own problem is told
	}
	f, err := subscribers.Read(os.DirFS(filepath.Dir(value)), filepath.Base(value), c.env, c.domain)
	if err != nil {
		return err
	}
	c.packaged = invalidation.Packaged{Subscriptions: f.Subscriptions(), Text: f.Text}
	return nil
}

func readMaxPushes(c *config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 1000 {
		return errForm
	}
	c.maxPushes = n
	return nil
}

func readPushTimeout(c *config, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < 100*time.Millisecond || d > 5*time.Minute {
		return errForm
	}
	c.pushTimeout = d
	return nil
}

func readLogLevel(c *config, value string) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, value) {
		return errForm
	}
	return c.logLevel.UnmarshalText([]byte(value))
}

// nearest returns the name that takes the fewest edits.
func nearest(name string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int { return edits(name, a) - edits(name, b) })
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// isQueueURL reports whether a text has the form of a queue's URL: https://host/account/name, or http on this machine.
func isQueueURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && strings.Count(u.Path, "/") == 2 && u.User == nil
}
