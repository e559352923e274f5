package infra

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheSAMTemplateOfTheExtensionsDocument: cfn-lint transforms it as SAM does, and finds nothing; in one with a member that
// there is not, it finds that.
func TestTheSAMTemplateOfTheExtensionsDocument(t *testing.T) {
	_, after, _ := strings.Cut(string(fileIn(t, root, "docs/extension.md")), "**SAM.**")
	block := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindStringSubmatch(after)
	if block == nil {
		t.Fatal("docs/extension.md has no SAM template")
	}
	dir := t.TempDir()
	lint := func(name, template string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(template), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := linter(t, "cfn-lint", file, "--format", "parseable") // fails by what it finds
		return out
	}
	if out := lint("sam.yaml", block[1]); strings.TrimSpace(out) != "" {
		t.Errorf("cfn-lint: %s", out)
	}
	if out := lint("wrong.yaml", strings.Replace(block[1], "Layers:", "Layer:", 1)); !strings.Contains(out, "Layer") {
		t.Errorf("a member that there is not is not found: %s", out)
	}
}
