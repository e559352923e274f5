package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCallOfAWSIsPermitted: what the broadcaster calls stands in docs/operating.md.
func TestEveryCallOfAWSIsPermitted(t *testing.T) {
	document := read(t, "docs/operating.md")
	named := map[string]string{"Invoke": "InvokeFunction", "TransactWriteItems": "ConditionCheckItem"}
	call := regexp.MustCompile(`client\.([A-Z][A-Za-z]+)\(ctx, &|New(Query|ListSecrets)Paginator\(`)
	calls := 0
	for service, folder := range map[string]string{"dynamodb": "dynamodb", "lambda": "lambda", "secretsmanager": "secretsmanager", "sqs": "sqs"} {
		files, err := filepath.Glob(filepath.Join(root, "invalidation", folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no code of %s: %v", folder, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range call.FindAllStringSubmatch(string(text), -1) {
				action := match[1] + match[2]
				if other := named[action]; other != "" {
					action = other
				}
				calls++
				if !strings.Contains(document, "`"+service+":"+action+"`") {
					t.Errorf("%s calls %s:%s, which docs/operating.md does not permit", file, service, action)
				}
			}
		}
	}
	if calls < 10 {
		t.Errorf("only %d calls were found", calls)
	}
}
