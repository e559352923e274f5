//go:build !lambdaartifact

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/demo"
)

// built returns the path of this program, built for a test.
func built(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "broadcaster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return program
}

// played is what one run of the demo came to.
type played struct {
	code           int
	report         demo.Report
	stdout, stderr string
}

func play(t *testing.T, program string, args ...string) played {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, append([]string{"demo"}, args...)...)
	cmd.Dir = "../.." // where --node finds the Node client
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	p := played{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
	if strings.HasPrefix(p.stdout, "{") {
		if err := json.Unmarshal(stdout.Bytes(), &p.report); err != nil {
			t.Fatalf("decoding the report: %v", err)
		}
	}
	return p
}

// failed returns the statements that did not hold, with their guarantees.
func (p played) failed() []string {
	var all []string
	for _, v := range p.report.Verdicts {
		if !v.Held {
			all = append(all, v.Guarantee+" "+v.Statement)
		}
	}
	return all
}

func TestTheDemoSaysWhichDirectoryItCannotUse(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	t.Setenv("TMPDIR", missing)
	code, stdout, stderr := cli(t, "demo")
	if code != exitFailed || stdout != "" || !strings.HasPrefix(stderr, "broadcaster: making a temporary directory: ") ||
		!strings.Contains(stderr, missing) || !strings.HasSuffix(stderr, ": name another place with --dir\n") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestTheDemoShowsThatEveryGuaranteeHolds(t *testing.T) {
	program := built(t)
	for _, c := range []struct {
		name string
		args []string
		want func(t *testing.T, r demo.Report)
	}{
		{"as it comes", nil, func(t *testing.T, r demo.Report) {
			wantCount(t, "environments that had the old version", r.Worlds[0].Held, 12)
			if r.CheckEverySeconds != 2 {
				t.Errorf("CheckEvery is %v s, want 2", r.CheckEverySeconds)
			}
		}},
		{"with every push lost", []string{"--drop-pushes"}, func(t *testing.T, r demo.Report) {
			for _, w := range r.Worlds[:2] {
				wantCount(t, "pushes that arrived, "+w.Title, w.PushesArrived, 0)
			}
			for _, e := range r.Worlds[0].Environments {
				if !strings.HasPrefix(e.Learned, "log") {
					t.Errorf("%s learned by %q, want the log", e.Environment, e.Learned)
				}
			}
		}},
		{"with the broadcaster killed", []string{"--kill-broadcaster"}, func(t *testing.T, r demo.Report) {
			if !strings.Contains(r.Verdicts[len(r.Verdicts)-3].Statement, "killed") {
				t.Errorf("no verdict says that it was killed: %+v", r.Verdicts)
			}
			if w := r.Worlds[0]; w.Pushes <= w.PushesArrived {
				t.Errorf("%d pushes tried, %d arrived: none was lost with the broadcaster", w.Pushes, w.PushesArrived)
			}
		}},
		{"with a TypeScript function", []string{"--node"}, func(t *testing.T, r demo.Report) {
			wantCount(t, "environments that had the old version", r.Worlds[0].Held, 16)
			wantCount(t, "environments with TTL only", r.Worlds[2].Held, 16)
			ofNode := 0
			for _, e := range r.Worlds[0].Environments {
				if e.Function == "payments-node" && e.Learned != "" && e.NewFirstSeconds != nil {
					ofNode++
				}
			}
			wantCount(t, "environments of the TypeScript function that learned of it", ofNode, 4)
		}},
		{"with a Python function behind the extension", []string{"--python"}, func(t *testing.T, r demo.Report) {
			wantCount(t, "environments that had the old version", r.Worlds[0].Held, 16)
			wantCount(t, "environments with TTL only", r.Worlds[2].Held, 12)
			ofPython := 0
			for _, e := range r.Worlds[0].Environments {
				if e.Function == "payments-python" && strings.HasPrefix(e.Learned, "log") {
					ofPython++
				}
			}
			wantCount(t, "environments of the Python function that learned of it by the log", ofPython, 4)
		}},
		{
			"of another size",
			[]string{"--functions", "2", "--environments", "3", "--check-every", "1s"},
			func(t *testing.T, r demo.Report) {
				wantCount(t, "environments that had the old version", r.Worlds[0].Held, 3)
				if r.CheckEverySeconds != 1 {
					t.Errorf("CheckEvery is %v s, want 1", r.CheckEverySeconds)
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := play(t, program, append(c.args, "--json")...)
			if p.code != exitDone || !p.report.OK || len(p.failed()) > 0 {
				t.Fatalf("exit code %d, these did not hold: %q\n%s", p.code, p.failed(), p.stderr)
			}
			log, push, ttl := p.report.Worlds[0], p.report.Worlds[1], p.report.Worlds[2]
			wantCount(t, "current, push and log", log.Current, log.Held)
			wantCount(t, "current, TTL only", ttl.Current, 0)
			if push.Current >= push.Held {
				t.Errorf("push only: %d of %d are current, want some stale", push.Current, push.Held)
			}
			c.want(t, p.report)
		})
	}
}

func wantCount(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

func TestTheDemoNoticesABrokenClient(t *testing.T) {
	program := built(t)
	for broken, want := range map[demo.Break]string{
		demo.NoCheck:       "G1 every environment",
		demo.PushOnly:      "G1 every environment",
		demo.TTLAsFallback: "G1 a change whose event is lost",
	} {
		t.Run(string(broken), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "kept")
			p := play(t, program, "--break", string(broken), "--json", "--dir", dir)
			failed := p.failed()
			if p.code != exitFailed || p.report.OK || len(failed) == 0 || !strings.HasPrefix(failed[0], want) {
				t.Errorf("exit code %d, these did not hold: %q, want %q", p.code, failed, want)
			}
			if want := "broadcaster: something did not hold: logs and tables are in " + dir + "\n"; !strings.HasSuffix(p.stderr, want) {
				t.Errorf("stderr ends in %q, want %q", p.stderr[max(0, len(p.stderr)-len(want)):], want)
			}
		})
	}
}

// TestTheDemoForPeople reads what a person sees, and looks for the files in --dir.
func TestTheDemoForPeople(t *testing.T) {
	dir := t.TempDir()
	p := play(t, built(t), "--functions", "2", "--environments", "2", "--check-every", "500ms", "--dir", dir)
	if p.code != exitDone {
		t.Fatalf("exit code %d\n%s%s", p.code, p.stdout, p.stderr)
	}
	for _, want := range []string{
		`(?m)^  environment +pid +when pushed +old last +new first +after append +learned by +push only +TTL only$`,
		`(?m)^  payments-1#1 +\d+ +(frozen|running) +[-+]\d+\.\d\d +[-+]\d+\.\d\d +\+\d+\.\d\d +(push|log|log at thaw) .*stale$`,
		`(?m)^  push and log +2 of 2 +\(\d pushes tried, \d arrived\)$`,
		`(?m)^  ok   G1  every environment serves the new version at each read later than 500ms after the append: 2 of 2 environments$`,
	} {
		if !regexp.MustCompile(want).MatchString(p.stdout) {
			t.Errorf("no line is like %s in\n%s", want, p.stdout)
		}
	}
	if !regexp.MustCompile(`(?m)^ +\d\.\ds  rotating /bank/demo/payments/neon/connection-string`).MatchString(p.stderr) {
		t.Errorf("no progress in\n%s", p.stderr)
	}
	if canary := regexp.MustCompile(`canary-[0-9a-f]{4}`); canary.MatchString(p.stdout + p.stderr) {
		t.Error("a secret value was printed")
	}
	for _, file := range []string{"log/tables/tables.journal", "log/broadcasters-calls.jsonl", "push-only/invocations.jsonl", "ttl-only/payments.yaml", "log/logs/demo-payments-broadcaster-1.log"} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, want something in it", file, err)
		}
	}
}

