//go:build !lambdaartifact

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const here = " --env prod --domain payments"

// An example is a command whose output a document shows.
type example struct {
	part, command string
	code          int
	lines         int // after so many it is ended by Ctrl-C; 0: it ends by itself
}

// onCall are what docs/on-call.md shows, and cliJSON what docs/cli-json.md does.
func onCall() []example {
	return []example{
		{part: "status", command: "status"},
		{part: "status-secret", command: "status neon/connection-string"},
		{part: "status-service", command: "status --service payments-api"},
		{part: "status-at", command: "status neon/connection-string --at 2026-11-23T10:00:00Z"},
		{part: "changes", command: "changes --since 2h"},
		{part: "missed", command: "missed --since 2h"},
		{part: "wait", command: "wait stripe/api-key"},
		{part: "wait-missing", command: "wait neon/connection-string", code: exitNotYet},
		{part: "tail", command: "tail --last 3", lines: 5},
	}
}

func cliJSON() []example {
	return []example{
		{part: "status", command: "status --json"},
		{part: "status-secret", command: "status neon/connection-string --json"},
		{part: "status-service", command: "status --service ledger --json"},
		{part: "status-at", command: "status neon/connection-string --at 2026-11-23T10:00:00Z --json"},
		{part: "changes", command: "changes --since 20m --until 5m --json"},
		{part: "missed", command: "missed --since 2h --json"},
		{part: "wait", command: "wait stripe/api-key --json"},
		{part: "tail", command: "tail --last 1 --json", lines: 2},
	}
}

func TestOnCallShowsWhatTheCommandsPrint(t *testing.T) {
	p := payments(t)
	for _, s := range onCall() {
		stdout, stderr := p.show(t, s)
		for line := range strings.Lines(stdout) {
			if n := utf8.RuneCountInString(line); n > 101 && strings.Contains(line, "  ") && !strings.HasPrefix(line, "  aws ") && !strings.Contains(line, ": ") {
				t.Errorf("%s: a table's line has %d columns: %s", s.command, n-1, line)
			}
		}
		generated(t, "../../docs/on-call.md", s.part, "```text\n$ broadcaster "+s.command+here+"\n"+stdout+stderr+"```")
	}
	p.wantPolicy(t)
}

// TestOnCallShowsWhatOrdersPrint: of what writes, what the deployed broadcaster has answered in test/ops.
func TestOnCallShowsWhatOrdersPrint(t *testing.T) {
	for _, s := range []example{
		{part: "replay", command: "replay --secret neon/connection-string --revision 4 --reason 'INC-4711: payments-api is back'"},
		{part: "replay-dlq", command: "replay --from dlq --reason INC-4711"},
		{part: "replay-archive", command: "replay --from archive --since 1h --reason 'INC-4711: the rule was off'"},
		{part: "invalidate-moved", command: "invalidate neon/connection-string --reason 'INC-4711: it was in a log'"},
	} {
		stdout, err := os.ReadFile("../../test/ops/testdata/" + s.part + ".golden")
		if err != nil {
			t.Fatal(err)
		}
		generated(t, "../../docs/on-call.md", s.part, "```text\n$ broadcaster "+s.command+here+"\n"+string(stdout)+"```")
	}
}

func TestTheJSONIsAsDocumented(t *testing.T) {
	p := payments(t)
	for _, s := range cliJSON() {
		stdout, _ := p.show(t, s)
		language := "json"
		if s.lines > 0 {
			language = "text" // an object a line
			for line := range strings.Lines(stdout) {
				if !json.Valid([]byte(line)) {
					t.Errorf("%s: no JSON: %s", s.command, line)
				}
			}
		}
		generated(t, "../../docs/cli-json.md", s.part, "```"+language+"\n"+stdout+"```")
	}
}

// wantPolicy: the policy that docs/on-call.md shows is what the commands ask AWS for.
func (p *past) wantPolicy(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("../../docs/on-call.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```json\n")
	block, _, _ := strings.Cut(rest, "```")
	var allowed []string
	for _, match := range regexp.MustCompile(`"(\w+:[A-Z]\w+)"`).FindAllStringSubmatch(block, -1) {
		allowed = append(allowed, match[1])
	}
	slices.Sort(allowed)
	if diff := cmp.Diff(slices.Compact(allowed), slices.Sorted(maps.Keys(p.asked))); diff != "" {
		t.Errorf("docs/on-call.md's policy (-allowed +asked):\n%s", diff)
	}
}

// show runs a command as somebody on call does.
func (p *past) show(t *testing.T, s example) (stdout, stderr string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out, errs := &interrupting{lines: s.lines, stop: stop}, &bytes.Buffer{}
	code := run(ctx, strings.Fields(s.command+here), stdio{in: strings.NewReader(""), out: out, err: errs, now: func() time.Time { return p.now }})
	if code != s.code {
		t.Errorf("%s: exit code %d, want %d: %s", s.command, code, s.code, errs)
	}
	return out.String(), errs.String()
}

// interrupting stops whoever writes to it after a number of lines.
type interrupting struct {
	bytes.Buffer
	lines int
	stop  func()
}

// Write implements io.Writer.
func (e *interrupting) Write(text []byte) (int, error) {
	n, err := e.Buffer.Write(text)
	if e.lines > 0 && bytes.Count(e.Bytes(), []byte("\n")) >= e.lines {
		e.stop()
	}
	return n, err
}
