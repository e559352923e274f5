package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const manifestText = `apiVersion: secret-broadcaster/v1
env: prod
domain: payments
owner: team-payments
services:
  - name: payments-api
    secrets: ["neon/connection-string"]
`

// settings is an environment in which everything is set, and nothing to its default.
func settings(t *testing.T) map[string]string {
	t.Helper()
	manifest := filepath.Join(t.TempDir(), "subscriptions.yaml")
	if err := os.WriteFile(manifest, []byte(manifestText), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"AWS_REGION":                   "eu-west-2",
		"BROADCASTER_ENV":              "prod",
		"BROADCASTER_DOMAIN":           "payments",
		"BROADCASTER_CHANGES_TABLE":    "payments-changes",
		"BROADCASTER_OPERATIONS_TABLE": "payments-operations",
		"BROADCASTER_REPORTS_TABLE":    "payments-reports",
		"BROADCASTER_QUEUE_URL":        "https://sqs.eu-west-2.amazonaws.com/111122223333/payments",
		"BROADCASTER_SUBSCRIPTIONS":    manifest,
		"BROADCASTER_MAX_PUSHES":       "7",
		"BROADCASTER_PUSH_TIMEOUT":     "3s",
		"BROADCASTER_LOG_LEVEL":        "warn",
	}
}

func environ(set map[string]string) []string {
	all := []string{"PATH=/usr/bin"}
	for name, value := range set {
		all = append(all, name+"="+value)
	}
	return all
}

// shown is what a configuration comes to.
func shown(c config) string {
	return fmt.Sprint(c.region, c.env, c.domain, c.changesTable, c.operationsTable, c.reportsTable, c.queueURL,
		len(c.packaged.Subscriptions.Match([]string{"/bank/prod/payments/neon/connection-string"})), c.maxPushes, c.pushTimeout, c.logLevel)
}

func TestEveryVariableHasAnEffect(t *testing.T) {
	set := settings(t)
	whole, err := readConfig(environ(set))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variables() {
		without := settings(t)
		delete(without, v.name)
		c, err := readConfig(environ(without))
		switch required := v.initial == "" && !v.optional; {
		case required && (err == nil || !strings.HasPrefix(err.Error(), v.name+" is missing: set it to ")):
			t.Errorf("without %s: got %v", v.name, err)
		case !required && (err != nil || shown(c) == shown(whole)):
			t.Errorf("without %s: got the same or an error: %v", v.name, err)
		}
		delete(set, v.name)
	}
	if len(set) > 0 {
		t.Errorf("not variables: %v", set)
	}
}

func TestDefaults(t *testing.T) {
	set := settings(t)
	for _, v := range variables() {
		if v.initial != "" || v.optional {
			set[v.name] = "" // as good as not set
		}
	}
	c, err := readConfig(environ(set))
	if err != nil {
		t.Fatal(err)
	}
	const want = "eu-west-2 prod payments payments-changes payments-operations payments-reports  0 50 10s INFO"
	if diff := cmp.Diff(strings.ReplaceAll(want, " ", ""), strings.ReplaceAll(shown(c), " ", "")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestValuesNotOfTheirForm(t *testing.T) {
	wrong := map[string][]string{
		"AWS_REGION":                   {"London", "eu", "eu-west-", "*"},
		"BROADCASTER_ENV":              {"Prod", "prod/payments", "*", "-prod", "prod--eu"},
		"BROADCASTER_DOMAIN":           {"payments/", "pay*", "..", "payments "},
		"BROADCASTER_CHANGES_TABLE":    {"ab", "payments/changes", strings.Repeat("a", 256)},
		"BROADCASTER_OPERATIONS_TABLE": {"payments-changes", "a b c"},
		"BROADCASTER_REPORTS_TABLE":    {"ab", "payments/reports"},
		"BROADCASTER_QUEUE_URL":        {"payments", "ftp://sqs.example/1/q", "https://sqs.example/q", "https://me@sqs.example/1/q", "https:///1/q", ":"},
		"BROADCASTER_SUBSCRIPTIONS":    {"/nowhere/subscriptions.yaml", os.DevNull},
		"BROADCASTER_MAX_PUSHES":       {"0", "1001", "many", "5.0"},
		"BROADCASTER_PUSH_TIMEOUT":     {"10", "99ms", "6m", "-1s"},
		"BROADCASTER_LOG_LEVEL":        {"INFO", "trace", "info+1"},
	}
	for _, v := range variables() {
		if len(wrong[v.name]) == 0 {
			t.Errorf("%s: no wrong value is tried", v.name)
		}
		for _, value := range wrong[v.name] {
			set := settings(t)
			set[v.name] = value
			_, err := readConfig(environ(set))
			problems := strings.Split(fmt.Sprint(err), "\n")
			if !strings.HasPrefix(problems[0], v.name+" is not "+v.form) || !strings.Contains(fmt.Sprint(err), ": correct it") {
				t.Errorf("%s=%q: got %v", v.name, value, err)
			}
		}
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := readConfig([]string{
		"AWS_REGION=eu-west-2", "BROADCASTER_ENV=prod", "BROADCASTER_DOMAINS=payments", "BROADCASTER_MAX_PUSH=3",
		"BROADCASTER_CHANGES_TABLE=changes", "BROADCASTER_PUSH_TIMEOUT=soon", "SECRET_BROADCAST_TABLE=not-ours",
	})
	want := []string{
		"BROADCASTER_DOMAIN is missing: set it to lower case letters, digits and single hyphens, as payments",
		"BROADCASTER_OPERATIONS_TABLE is missing: set it to the name of another table than the change log's",
		"BROADCASTER_REPORTS_TABLE is missing: set it to a table's name",
		"BROADCASTER_PUSH_TIMEOUT is not a duration from 100ms to 5m, as 10s: correct it, or leave it out for 10s",
		"BROADCASTER_DOMAINS is not known: did you mean BROADCASTER_DOMAIN? If not, remove it",
		"BROADCASTER_MAX_PUSH is not known: did you mean BROADCASTER_MAX_PUSHES? If not, remove it",
	}
	if diff := cmp.Diff(want, strings.Split(fmt.Sprint(err), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAManifestOfAnotherDomainIsAProblem(t *testing.T) {
	set := settings(t)
	set["BROADCASTER_DOMAIN"] = "payments-archive"
	_, err := readConfig(environ(set))
	const want = "subscriptions.yaml:3:9: domain: must be payments-archive: this broadcaster serves no other"
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one problem with %q", err, want)
	}
}

// The table of README.md is generated: go test -update writes it.
func TestReadmeListsEveryVariable(t *testing.T) {
	rows := []string{"| variable | must be | if it is not set | meaning |", "|---|---|---|---|"}
	for _, v := range variables() {
		initial := "an error"
		switch {
		case v.initial != "":
			initial = "`" + v.initial + "`"
		case v.optional:
			initial = "none"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", v.name, v.form, initial, v.meaning))
	}
	generated(t, "README.md", "variables", strings.Join(rows, "\n"))
}