func TestWrongDemoFlags(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "theirs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, problem string
		args          []string
	}{
		{"too few functions", "--functions must be 2 to 20, not 1", []string{"--functions", "1"}},
		{"too many environments", "--environments must be 2 to 20, not 21", []string{"--environments", "21"}},
		{
			"too many processes", "--functions times --environments must be at most 100, not 400: each is a process in each of three worlds",
			[]string{"--functions", "20", "--environments", "20"},
		},
		{"a CheckEvery that is too short", "--check-every must be 500ms to 1m, not 1ms", []string{"--check-every", "1ms"}},
		{"an unknown break", `--break must be no-check, push-only or ttl-as-fallback, not "all"`, []string{"--break", "all"}},
		{
			"a broken client with TypeScript", "--node and --break do not go together: only the Go function has broken clients",
			[]string{"--node", "--break", "no-check"},
		},
		{
			"a broken client with Python", "--python and --break do not go together: only the Go function has broken clients",
			[]string{"--python", "--break", "no-check"},
		},
		{"a directory with something in it", "--dir " + full + " is not empty: name a new directory, or empty it", []string{"--dir", full}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := cli(t, append([]string{"demo"}, c.args...)...)
			if want := "broadcaster: " + c.problem + "\n"; code != exitUsage || stdout != "" || stderr != want {
				t.Errorf("exit code %d, stdout %q, stderr %q, want 2, none and %q", code, stdout, stderr, want)
			}
		})
	}
}

