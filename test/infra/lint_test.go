package infra

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// templates are all there are.
func templates(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "infra", "*.yaml"))
	if err != nil || len(files) != 2 {
		t.Fatalf("finding templates: %v, %v", files, err)
	}
	return files
}

// linter runs a program of the linters' Python.
func linter(t testing.TB, program string, arguments ...string) (string, error) {
	t.Helper()
	python := variable(t, "LINT_PYTHON")
	out, err := exec.CommandContext(t.Context(), python, append([]string{filepath.Join(filepath.Dir(python), program)}, arguments...)...).CombinedOutput()
	return string(out), err
}

// broken writes a template with a part replaced, which a linter must find.
func broken(t testing.TB, file, old, now string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), old) == 0 {
		t.Fatalf("%s has no %q: %v", file, old, err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, now, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCfnLintIsClean: of the templates, and of one with a retention that there is not, it reports that one.
func TestCfnLintIsClean(t *testing.T) {
	wrong := broken(t, filepath.Join(root, "infra/domain.yaml"), "RetentionInDays: !Ref LogRetentionDays", "RetentionInDays: 8")
	out, _ := linter(t, "cfn-lint", append(templates(t), wrong, "--format", "parseable")...) // fails by what is wrong
	found := 0
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, wrong+":") {
			found++
		} else {
			t.Errorf("cfn-lint: %s", line)
		}
	}
	if found == 0 {
		t.Error("cfn-lint takes a retention that there is not: this test shows nothing")
	}
}

// TestCheckovIsClean: of the templates, and, since it sees both branches of a condition as one, of what they make with the initial
// values of all parameters and with every option; of a template with a table without recovery it reports that.
func TestCheckovIsClean(t *testing.T) {
	wrong := broken(t, filepath.Join(root, "infra/domain.yaml"), "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false")
	arguments := []string{"--framework", "cloudformation", "--compact", "--quiet", "--skip-download", "--output", "json"}
	for _, file := range append(templates(t), wrong, rendered(t, "domain.yaml", domain(t, "payments")), rendered(t, "platform.yaml", platform(t)),
		rendered(t, "domain.yaml", domain(t, "payments", everyOption()...)), rendered(t, "platform.yaml", platform(t, "KmsKeyArn", arn("kms", "key/1"), "PageEmail", "a@bank.example"))) {
		arguments = append(arguments, "--file", file)
	}
	out, _ := linter(t, "checkov", arguments...) // fails by what is wrong
	var is struct {
		Summary struct{ Passed, Failed, ParsingErrors int }
		Results struct {
			FailedChecks []struct {
				CheckID  string `json:"check_id"`
				FilePath string `json:"file_abs_path"`
				Resource string `json:"resource"`
			} `json:"failed_checks"`
		}
	}
	if err := json.Unmarshal([]byte(out), &is); err != nil {
		t.Fatalf("checkov: %v\n%s", err, out)
	}
	found := 0
	for _, failed := range is.Results.FailedChecks {
		if failed.FilePath == wrong {
			found++
		} else {
			t.Errorf("checkov: %s of %s in %s", failed.CheckID, failed.Resource, failed.FilePath)
		}
	}
	if found == 0 || is.Summary.Passed < 150 || is.Summary.ParsingErrors > 0 {
		t.Errorf("checkov found %d faults of a broken template and %d things right: this test shows nothing\n%.2000s", found, is.Summary.Passed, out)
	}
}

// rendered writes what a template makes as a template of its own, with the suppressions that stand in the template's comments.
func rendered(t testing.TB, file string, s stack) string {
	t.Helper()
	skips, id := map[string][]tree{}, ""
	for line := range strings.Lines(string(fileIn(t, root, "infra/"+file))) {
		if is := regexp.MustCompile(`^  (\w+):\n$`).FindStringSubmatch(line); is != nil {
			id = is[1]
		}
		if is := regexp.MustCompile(`# checkov:skip=(\w+): (.+)`).FindStringSubmatch(line); is != nil {
			skips[id] = append(skips[id], tree{"id": is[1], "comment": is[2]})
		}
	}
	all := tree{}
	for id, r := range s.resources {
		all[id] = tree{
			"Type": r.Type, "Properties": r.Properties, "DeletionPolicy": r.DeletionPolicy, "UpdateReplacePolicy": r.UpdateReplacePolicy,
			"Metadata": tree{"checkov": tree{"skip": skips[id]}},
		}
	}
	text, err := json.MarshalIndent(tree{"AWSTemplateFormatVersion": "2010-09-09", "Resources": all}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), strings.TrimSuffix(file, ".yaml")+".json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEverySuppressionHasItsReason: and nothing is suppressed from outside the templates.
func TestEverySuppressionHasItsReason(t *testing.T) {
	reason := regexp.MustCompile(`^# checkov:skip=CKV_[A-Z0-9_]+: \S.{20,}$`)
	found := 0
	for _, file := range templates(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if strings.Contains(line, "checkov:skip") {
				found++
				if !reason.MatchString(line) {
					t.Errorf("%s: a suppression without a reason: %s", file, line)
				}
			}
			if strings.Contains(line, "cfn-lint:") {
				t.Errorf("%s: cfn-lint is suppressed: %s", file, line)
			}
		}
	}
	if found == 0 {
		t.Error("no suppression was found: this test shows nothing")
	}
	for _, name := range []string{".checkov.yaml", ".checkov.yml", ".cfnlintrc", ".cfnlintrc.yaml", ".cfnlintrc.yml"} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			t.Errorf("%s may suppress without a reason beside it", name)
		}
	}
}

