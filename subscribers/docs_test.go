package subscribers_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// section returns what stands below a heading of docs/subscriptions.md.
func section(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/subscriptions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/subscriptions.md has no section %q", heading)
	}
	before, _, _ := strings.Cut(after, "\n## ")
	return before
}

func TestTheDocumentsPatternsDoWhatItSays(t *testing.T) {
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+) \\| (.+) \\|$").FindAllStringSubmatch(section(t, "Patterns"), -1)
	if len(rows) < 5 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		s := subscribed(t, subscribers.Service{Name: "api", Secrets: []string{row[1]}})
		for column, want := range map[int]int{2: 1, 3: 0} {
			names := quoted.FindAllStringSubmatch(row[column], -1)
			if len(names) == 0 {
				t.Errorf("%s: column %d has no name", row[1], column)
			}
			for _, name := range names {
				if got := len(s.Match([]string{name[1]})); got != want {
					t.Errorf("%s and %s: %d matches, want %d", row[1], name[1], got, want)
				}
			}
		}
	}
}

func TestTheDocumentsErrorsAreReal(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```text\n(.*?)^```$").FindAllStringSubmatch(section(t, "When a manifest is refused"), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks, want the file and its errors", len(blocks))
	}
	_, err := load(blocks[0][1])
	if err == nil {
		t.Fatal("the file loads")
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(blocks[1][1]), "\n"), strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-documented +real)\n%s", diff)
	}
}

func TestTheDocumentNamesEveryField(t *testing.T) {
	text := section(t, "Fields")
	for _, name := range fieldNames(t) {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("%s is not described", name)
		}
	}
}

func TestTheDocumentsManifestLoads(t *testing.T) {
	text, err := os.ReadFile("../docs/subscriptions.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindSubmatch(text)
	if block == nil {
		t.Fatal("no manifest")
	}
	domains, err := subscribers.LoadDir(fstest.MapFS{"payments.yaml": {Data: block[1]}}, ".")
	if err != nil {
		t.Fatal(err)
	}
	got := services(domains[subscribers.Domain{Env: "prod", Name: "payments"}].Match([]string{"/bank/prod/payments/neon/password"}))
	if diff := cmp.Diff([]string{"payments-api", "payments-batch"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	schema := regexp.MustCompile(`\$schema=(\S+)`).FindSubmatch(block[1])
	if _, err := os.Stat("../docs/" + string(schema[1])); err != nil {
		t.Error(err)
	}
}
