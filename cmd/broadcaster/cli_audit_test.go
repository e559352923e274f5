//go:build !lambdaartifact

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// logOf writes what the broadcaster would have logged of all that is in the store, and returns the file.
func (p *past) logOf(t *testing.T) string {
	t.Helper()
	var lines strings.Builder
	for row, err := range p.Store.Rows(t.Context(), history.Span{}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, `{"time":%q,"msg":"appended","revision":%d,"hash":%q}`+"\n", row.Time.Format(time.RFC3339Nano), row.Revision, row.Hash)
	}
	file := filepath.Join(t.TempDir(), "log.jsonl")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// listsSecrets answers ListSecrets.
func listsSecrets(entries string) func(http.ResponseWriter, string, int) bool {
	return func(out http.ResponseWriter, action string, _ int) bool {
		if action != "secretsmanager:ListSecrets" {
			return false
		}
		out.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(out, `{"SecretList":[`+entries+`]}`)
		return true
	}
}

func TestTheEvidenceAsJSONIsAsDocumented(t *testing.T) {
	p := payments(t)
	by := "arn:aws:sts::111122223333:assumed-role/oncall/alice"
	err := p.Store.RecordCommand(t.Context(), invalidation.Command{
		Name: "replay", About: "ledger: 3, 4", By: by, Reason: "INC-4711: ledger is back", RequestID: "request-1", At: day("10:20:00"),
	})
	if err != nil {
		t.Fatal(err)
	}
	stdout, _ := p.show(t, example{command: "audit --json --since 20m --until 4m"})
	for line := range strings.Lines(stdout) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	generated(t, "../../docs/cli-json.md", "audit", "```text\n"+stdout+"```")

	p.now = day("10:29:50") // the command was not logged; that of its row is on its way
	stdout, _ = p.show(t, example{command: "audit verify --json --log " + p.logOf(t)})
	generated(t, "../../docs/cli-json.md", "audit-verify", "```json\n"+stdout+"```")

	p.answer = listsSecrets(`{"Name":"/bank/prod/payments/neon/connection-string","RotationEnabled":true,"LastRotatedDate":1795428000,"NextRotationDate":1795500000},
		{"Name":"/bank/prod/payments/stripe/api-key"}`)
	stdout, _ = p.show(t, example{command: "audit rotation --json"})
	generated(t, "../../docs/cli-json.md", "audit-rotation", "```json\n"+stdout+"```")
}

// TestAVerificationThatComparesNothingIsNotWell: of an empty log, or another one; and a domain without secrets is a mistake.
func TestAVerificationThatComparesNothingIsNotWell(t *testing.T) {
	p := payments(t)
	for name, content := range map[string]string{"empty": "", "another": "START RequestId: x\n{\"msg\":\"event\"}\n"} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout, stderr := p.show(t, example{command: "audit verify --log " + file, code: exitFailed})
		if !strings.HasPrefix(stdout, "not ok: 8 rows up to revision 8, ") || !strings.Contains(stderr, "none of these log lines says what was appended") {
			t.Errorf("%s: %s%s", name, stdout, stderr)
		}
	}
	if stdout, _ := p.show(t, example{command: "audit verify --log " + p.logOf(t)}); !strings.HasPrefix(stdout, "ok: 8 rows up to revision 8, ") {
		t.Errorf("of its own log: %s", stdout)
	}
	p.answer = listsSecrets("")
	if _, stderr := p.show(t, example{command: "audit rotation", code: exitFailed}); !strings.Contains(stderr, "no secret's name begins with /bank/prod/payments/") {
		t.Errorf("rotation without secrets: %s", stderr)
	}
}

func TestEvidenceAskedForInTheWrongWay(t *testing.T) {
	for command, want := range map[string]string{
		"audit --format pdf":               `there is no format "pdf": use jsonl, csv or html`,
		"audit --since 1h --until 2h":      "--since must be before --until",
		"audit --json --format csv":        "--json is --format jsonl",
		"audit verify now":                 "takes no argument",
		"audit rotation now":               "takes no argument",
		"audit everything":                 `unknown command "everything"`,
		"audit --since yesterday":          "must be how long ago, as 30m or 7d",
		"audit verify --log x --since 30m": "unknown flag: --since",
	} {
		if code, stdout, stderr := cli(t, strings.Fields(command+here)...); code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", command, code, stdout, stderr)
		}
	}
}
