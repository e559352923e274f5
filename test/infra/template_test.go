// Package infra holds the templates to what they promise: rules that match what the broadcaster wants, policies that allow what
// they must and no more, alarms with runbooks, a deployment that says what it does. Third parties' tools judge, where there are.
package infra

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const root = "../.."

const (
	account = "111122223333"
	region  = "eu-west-2"
)

// A tree is what JSON can say.
type tree = map[string]any

// A resource of a template, rendered.
type resource struct {
	Type, Condition, DeletionPolicy, UpdateReplacePolicy string
	Properties                                           tree
}

// A stack is a template rendered with its parameters.
type stack struct {
	resources map[string]resource
}

// template reads a template, with its short functions as the long ones.
func template(t testing.TB, file string) tree {
	t.Helper()
	parsed, err := parser.ParseFile(filepath.Join(root, "infra", file), 0)
	if err != nil || len(parsed.Docs) != 1 {
		t.Fatalf("reading %s: %v", file, err)
	}
	is, ok := plain(t, parsed.Docs[0].Body).(tree)
	if !ok {
		t.Fatalf("%s is no mapping", file)
	}
	return is
}

// plain returns a node as JSON would have it.
func plain(t testing.TB, n ast.Node) any {
	t.Helper()
	switch n := n.(type) {
	case *ast.MappingNode:
		is := tree{}
		for _, value := range n.Values {
			is[value.Key.String()] = plain(t, value.Value)
			if key, isText := value.Key.(*ast.StringNode); isText {
				delete(is, value.Key.String())
				is[key.Value] = plain(t, value.Value)
			}
		}
		return is
	case *ast.SequenceNode:
		is := []any{}
		for _, value := range n.Values {
			is = append(is, plain(t, value))
		}
		return is
	case *ast.TagNode:
		name, value := strings.TrimPrefix(n.Start.Value, "!"), plain(t, n.Value)
		switch path, isText := value.(string); {
		case name == "GetAtt" && isText:
			of, attribute, _ := strings.Cut(path, ".")
			return tree{"Fn::GetAtt": []any{of, attribute}}
		case name == "Ref", name == "Condition":
			return tree{name: value}
		default:
			return tree{"Fn::" + name: value}
		}
	case *ast.LiteralNode:
		return n.Value.Value
	case ast.ScalarNode:
		return n.GetValue()
	}
	t.Fatalf("%T of YAML is not known", n)
	return nil
}

// render returns a template's resources as CloudFormation would make them with these parameters, each of which is held to its
// constraints; the others have their defaults.
func render(t testing.TB, file string, parameters map[string]string) stack {
	t.Helper()
	r := &renderer{t: t, template: template(t, file), values: map[string]any{
		"AWS::AccountId": account, "AWS::Region": region, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": nothing{},
	}}
	for name, value := range parameters {
		if strings.HasPrefix(name, "AWS::") {
			r.values[name] = value
		}
	}
	for name, declared := range r.template["Parameters"].(tree) {
		r.values[name] = r.parameter(name, declared.(tree), parameters)
	}
	for name := range parameters {
		if _, known := r.values[name]; !known {
			t.Fatalf("%s has no parameter %s", file, name)
		}
	}
	is := stack{resources: map[string]resource{}}
	for id, declared := range r.template["Resources"].(tree) {
		if condition, has := declared.(tree)["Condition"]; has && !r.condition(condition.(string)) {
			continue
		}
		text, err := json.Marshal(r.value(declared))
		if err != nil {
			t.Fatal(err)
		}
		var one resource
		if err := json.Unmarshal(text, &one); err != nil {
			t.Fatal(err)
		}
		is.resources[id] = one
	}
	return is
}

// nothing is what AWS::NoValue leaves.
type nothing struct{}

type renderer struct {
	t        testing.TB
	template tree
	values   map[string]any
}

