//go:build !lambdaartifact

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// cli runs one command line.
func cli(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, stdio{in: strings.NewReader(""), out: &out, err: &errs, now: time.Now})
	return code, out.String(), errs.String()
}

func TestEveryCommandExplainsItself(t *testing.T) {
	var all strings.Builder
	for _, command := range append([]string{"", "help"}, below(newRoot(stdio{}), "")...) {
		args := strings.Fields(command + " --help")
		code, stdout, stderr := cli(t, args...)
		if code != exitDone || stderr != "" {
			t.Errorf("%v: exit code %d, stderr %q", args, code, stderr)
		}
		if !strings.Contains(stdout, "Examples:") {
			t.Errorf("%v shows no example", args)
		}
		all.WriteString("$ broadcaster " + strings.Join(args, " ") + "\n" + stdout + "\n")
		if command == "" {
			continue
		}
		if _, byHelp, _ := cli(t, append([]string{"help"}, strings.Fields(command)...)...); byHelp != stdout {
			t.Errorf("help %s differs from %s --help:\n%s", command, command, cmp.Diff(stdout, byHelp))
		}
	}
	golden(t, "help.golden", all.String())
}

// below returns all commands below one, each as it is typed.
func below(command *cobra.Command, path string) []string {
	var all []string
	for _, name := range names(command.Commands()) {
		sub, _, err := command.Find([]string{name})
		if err != nil {
			panic(err) // it has just named it
		}
		all = append(append(all, path+name), below(sub, path+name+" ")...)
	}
	return all
}

func TestWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		stderr string
	}{
		{"no command", nil, "broadcaster: a command is missing: see broadcaster help\n"},
		{"a mistyped command is suggested", []string{"verison"}, "broadcaster: unknown command \"verison\": did you mean version?\n"},
		{"a command like no other", []string{"rotate"}, "broadcaster: unknown command \"rotate\": see broadcaster help\n"},
		{"an unknown flag", []string{"version", "--jsn"}, "broadcaster: unknown flag: --jsn\n"},
		{"an argument too many", []string{"version", "now"}, "broadcaster: broadcaster version takes no argument, not \"now\"\n"},
		{"no subscriptions command", []string{"subscriptions"}, "broadcaster: a command is missing: see broadcaster help subscriptions\n"},
		{"a mistyped subscriptions command", []string{"subscriptions", "plam"}, "broadcaster: unknown command \"plam\": did you mean plan?\n"},
		{"a plan of nothing", []string{"subscriptions", "plan"}, "broadcaster: broadcaster subscriptions plan takes one manifest: name its file\n"},
		{"an apply of nothing", []string{"subscriptions", "apply", "--reason", "x"}, "broadcaster: broadcaster subscriptions apply takes one manifest, or --plan\n"},
		{"an apply of two things", []string{"subscriptions", "apply", "a.yaml", "--plan", "p", "--reason", "x"}, "broadcaster: broadcaster subscriptions apply takes one manifest, or --plan\n"},
		{"an apply without a reason", []string{"subscriptions", "apply", "a.yaml"}, "broadcaster: say why, with --reason: it is recorded\n"},
		{"a show of nothing", []string{"subscriptions", "show"}, "broadcaster: broadcaster subscriptions show takes a service's name, or a secret's\n"},
		{"a list of what", []string{"subscriptions", "list"}, "broadcaster: name the broadcaster with --env and --domain\n"},
		{"a validation of nothing", []string{"subscriptions", "validate"}, "broadcaster: broadcaster subscriptions validate takes manifests, or directories of them\n"},
		{"unknown annotations", []string{"subscriptions", "validate", "x", "--annotations", "gitlab"}, "broadcaster: --annotations is auto, github or none\n"},
		{"help for no command", []string{"help", "verison"}, "broadcaster: unknown command \"verison\": did you mean version?\n"},
		{"completion for no shell", []string{"completion"}, "broadcaster: name one shell: bash, zsh, fish, powershell\n"},
		{"completion for an unknown shell", []string{"completion", "csh"}, "broadcaster: unknown shell \"csh\": the shells are bash, zsh, fish, powershell\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := cli(t, c.args...)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, stdout %q; want %d and nothing", code, stdout, exitUsage)
			}
			if diff := cmp.Diff(c.stderr, stderr); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVersionNamesTheBuild(t *testing.T) {
	code, stdout, stderr := cli(t, "version", "--json")
	var is build
	if err := json.Unmarshal([]byte(stdout), &is); code != exitDone || stderr != "" || err != nil {
		t.Fatalf("exit code %d, stdout %q, stderr %q: %v", code, stdout, stderr, err)
	}
	if is.Version == "" || !strings.HasPrefix(is.Go, "go1.") {
		t.Errorf("version --json: got %+v", is)
	}
	if _, text, _ := cli(t, "version"); text != is.String()+"\n" {
		t.Errorf("version: got %q, want %q", text, is)
	}
}

func TestBuildAsText(t *testing.T) {
	for want, is := range map[string]build{
		"broadcaster (devel), revision unknown, go1.26.0":     {Version: "(devel)", Go: "go1.26.0"},
		"broadcaster v1.2.0, revision 77ab, go1.26.0":         {Version: "v1.2.0", Revision: "77ab", Go: "go1.26.0"},
		"broadcaster v1.2.0, revision 77ab (modified), go1.3": {Version: "v1.2.0", Revision: "77ab", Modified: true, Go: "go1.3"},
	} {
		if is.String() != want {
			t.Errorf("got %q, want %q", is, want)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	for shell, mark := range map[string]string{
		"bash": "complete -o default -F __start_broadcaster", "zsh": "#compdef broadcaster",
		"fish": "complete -c broadcaster", "powershell": "Register-ArgumentCompleter",
	} {
		if code, stdout, stderr := cli(t, "completion", shell); code != exitDone || stderr != "" || !strings.Contains(stdout, mark) {
			t.Errorf("%s: exit code %d, stderr %q, %d bytes of which none is %q", shell, code, stderr, len(stdout), mark)
		}
	}
}

func TestHelpCompletesCommands(t *testing.T) {
	_, stdout, _ := cli(t, "__complete", "help", "")
	if all := strings.Join(names(newRoot(stdio{}).Commands()), "\n"); !strings.HasPrefix(stdout, all+"\n") || !strings.Contains(all, "doctor") {
		t.Errorf("got %q", stdout)
	}
	if _, stdout, _ = cli(t, "__complete", "help", "version", ""); !strings.HasPrefix(stdout, ":") {
		t.Errorf("after a command there is nothing to complete, got %q", stdout)
	}
}

func TestTheBreaksAreCompleted(t *testing.T) {
	if _, stdout, _ := cli(t, "__complete", "demo", "--break", ""); !strings.HasPrefix(stdout, "no-check\npush-only\nttl-as-fallback\n:4") {
		t.Errorf("got %q", stdout)
	}
}
