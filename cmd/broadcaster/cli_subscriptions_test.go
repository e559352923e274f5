//go:build !lambdaartifact

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// manifestFiles writes files below a directory, which it returns.
func manifestFiles(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestValidate(t *testing.T) {
	t.Setenv("GITHUB_ACTIONS", "")
	kyc := strings.Replace(packagedManifest, "domain: payments", "domain: kyc", 1)
	dir := manifestFiles(t, map[string]string{
		"right/prod/payments.yaml":     packagedManifest,
		"right/prod/kyc.yml":           kyc,
		"right/README.md":              "# no manifest",
		"right/.github/workflow.yaml":  "on: push",
		"twice/a.yaml":                 packagedManifest,
		"twice/deeper/b.yaml":          packagedManifest,
		"wrong/prod/50%,:payments.yml": strings.Replace(packagedManifest, "neon/*", "/neon/*", 1),
		"none/README.md":               "# no manifest",
	})
	const begins = "services[1].secrets[0]: begins with /: it is relative to /bank/prod/payments/, and no other secrets can be subscribed to"
	const again = ":3:9: domain: stands with this env in "
	for name, c := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"a directory":        {[]string{"right"}, exitDone, "", ""},
		"a file and another": {[]string{"right/prod/payments.yaml", "right/prod/kyc.yml"}, exitDone, "", ""},
		"two of one domain": {
			[]string{"twice"},
			exitFailed,
			"twice/deeper/b.yaml" + again + "twice/a.yaml too: put both manifests into one\n", "broadcaster: manifests are wrong (problems: 1)\n",
		},
		"a problem": {[]string{"wrong"}, exitFailed, "wrong/prod/50%,:payments.yml:7:38: " + begins + "\n", "broadcaster: manifests are wrong (problems: 1)\n"},
		"an annotation": {
			[]string{"wrong", "--annotations", "github"},
			exitFailed,
			"::error file=wrong/prod/50%25%2C%3Apayments.yml,line=7,col=38::" + begins + "\n", "broadcaster: manifests are wrong (problems: 1)\n",
		},
		"no manifest":      {[]string{"none"}, exitFailed, "", "broadcaster: no manifest was found: they are files named *.yaml or *.yml\n"},
		"no file":          {[]string{"right", "missing.yaml"}, exitFailed, "", "broadcaster: reading subscriptions: lstat missing.yaml: no such file or directory\n"},
		"any file by name": {[]string{"right/README.md"}, exitFailed, "right/README.md:1:1: the file is empty: a manifest begins with apiVersion: secret-broadcaster/v1\n", "broadcaster: manifests are wrong (problems: 1)\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(dir)
			code, stdout, stderr := cli(t, append([]string{"subscriptions", "validate"}, c.args...)...)
			if diff := cmp.Diff(c.stdout+c.stderr, stdout+stderr); code != c.code || diff != "" {
				t.Errorf("exit code %d, want %d (-want +got)\n%s", code, c.code, diff)
			}
		})
	}
}

func TestValidateInGitHubActionsAnnotates(t *testing.T) {
	t.Setenv("GITHUB_ACTIONS", "true")
	dir := manifestFiles(t, map[string]string{"a.yaml": "services: []\n"})
	if _, stdout, _ := cli(t, "subscriptions", "validate", dir); strings.Count(stdout, "::error file=") != 4 {
		t.Errorf("got %s", stdout)
	}
	if _, stdout, _ := cli(t, "subscriptions", "validate", dir, "--annotations", "none"); strings.Contains(stdout, "::") {
		t.Errorf("with none: got %s", stdout)
	}
}

func TestValidateAsJSON(t *testing.T) {
	dir := manifestFiles(t, map[string]string{"a.yaml": "apiVersion: secret-broadcaster/v1\nenv: prod\ndomain: kyc\nservices: []\n", "b.yaml": packagedManifest})
	code, stdout, _ := cli(t, "subscriptions", "validate", dir, "--json")
	want := map[string]any{
		"files": []any{dir + "/a.yaml", dir + "/b.yaml"},
		"problems": []any{map[string]any{
			"file": dir + "/a.yaml", "line": 1., "column": 1., "text": "owner: is missing: write it as owner: payments-oncall@bank.example",
		}},
	}
	var got map[string]any
	err := json.Unmarshal([]byte(stdout), &got)
	if diff := cmp.Diff(want, got); code != exitFailed || err != nil || diff != "" {
		t.Errorf("exit code %d, %v (-want +got)\n%s", code, err, diff)
	}
	if code, stdout, _ := cli(t, "subscriptions", "validate", dir+"/b.yaml", "--json"); code != exitDone || !strings.Contains(stdout, `"problems": []`) {
		t.Errorf("of none: exit code %d, %s", code, stdout)
	}
}