func (r *renderer) parameter(name string, declared tree, given map[string]string) any {
	r.t.Helper()
	value, isGiven := given[name]
	if !isGiven {
		initial, has := declared["Default"]
		if !has {
			r.t.Fatalf("the parameter %s has no default and is not given", name)
		}
		value = fmt.Sprint(initial)
	}
	items := []string{value}
	if declared["Type"] == "CommaDelimitedList" {
		items = strings.Split(value, ",")
	}
	for _, item := range items {
		if pattern, has := declared["AllowedPattern"]; has && !regexp.MustCompile(fmt.Sprintf("^(?:%s)$", pattern)).MatchString(item) {
			r.t.Fatalf("the parameter %s: %q is not of %s", name, item, pattern)
		}
	}
	if longest, has := declared["MaxLength"]; has && len(value) > int(longest.(uint64)) {
		r.t.Fatalf("the parameter %s: %q is too long", name, value)
	}
	if allowed, has := declared["AllowedValues"]; has && !slices.ContainsFunc(allowed.([]any), func(a any) bool { return fmt.Sprint(a) == value }) {
		r.t.Fatalf("the parameter %s: %q is none of %v", name, value, allowed)
	}
	if declared["Type"] == "CommaDelimitedList" {
		list := []any{}
		for _, item := range items {
			list = append(list, item)
		}
		return list
	}
	return value
}

func (r *renderer) condition(name string) bool {
	declared, has := r.template["Conditions"].(tree)[name]
	if !has {
		r.t.Fatalf("there is no condition %s", name)
	}
	return r.value(declared).(bool)
}

// value returns what a value is once its functions are called.
func (r *renderer) value(v any) any {
	r.t.Helper()
	switch v := v.(type) {
	case []any:
		is := []any{}
		for _, item := range v {
			if item = r.value(item); item != (nothing{}) {
				is = append(is, item)
			}
		}
		return is
	case tree:
		if len(v) == 1 {
			for name, of := range v {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") {
					return r.call(name, of)
				}
			}
		}
		is := tree{}
		for key, item := range v {
			if item = r.value(item); item != any(nothing{}) {
				is[key] = item
			}
		}
		return is
	default:
		return v
	}
}

func (r *renderer) call(name string, of any) any {
	r.t.Helper()
	switch name {
	case "Ref":
		return r.ref(of.(string))
	case "Fn::GetAtt":
		return r.attribute(of.([]any)[0].(string), of.([]any)[1].(string))
	case "Fn::Sub":
		return regexp.MustCompile(`\$\{([^}!]+)\}`).ReplaceAllStringFunc(of.(string), func(found string) string {
			is, attribute, isAttribute := strings.Cut(found[2:len(found)-1], ".")
			if isAttribute {
				return r.attribute(is, attribute)
			}
			return fmt.Sprint(r.ref(is))
		})
	case "Fn::If":
		branches := of.([]any)
		if r.condition(branches[0].(string)) {
			return r.value(branches[1])
		}
		return r.value(branches[2])
	case "Fn::Equals":
		two := of.([]any)
		return fmt.Sprint(r.value(two[0])) == fmt.Sprint(r.value(two[1]))
	case "Fn::Not":
		return !r.value(of.([]any)[0]).(bool)
	case "Fn::And":
		return !slices.Contains(r.value(of).([]any), any(false))
	case "Fn::Join":
		var parts []string
		for _, part := range r.value(of.([]any)[1]).([]any) {
			parts = append(parts, fmt.Sprint(part))
		}
		return strings.Join(parts, of.([]any)[0].(string))
	case "Fn::FindInMap":
		keys := of.([]any)
		row := r.template["Mappings"].(tree)[keys[0].(string)].(tree)[fmt.Sprint(r.value(keys[1]))]
		if row == nil {
			r.t.Fatalf("the mapping %s has no %v", keys[0], r.value(keys[1]))
		}
		return row.(tree)[keys[2].(string)]
	}
	r.t.Fatalf("the function %s is not known", name)
	return nil
}