// TestTheDemoSaysWhatTypeScriptNeeds where it is missing, and leaves no directory behind.
func TestTheDemoSaysWhatTypeScriptNeeds(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("this test needs Node: %v", err)
	}
	// A directory in the place of the project's root, with as much of the Node client's package as the names say.
	root := func(t *testing.T, files ...string) string {
		dir := t.TempDir()
		for _, file := range files {
			path := filepath.Join(dir, "subscribers", "node", file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte("{}"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	old := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho v18.20.4\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, root, problem string }{
		{"no Node", t.TempDir(), root(t), "there is no node on the PATH: install Node 20 or later"},
		{"an old Node", filepath.Dir(old), root(t), old + " is v18.20.4: install Node 20 or later"},
		{"elsewhere", filepath.Dir(node), root(t), "the Node client is not in ./subscribers/node: run the demo in the project's root"},
		{
			"nothing installed", filepath.Dir(node), root(t, "package.json"),
			"the Node client is not built, ./subscribers/node/node_modules/esbuild/bin/esbuild is missing: run npm ci && npm run build in ./subscribers/node",
		},
		{
			"not built", filepath.Dir(node), root(t, "package.json", "node_modules/esbuild/bin/esbuild"),
			"the Node client is not built, ./subscribers/node/dist/esm/index.js is missing: run npm ci && npm run build in ./subscribers/node",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			temporary := t.TempDir()
			t.Setenv("TMPDIR", temporary)
			t.Setenv("PATH", c.path)
			t.Chdir(c.root)
			code, stdout, stderr := cli(t, "demo", "--node")
			want := "broadcaster: --node cannot be played: " + strings.ReplaceAll(c.problem, "./", c.root+"/") + "\n"
			if code != exitFailed || stdout != "" || stderr != want {
				t.Errorf("exit code %d, stdout %q, stderr %q, want 1, none and %q", code, stdout, stderr, want)
			}
			if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// TestTheDemoSaysWhatPythonNeeds where it is missing, and leaves no directory behind.
func TestTheDemoSaysWhatPythonNeeds(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("this test needs Python: %v", err)
	}
	old := filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho too old\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, problem string }{
		{"no Python", t.TempDir(), "there is no python3 on the PATH: install Python 3, nothing else is needed"},
		{"an old Python", filepath.Dir(old), old + " does not run or is older than Python 3.8: exit status 1 too old"},
		{"elsewhere", filepath.Dir(python) + ":" + os.Getenv("PATH"), "the extension's source is not in subscribers/extension: run the demo in the project's root"},
	} {
		t.Run(c.name, func(t *testing.T) {
			temporary := t.TempDir()
			t.Setenv("TMPDIR", temporary)
			t.Setenv("PATH", c.path)
			t.Chdir(t.TempDir())
			code, stdout, stderr := cli(t, "demo", "--python")
			want := "broadcaster: --python cannot be played: " + c.problem + "\n"
			if code != exitFailed || stdout != "" || stderr != want {
				t.Errorf("exit code %d, stdout %q, stderr %q, want 1, none and %q", code, stdout, stderr, want)
			}
			if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// TestAnInterruptedDemoEndsEveryProcess types Ctrl-C in the middle of the story.
func TestAnInterruptedDemoEndsEveryProcess(t *testing.T) {
	program := built(t)
	cmd := exec.CommandContext(t.Context(), program, "demo", "--functions", "2", "--environments", "2")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, last := bufio.NewScanner(stderr), ""
	for said.Scan() {
		last = said.Text()
		if strings.Contains(last, "letting CheckEvery pass") {
			if len(processesOf(t, program)) < 3 {
				t.Error("the functions' processes were not found: this test cannot tell whether they end")
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.HasPrefix(last, "broadcaster: interrupted after ") {
		t.Errorf("exit code %d, the last line is %q", code, last)
	}
	if left := processesOf(t, program); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

// processesOf returns the processes that run a program.
func processesOf(t *testing.T, program string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil || len(links) == 0 {
		t.Fatalf("listing processes: %v", err)
	}
	var pids []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == program {
			pids = append(pids, fmt.Sprint(filepath.Base(filepath.Dir(link))))
		}
	}
	return pids
}