// TestAPlanAsText: what is added, changed and removed, and who is called.
func TestAPlanAsText(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	was := &subscribers.Service{Name: "b", Function: "b:live", Secrets: []string{"neon/*", "redis/*"}}
	is := &subscribers.Service{Name: "b", Function: "arn:aws:lambda:eu-west-2:111122223333:function:b:next", Secrets: []string{"neon/*", "stripe/*"}, Deliver: "pull"}
	p := plan{
		Env: "prod", Domain: "payments", File: "payments.yaml", Digest: strings.Repeat("a", 64),
		Replaces: invalidation.Holding{Digest: strings.Repeat("b", 64), By: "arn:aws:iam::1:user/ci", Reason: "PAY-1", At: now.Add(-90 * time.Second)},
		Owner:    &switched{"", "team-payments"}, OnDelete: &switched{"evict", "ttl"},
		Changes: []subscribers.Change{
			{Service: "a", Is: &subscribers.Service{Name: "a", Secrets: []string{"neon/*"}}},
			{Service: "b", Was: was, Is: is},
			{Service: "c", Was: &subscribers.Service{Name: "c", Secrets: []string{"neon/*"}, Deliver: "pull"}},
		},
		NewlyCalled:    []subscribers.Call{{Service: "a", Secrets: []string{"/1", "/2", "/3", "/4", "/5"}, More: 7}},
		NoLongerCalled: []subscribers.Call{{Service: "b", Function: "b:live", Secrets: []string{"/1"}}},
	}
	const want = `prod/payments holds manifest bbbbbbbbbbbb
  applied 2026-11-24T09:58:30Z, 1m30s ago, by arn:aws:iam::1:user/ci
  PAY-1
planned: manifest aaaaaaaaaaaa, payments.yaml

~ owner: team-payments, was none
~ onDelete: ttl, was evict
+ a
    + deliver: push
    + function: who reports it
    + secret: neon/*
~ b
    - deliver: push
    - function: b:live
    - secret: redis/*
    + deliver: pull
    + function: b:next
    + secret: stripe/*
- c
    - deliver: pull
    - function: who reports it
    - secret: neon/*
services: 1 to add, 1 to change, 1 to remove
newly called: 1
    a through who reports it: /1, /2, /3 and 9 more
no longer called: 1
    b through b:live: /1
`
	var out strings.Builder
	err := p.print(&out, now)
	if diff := cmp.Diff(want, out.String()); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// TestAListFitsItsColumns, whatever is in it.
func TestAListFitsItsColumns(t *testing.T) {
	long := strings.Repeat("long-", 20)
	l := listing{Env: "prod", Domain: "payments", Holds: invalidation.Holding{Digest: strings.Repeat("a", 64), Packaged: true}, Owner: "team", OnDelete: "evict", Services: []subscribers.Service{
		{Name: long, Function: "arn:aws:lambda:eu-west-2:111122223333:function:" + long, Secrets: []string{long, long, long, long}},
		{Name: "b", Secrets: []string{"a/*", "b/*", "c/*", "d/*"}, Deliver: "pull"},
	}}
	var out strings.Builder
	l.print(&out, time.Now())
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(line)); n > 101 { // with its end
			t.Errorf("%d characters: %s", n, line)
		}
	}
	if want := "b                             who reports it                pull     a/*, b/*, c/* and 1 more\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got\n%s", out.String())
	}
	out.Reset()
	listing{Env: "prod", Domain: "payments"}.print(&out, time.Now())
	if out.String() != "prod/payments holds no manifest: nothing is pushed\n" {
		t.Errorf("of none: %s", out.String())
	}
}

// TestWhyNothingIsPushedIsSaid, with what to do.
func TestWhyNothingIsPushedIsSaid(t *testing.T) {
	seen := map[string]bool{}
	for _, reason := range []invalidation.Reason{
		invalidation.Pull, invalidation.Untagged, invalidation.NoReport, invalidation.NotPermitted, invalidation.NoFunction, invalidation.Unreachable,
	} {
		text := pushText(invalidation.Target{Function: "f", Reason: reason}, "prod", "payments")
		if _, why, ok := strings.Cut(text, "no push ("+string(reason)+"): "); !ok || seen[why] {
			t.Errorf("%s: %s", reason, text)
		} else {
			seen[why] = true
		}
	}
	if text := pushText(invalidation.Target{Function: "f", Pushed: true}, "prod", "payments"); text != "pushed to" {
		t.Errorf("got %s", text)
	}
}
