// Package docs holds the documentation to what it says: every command in it runs, every piece of code in it stands in a
// program that is compiled and tested, every link leads somewhere.
package docs

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const root = "../.."

// A block is a fenced one of a document.
type block struct{ at, language, text string }

// documents returns the path of every document, from the root.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."), entry.Name() == "node_modules", entry.Name() == "testdata":
			return fs.SkipDir
		case strings.HasSuffix(path, ".md"):
			all = append(all, path)
		}
		return nil
	})
	if err != nil || len(all) < 4 {
		t.Fatalf("finding documents: %v, %v", all, err)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns the fenced blocks of all documents in one language.
func blocks(t *testing.T, language string) []block {
	t.Helper()
	var all []block
	for _, path := range documents(t) {
		for i, b := range fenced(read(t, path)) {
			b.at = fmt.Sprintf("%s, block %d", path, i+1)
			if b.language == language {
				all = append(all, b)
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("no document has a block of %s: this test shows nothing", language)
	}
	return all
}

func fenced(text string) []block {
	var all []block
	for _, match := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		all = append(all, block{language: match[1], text: match[2]})
	}
	return all
}

func TestEveryBlockIsOfALanguageThatIsHeldToSomething(t *testing.T) {
	known := map[string]bool{"sh": true, "bash": true, "go": true, "ts": true, "yaml": true, "json": true, "text": true}
	for _, path := range documents(t) {
		for i, b := range fenced(read(t, path)) {
			if !known[b.language] {
				t.Errorf("%s, block %d is of %q: sh runs, bash is for an AWS account and held by test/infra to what the AWS CLI takes, go and ts stand in a program, yaml is a manifest, json parses, text is a drawing", path, i+1, b.language)
			}
		}
	}
}

// typescript is the document whose commands and ts blocks are followed in a project of their own, by its test in
// subscribers/node/test.
const typescript = "docs/subscribing.md"

// extension is the document whose ts blocks are synthesised by tests in subscribers/node/test, and whose yaml block is a SAM
// template, which test/infra lints.
const extension = "docs/extension.md"

func TestTypeScriptIsFollowedByItsOwnTest(t *testing.T) {
	tests := map[string]string{ // of each document that shows some
		typescript: "subscribing.test.ts", "subscribers/node/README.md": "subscribing.test.ts", "docs/events.md": "hint.test.ts", extension: "sst.test.ts",
	}
	for _, b := range blocks(t, "ts") {
		document, _, _ := strings.Cut(b.at, ",")
		if tests[document] == "" {
			t.Errorf("%s: no test of subscribers/node reads it", b.at)
		}
	}
	for _, document := range []string{typescript, "docs/events.md", extension} {
		if at := strings.ReplaceAll(document, "docs/", `"docs", "`) + `"`; !strings.Contains(read(t, "subscribers/node/test/"+tests[document]), at) {
			t.Errorf("%s does not read %s", tests[document], document)
		}
	}
	if !strings.Contains(read(t, "Makefile"), "npm test --prefix $(NODE)") {
		t.Error("make test does not run the tests of subscribers/node")
	}
}

// TestEveryCommandRuns runs each line of each sh block. Those that take minutes are make's own targets: they have to be
// there, and CI runs the one that it is about.
func TestEveryCommandRuns(t *testing.T) {
	// These want an AWS: hint_test.go and test/ops run them beside stand-ins.
	elsewhere := regexp.MustCompile(`^(aws events put-events|go run ./cmd/broadcaster (pause|resume|invalidate|replay|doctor|status|changes|missed|wait|audit)) `)
	long := regexp.MustCompile(`^make (test|mutants|bench|demo|fleet|kill|layer)( ARGS=\S+)?$`)
	seen := map[string]bool{}
	for _, b := range blocks(t, "sh") {
		if strings.HasPrefix(b.at, typescript) {
			continue
		}
		for command := range strings.Lines(b.text) {
			command = strings.TrimSpace(command)
			if command == "" || seen[command] || elsewhere.MatchString(command) {
				continue
			}
			seen[command] = true
			run := command
			if long.MatchString(command) {
				run = strings.Replace(command, "make", "make --dry-run", 1)
			}
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", run)
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", b.at, command, err, out)
			}
		}
	}
	if !seen["make test"] || !strings.Contains(read(t, ".ci/run"), "\nmake test\n") {
		t.Error("the documents' test command and what CI runs are not the same make test")
	}
}

func TestCodeStandsWordForWordInATestedProgram(t *testing.T) {
	var program string
	files, err := filepath.Glob("sample/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding the program: %v", err)
	}
	for _, file := range files {
		program += read(t, "test/docs/"+file)
	}
	for _, b := range blocks(t, "go") {
		if !strings.Contains(program, b.text) {
			t.Errorf("%s is not in test/docs/sample:\n%s", b.at, b.text)
		}
	}
}

func TestManifestsAreValid(t *testing.T) {
	for _, b := range blocks(t, "yaml") {
		if strings.HasPrefix(b.at, extension) {
			continue
		}
		if _, err := subscribers.LoadDir(fstest.MapFS{"block.yaml": {Data: []byte(b.text)}}, "."); err != nil {
			t.Errorf("%s: %v", b.at, err)
		}
	}
}

func TestJSONParses(t *testing.T) {
	for _, b := range blocks(t, "json") {
		if !json.Valid([]byte(b.text)) {
			t.Errorf("%s is not JSON", b.at)
		}
	}
}

// TestQuotedLogLinesAreInTheCode: what people search for has to be found.
func TestQuotedLogLinesAreInTheCode(t *testing.T) {
	var code strings.Builder
	for _, dir := range []string{"subscribers", "invalidation", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				text, err := os.ReadFile(path)
				code.Write(text)
				return err
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, table, ok := strings.Cut(read(t, "docs/go.md"), "| you see |")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1)
	if !ok || len(rows) == 0 {
		t.Fatal("docs/go.md has no table of what one sees")
	}
	for _, row := range rows {
		if !strings.Contains(code.String(), row[1]) {
			t.Errorf("nothing logs %q", row[1])
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	for _, path := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, path), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), match[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}