// kept are what of the tables, once deployed, must stay as it is: another value makes CloudFormation replace the table, and so
// begin with an empty one.
func kept(t testing.TB, s stack, replacing []string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for id, table := range s.of("AWS::DynamoDB::Table") {
		is := tree{"DeletionPolicy": table.DeletionPolicy, "UpdateReplacePolicy": table.UpdateReplacePolicy}
		for _, property := range append(replacing, "DeletionProtectionEnabled") {
			if value, has := table.Properties[property]; has {
				is[property] = value
			}
		}
		all[id] = is
	}
	return all
}

// replacing are the properties of a table that CloudFormation cannot change in place, as AWS's schema of the resource has them.
func replacing(t testing.TB) []string {
	t.Helper()
	script := `import json
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER
schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-west-2", "AWS::DynamoDB::Table").schema
print(json.dumps(schema.get("createOnlyProperties", []) + schema.get("conditionalCreateOnlyProperties", [])))`
	out, err := exec.CommandContext(t.Context(), variable(t, "LINT_PYTHON"), "-c", script).Output()
	if err != nil {
		t.Fatal(err)
	}
	var paths, is []string
	if err := json.Unmarshal(out, &paths); err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, "/properties/KeySchema") { // the schema leaves it out of both lists; the documentation does not
		is = append(is, strings.Split(path, "/")[2])
	}
	slices.Sort(is)
	return slices.Compact(is)
}

// TestNoChangeReplacesATable: testdata/tables.json is what is deployed. It changes with a migration, or never.
func TestNoChangeReplacesATable(t *testing.T) {
	text, err := os.ReadFile("testdata/tables.json")
	if err != nil {
		t.Fatal(err)
	}
	var deployed map[string]any
	if err := json.Unmarshal(text, &deployed); err != nil {
		t.Fatal(err)
	}
	properties := replacing(t)
	if !slices.Contains(properties, "TableName") || !slices.Contains(properties, "KeySchema") {
		t.Fatalf("what replaces a table: %v", properties)
	}
	compare := func(s stack) string {
		return cmp.Diff(deployed, kept(t, s, properties))
	}
	is := domain(t, "payments")
	if diff := compare(is); diff != "" {
		t.Errorf("this change would replace a table that is deployed, or let it be deleted (-deployed +now):\n%s", diff)
	}
	for what, change := range map[string]func(map[string]resource){
		"another name":       func(r map[string]resource) { r["ChangesTable"].Properties["TableName"] = "payments-changes" },
		"another key":        func(r map[string]resource) { r["ReportsTable"].Properties["KeySchema"] = []any{} },
		"another logical id": func(r map[string]resource) { r["Changes"] = r["ChangesTable"]; delete(r, "ChangesTable") },
		"no table any more":  func(r map[string]resource) { delete(r, "OperationsTable") },
		"deletion is no matter": func(r map[string]resource) {
			table := r["ChangesTable"]
			table.DeletionPolicy = "Delete"
			r["ChangesTable"] = table
		},
		"no protection": func(r map[string]resource) { r["ChangesTable"].Properties["DeletionProtectionEnabled"] = false },
	} {
		changed := domain(t, "payments")
		change(changed.resources)
		if compare(changed) == "" {
			t.Errorf("%s is not noticed", what)
		}
	}
}

// TestTheStackPolicyKeepsTables: CloudFormation itself refuses the same, also what somebody deploys past this repository.
func TestTheStackPolicyKeepsTables(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "infra", "stack-policy.json"))
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Statement []struct {
			Effect, Principal string
			Action            any
			Resource          string
			Condition         map[string]map[string][]string
		}
	}
	if err := json.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	if len(policy.Statement) != 2 || policy.Statement[0].Effect != "Allow" || policy.Statement[1].Effect != "Deny" {
		t.Fatalf("the stack policy is %+v", policy)
	}
	deny := policy.Statement[1]
	want := map[string]map[string][]string{"StringEquals": {"ResourceType": {"AWS::DynamoDB::Table"}}}
	if diff := cmp.Diff(want, deny.Condition); diff != "" || deny.Principal != "*" || deny.Resource != "*" {
		t.Errorf("what is denied (-want +got):\n%s%+v", diff, deny)
	}
	if diff := cmp.Diff([]any{"Update:Replace", "Update:Delete"}, deny.Action); diff != "" {
		t.Errorf("what is denied (-want +got):\n%s", diff)
	}
}

// TestTablesAreAsOperatingSays: the broadcaster's and the clients' code rest on these.
func TestTablesAreAsOperatingSays(t *testing.T) {
	tables := domain(t, "payments").of("AWS::DynamoDB::Table")
	if diff := cmp.Diff([]string{"ChangesTable", "OperationsTable", "ReportsTable"}, slices.Sorted(maps.Keys(tables))); diff != "" {
		t.Fatalf("tables (-want +got):\n%s", diff)
	}
	for id, table := range tables {
		p := table.Properties
		if p["BillingMode"] != "PAY_PER_REQUEST" || p["StreamSpecification"] != nil || p["GlobalSecondaryIndexes"] != nil {
			t.Errorf("%s is not on demand, or has a stream or an index: %v", id, p)
		}
		if diff := cmp.Diff(tree{"PointInTimeRecoveryEnabled": true}, p["PointInTimeRecoverySpecification"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		if ttl, has := p["TimeToLiveSpecification"]; has != (id == "ReportsTable") || has && ttl.(tree)["AttributeName"] != "ttl" {
			t.Errorf("%s expires by %v", id, ttl)
		}
	}
}
