package docs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// called returns the IAM actions that the calls of AWS's SDK in the broadcaster's edges need.
func called(t *testing.T) []string {
	t.Helper()
	// What is checked under another name than that of the call. A transaction is checked by its parts.
	others := map[string]string{"lambda:Invoke": "lambda:InvokeFunction", "dynamodb:TransactWriteItems": ""}
	parts := map[string]string{"Put": "PutItem", "ConditionCheck": "ConditionCheckItem", "Delete": "DeleteItem", "Update": "UpdateItem"}
	call := regexp.MustCompile(`\bclient\.([A-Z]\w+)\(ctx|\bNew(\w+)Paginator\(`)
	part := regexp.MustCompile(`&types\.(Put|ConditionCheck|Delete|Update)\{`)
	var actions []string
	for _, service := range []string{"dynamodb", "lambda", "secretsmanager", "sqs"} {
		files, err := filepath.Glob(filepath.Join(root, "invalidation", service, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("finding the edge %s: %v", service, err)
		}
		before := len(actions)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range call.FindAllStringSubmatch(string(code), -1) {
				action := service + ":" + match[1] + match[2]
				if other, is := others[action]; is {
					action = other
				}
				actions = append(actions, action)
			}
			for _, match := range part.FindAllStringSubmatch(string(code), -1) {
				actions = append(actions, service+":"+parts[match[1]])
			}
		}
		if len(actions) == before {
			t.Errorf("no call of %s was found: this test shows nothing", service)
		}
	}
	return sorted(actions)
}

func sorted(actions []string) []string {
	actions = slices.DeleteFunc(actions, func(a string) bool { return a == "" })
	slices.Sort(actions)
	return slices.Compact(actions)
}

// oneOrMore reads what IAM lets be a string or a list of them.
type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMore) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*o = make(oneOrMore, 1)
		return json.Unmarshal(data, &(*o)[0])
	}
	return json.Unmarshal(data, (*[]string)(o))
}

type statement struct {
	Sid, Effect      string
	Action, Resource oneOrMore
	Condition        map[string]map[string]string
}

// policy returns the statements of the function's role.
func policy(t *testing.T) []statement {
	t.Helper()
	for _, b := range fenced(read(t, "docs/operating.md")) {
		if b.language == "json" {
			var is struct{ Statement []statement }
			if err := json.Unmarshal([]byte(b.text), &is); err != nil || len(is.Statement) == 0 {
				t.Fatalf("reading the policy: %v", err)
			}
			return is.Statement
		}
	}
	t.Fatal("docs/operating.md has no policy")
	return nil
}

// TestTheRoleIsWhatTheCodeCalls: no action too few, none too many.
func TestTheRoleIsWhatTheCodeCalls(t *testing.T) {
	var allowed []string
	for _, s := range policy(t) {
		if s.Effect == "Allow" {
			allowed = append(allowed, s.Action...)
		}
	}
	ofEventSource := []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
	if diff := cmp.Diff(sorted(append(ofEventSource, called(t)...)), sorted(allowed)); diff != "" {
		t.Errorf("docs/operating.md (-called +allowed):\n%s", diff)
	}
}

func TestTheRoleIsAsNarrowAsAWSAllows(t *testing.T) {
	denied := []string{}
	for _, s := range policy(t) {
		switch {
		case s.Effect == "Deny":
			if !slices.Equal(s.Resource, []string{"*"}) || len(s.Condition) > 0 {
				t.Errorf("%s denies less than everything", s.Sid)
			}
			denied = append(denied, s.Action...)
		case slices.Contains(s.Resource, "*") && !slices.Equal(s.Action, []string{"secretsmanager:ListSecrets"}):
			t.Errorf("%s is about everything", s.Sid)
		case strings.HasPrefix(s.Action[0], "lambda:"):
			want := map[string]map[string]string{"StringEquals": {
				"aws:ResourceTag/secret-broadcaster:push": "true", "aws:ResourceTag/secret-broadcaster:env": "prod", "aws:ResourceTag/secret-broadcaster:domain": "payments",
			}}
			if diff := cmp.Diff(want, s.Condition); diff != "" {
				t.Errorf("%s (-want +got):\n%s", s.Sid, diff)
			}
		}
	}
	for _, action := range []string{"secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:DeleteSecret"} {
		if !slices.Contains(denied, action) {
			t.Errorf("%s is not denied", action)
		}
	}
}