// names are the properties that name a resource of a type, and the form of its ARN.
func names() map[string][2]string {
	return map[string][2]string{
		"AWS::DynamoDB::Table":        {"TableName", "dynamodb:%s:table/"},
		"AWS::SQS::Queue":             {"QueueName", "sqs:%s:"},
		"AWS::SNS::Topic":             {"TopicName", "sns:%s:"},
		"AWS::Lambda::Function":       {"FunctionName", "lambda:%s:function:"},
		"AWS::Events::Rule":           {"Name", "events:%s:rule/"},
		"AWS::IAM::Role":              {"RoleName", "iam::" + account + ":role/"},
		"AWS::IAM::ManagedPolicy":     {"ManagedPolicyName", "iam::" + account + ":policy/"},
		"AWS::Logs::LogGroup":         {"LogGroupName", "logs:%s:log-group:"},
		"AWS::S3::Bucket":             {"BucketName", "s3:::"},
		"AWS::CloudWatch::Alarm":      {"AlarmName", "cloudwatch:%s:alarm:"},
		"AWS::CloudWatch::Dashboard":  {"DashboardName", ""},
		"AWS::SecretsManager::Secret": {"Name", "secretsmanager:%s:secret:"},
	}
}

func (r *renderer) named(id string) (kind, name, arn string) {
	declared, has := r.template["Resources"].(tree)[id].(tree)
	kind, _ = declared["Type"].(string)
	is := names()[kind]
	if !has || is[0] == "" {
		r.t.Fatalf("the name of %s, a %s, is not known", id, kind)
	}
	name = fmt.Sprint(r.value(declared["Properties"].(tree)[is[0]]))
	in := fmt.Sprintf("%s:%s", r.values["AWS::Region"], r.values["AWS::AccountId"])
	return kind, name, fmt.Sprintf("arn:%s:%s", r.values["AWS::Partition"], strings.Replace(is[1], "%s", in, 1)) + name
}

func (r *renderer) ref(id string) any {
	r.t.Helper()
	if value, has := r.values[id]; has {
		return value
	}
	if alias := r.template["Resources"].(tree)[id].(tree); alias["Type"] == "AWS::Lambda::Alias" {
		p := alias["Properties"].(tree)
		return r.attribute(p["FunctionName"].(tree)["Ref"].(string), "Arn") + ":" + p["Name"].(string)
	}
	switch kind, name, arn := r.named(id); kind {
	case "AWS::SQS::Queue":
		return fmt.Sprintf("https://sqs.%s.%s/%s/%s", r.values["AWS::Region"], r.values["AWS::URLSuffix"], r.values["AWS::AccountId"], name)
	case "AWS::SNS::Topic", "AWS::IAM::ManagedPolicy":
		return arn
	case "AWS::SecretsManager::Secret":
		return arn + "-a1B2c3"
	default:
		return name
	}
}

func (r *renderer) attribute(id, attribute string) string {
	r.t.Helper()
	_, name, arn := r.named(id)
	switch attribute {
	case "Arn":
		return arn
	case "QueueName":
		return name
	}
	r.t.Fatalf("the attribute %s of %s is not known", attribute, id)
	return ""
}

// of returns the resources of a type, by their ids.
func (s stack) of(kind string) map[string]resource {
	is := map[string]resource{}
	for id, r := range s.resources {
		if r.Type == kind {
			is[id] = r
		}
	}
	return is
}

// domain renders domain.yaml for a domain of prod, with further parameters as name, value.
func domain(t testing.TB, name string, more ...string) stack {
	t.Helper()
	parameters := map[string]string{
		"Env": "prod", "Domain": name, "ArtifactBucket": "prod-secret-broadcaster-111122223333-eu-west-2", "ArtifactKey": "artifacts/0.zip",
		"CanaryArtifactKey": "artifacts/1.zip",
	}
	for i := 0; i+1 < len(more); i += 2 {
		parameters[more[i]] = more[i+1]
	}
	return render(t, "domain.yaml", parameters)
}

// variable returns what with-infra.sh sets.
func variable(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run `make test`, or this test with test/tools/with-infra.sh", name)
	}
	return value
}
