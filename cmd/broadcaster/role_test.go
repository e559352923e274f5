package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A grant is one action on one resource.
type grant struct{ action, resource string }

const arnOf = "arn:aws:%s:eu-west-2:" + account + ":"

// grantsFor returns what AWS checks for a request.
func grantsFor(t *testing.T, r *http.Request, body string) []grant {
	t.Helper()
	inRegion := func(service, rest string) string { return strings.Replace(arnOf, "%s", service, 1) + rest }
	target, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var is struct {
		TableName, SecretID, QueueURL string
		RequestItems                  map[string]json.RawMessage
		TransactItems                 []map[string]struct{ TableName string }
	}
	if target != "" {
		if err := json.Unmarshal([]byte(body), &is); err != nil {
			t.Fatal(err)
		}
	}
	switch {
	case strings.HasPrefix(target, "DynamoDB_"):
		var all []grant
		table := func(action, name string) {
			all = append(all, grant{"dynamodb:" + action, inRegion("dynamodb", "table/"+name)})
		}
		for name := range is.RequestItems {
			table(operation, name)
		}
		for _, item := range is.TransactItems {
			for part, of := range item {
				table(map[string]string{"Put": "PutItem", "ConditionCheck": "ConditionCheckItem", "Delete": "DeleteItem", "Update": "UpdateItem"}[part], of.TableName)
			}
		}
		if is.TableName != "" {
			table(operation, is.TableName)
		}
		return all
	case operation == "ListSecrets":
		return []grant{{"secretsmanager:ListSecrets", "*"}}
	case target == "secretsmanager":
		return []grant{{"secretsmanager:" + operation, inRegion("secretsmanager", "secret:"+is.SecretID+"-a1B2c3")}}
	case target == "AmazonSQS":
		return []grant{{"sqs:" + operation, inRegion("sqs", path.Base(is.QueueURL))}}
	}
	for part, action := range map[string]string{
		"/invocations": "InvokeFunction", "/configuration": "GetFunctionConfiguration", "/aliases/": "GetAlias", "/tags/": "ListTags",
	} {
		if strings.Contains(r.URL.Path, part) {
			return []grant{{"lambda:" + action, functionARN}}
		}
	}
	t.Fatalf("what is checked for %s %s is not known", r.Method, r.URL)
	return nil
}

// texts reads what IAM lets be a string or a list of them.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (x *texts) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*x = make(texts, 1)
		return json.Unmarshal(data, &(*x)[0])
	}
	return json.Unmarshal(data, (*[]string)(x))
}

// documentedRole returns what the role in docs/operating.md allows. The resources may end with *.
func documentedRole(t *testing.T) map[grant]bool {
	t.Helper()
	document, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(document), "```json\n")
	block, _, _ = strings.Cut(block, "```")
	var policy struct {
		Statement []struct {
			Effect           string
			Action, Resource texts
		}
	}
	if err := json.Unmarshal([]byte(block), &policy); err != nil {
		t.Fatal(err)
	}
	all := map[grant]bool{}
	for _, s := range policy.Statement {
		for _, action := range s.Action {
			for _, resource := range s.Resource {
				if s.Effect == "Allow" {
					all[grant{action, resource}] = true
				}
			}
		}
	}
	return all
}

func (g grant) covers(asked grant) bool {
	prefix, open := strings.CutSuffix(g.resource, "*")
	return g.action == asked.action && (g.resource == asked.resource || open && strings.HasPrefix(asked.resource, prefix))
}

// TestTheDocumentedRoleAllowsWhatIsCalledAndNoMore: on each table, queue, secret and function, from the first tick to a
// delivery that is resumed.
func TestTheDocumentedRoleAllowsWhatIsCalledAndNoMore(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		role := documentedRole(t)
		unused := maps.Clone(role)
		var mu sync.Mutex
		down := false
		l.on(func(w *world) {
			w.onCall = func(r *http.Request, _, body string) *refusal {
				mu.Lock()
				defer mu.Unlock()
				for _, asked := range grantsFor(t, r, body) {
					allowed := false
					for g := range role {
						if g.covers(asked) {
							allowed = true
							delete(unused, g)
						}
					}
					if !allowed {
						t.Errorf("%s on %s is called and not allowed", asked.action, asked.resource)
					}
				}
				if down && strings.HasSuffix(r.URL.Path, "/invocations") {
					return &refusal{http.StatusTooManyRequests, "TooManyRequestsException"}
				}
				return nil
			}
		})
		l.put(t, neon, "one")
		l.receive(messages(tick))
		l.receive(messages(moved(neon, l.put(t, neon, "two"))))
		mu.Lock()
		down = true
		mu.Unlock()
		l.receive(messages(moved(neon, l.put(t, neon, "three"))))
		if len(l.resumes) != 1 {
			t.Fatalf("%d messages to ourselves, want 1", len(l.resumes))
		}
		mu.Lock()
		down = false
		mu.Unlock()
		time.Sleep(l.resumes[0].after)
		l.receive(messages(l.resumes[0].body))
		for _, elsewhere := range []string{
			"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", // the event source calls them
			"lambda:GetAlias", // the subscription names no alias
		} {
			maps.DeleteFunc(unused, func(g grant, _ bool) bool { return g.action == elsewhere })
		}
		if left := slices.Collect(maps.Keys(unused)); len(left) > 0 {
			t.Errorf("allowed and never called: %v", left)
		}
	})
}
