//go:build !lambdaartifact

package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
)

const (
	eventsDir = "../../events/testdata"
	byName    = eventsDir + "/api-call/put-by-name.json"
)

// eventFiles are all the events that package events is tested with.
func eventFiles(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(eventsDir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".json") && !strings.HasSuffix(path, ".golden.json") {
			all = append(all, path)
		}
		return err
	})
	if err != nil || len(all) < 100 {
		t.Fatalf("finding events: %d, %v", len(all), err)
	}
	return all
}

// explainJSON runs explain --json and returns what it printed.
func explainJSON(t *testing.T, args ...string) (explained, int) {
	t.Helper()
	code, stdout, stderr := cli(t, append([]string{"explain", "--json"}, args...)...)
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	var got explained
	if err := decoder.Decode(&got); err != nil {
		t.Fatalf("%v: exit code %d, stderr %q: %v", args, code, stderr, err)
	}
	return got, code
}

func TestExplainSaysOfEveryEventWhatParseMakesOfIt(t *testing.T) {
	for _, file := range eventFiles(t) {
		payload, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		results := events.Parse(payload)
		got, code := explainJSON(t, file)
		malformed := slices.ContainsFunc(results, func(r events.Result) bool { return r.Outcome == events.Malformed })
		if (code == exitFailed) != malformed || code == exitUsage || len(got.Results) != len(results) {
			t.Errorf("%s: exit code %d, %d results of %d", file, code, len(got.Results), len(results))
			continue
		}
		for i, r := range results {
			is, s := got.Results[i], r.Signal
			want := shownSignal{s.Kind, s.Name, s.ARN, s.Env, s.Domain, s.Service, s.Key, s.VersionID, s.Label, s.Replay, s.Actor}
			if is.Outcome != r.Outcome || is.Reason != r.Reason || is.EventID != r.EventID || is.DetailType != r.DetailType || is.Signal != want {
				t.Errorf("%s: got %+v, want %+v", file, is, r)
			}
		}
	}
}

// Scripts read this.
func TestExplainJSONHasEveryFieldAlways(t *testing.T) {
	for _, file := range []string{byName, eventsDir + "/label-updated/custom-label.json", eventsDir + "/no-event/null.json"} {
		_, stdout, _ := cli(t, "explain", "--json", "--subscriptions", "testdata/manifests", file)
		var got struct{ Results []map[string]any }
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || len(got.Results) != 1 {
			t.Fatalf("%s: %v in %s", file, err, stdout)
		}
		fields := func(v any) []string {
			object, ok := v.(map[string]any)
			if !ok {
				t.Errorf("%s: %v is no object", file, v)
			}
			var all []string
			for name := range object {
				all = append(all, name)
			}
			slices.Sort(all)
			return all
		}
		if diff := cmp.Diff([]string{"deliveries", "detailType", "eventId", "outcome", "reason", "signal"}, fields(got.Results[0])); diff != "" {
			t.Errorf("%s (-want +got)\n%s", file, diff)
		}
		if diff := cmp.Diff([]string{"actor", "arn", "domain", "env", "key", "kind", "label", "name", "replay", "service", "versionId"}, fields(got.Results[0]["signal"])); diff != "" {
			t.Errorf("%s (-want +got)\n%s", file, diff)
		}
		deliveries, ok := got.Results[0]["deliveries"].([]any)
		if !ok || (len(deliveries) > 0) != (file == byName) {
			t.Errorf("%s: deliveries are %v", file, got.Results[0]["deliveries"])
		}
		for _, d := range deliveries {
			if diff := cmp.Diff([]string{"deliver", "function", "subscription", "why"}, fields(d)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", file, diff)
			}
		}
	}
}

func TestExplainSaysWhoWouldBePushedTo(t *testing.T) {
	const reads = ", but it wants no push: it finds out from the change log at its next read"
	neon := []delivery{
		{"payments-api", "payments-api:live", "push", "its pattern neon/* matches"},
		{"ledger", "ledger", "push", "its pattern neon/connection-string matches; it names no function, so those that report this service name are meant"},
		{"payments-batch", "payments-batch", "pull", "its pattern ** matches" + reads},
	}
	for file, want := range map[string][]delivery{
		"api-call/put-by-name":                                   neon,
		"api-call/update-description":                            neon,
		"api-call/delete":                                        neon,
		"api-call/put-by-name-without-answer":                    {{"payments-api", "payments-api:live", "push", "its pattern stripe/* matches"}, neon[2]},
		"api-call/create":                                        {{"kyc-screening", "kyc-screening", "push", "its pattern ** matches"}},
		"label-updated/lookalike-domain":                         {},
		"label-updated/custom-label":                             {},
		"label-updated/malformed-without-name":                   {},
		"schedule/rule":                                          {},
		"service-event/rotation-failed":                          {},
		"api-call/put-by-arn-without-answer-has-no-certain-name": {},
	} {
		got, _ := explainJSON(t, "--subscriptions", "testdata/manifests", eventsDir+"/"+file+".json")
		if diff := cmp.Diff(want, got.Results[0].Deliveries); diff != "" {
			t.Errorf("%s (-want +got)\n%s", file, diff)
		}
	}
	if got, _ := explainJSON(t, byName); len(got.Results[0].Deliveries) > 0 {
		t.Errorf("without --subscriptions: got %v", got.Results[0].Deliveries)
	}
}

func TestExplainADeletionThatIsNotAppended(t *testing.T) {
	event, err := os.ReadFile(eventsDir + "/api-call/delete.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "event.json")
	event = bytes.ReplaceAll(event, []byte("/bank/prod/payments/"), []byte("/bank/prod/kyc/"))
	if err := os.WriteFile(file, event, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := explainJSON(t, "--subscriptions", "testdata/manifests", file); len(got.Results[0].Deliveries) > 0 {
		t.Errorf("onDelete: ttl: got %v", got.Results[0].Deliveries)
	}
	if _, stdout, _ := cli(t, "explain", "--subscriptions", "testdata/manifests", file); !strings.Contains(stdout, "onDelete: ttl") {
		t.Errorf("got %s", stdout)
	}
}

func TestExplainForPeople(t *testing.T) {
	var all strings.Builder
	for _, args := range []string{
		"api-call/put-by-name", "--subscriptions testdata/manifests api-call/put-by-name", "--subscriptions testdata/manifests api-call/update-description",
		"--subscriptions testdata/manifests label-updated/lookalike-domain", "--subscriptions testdata/manifests api-call/put-by-arn-without-answer-has-no-certain-name",
		"api-call/delete", "api-call/put-replayed", "api-call/unknown-call", "service-event/rotation-failed", "list/of-every-kind", "list/one-is-malformed", "no-event/cut-off",
	} {
		fields := strings.Fields("explain " + args)
		fields[len(fields)-1] = eventsDir + "/" + fields[len(fields)-1] + ".json"
		code, stdout, stderr := cli(t, fields...)
		all.WriteString("$ broadcaster explain " + args + ".json\n" + stdout + stderr)
		if code != exitDone {
			all.WriteString("exit code 1\n")
		}
		all.WriteString("\n")
	}
	golden(t, "explain.golden", all.String())
}

func TestExplainReadsStandardInput(t *testing.T) {
	event, err := os.ReadFile(byName)
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := cli(t, "explain", byName)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"explain", "-"}, stdio{in: bytes.NewReader(event), out: &out, err: &errs}); code != exitDone || errs.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, &errs)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-file +standard input)\n%s", diff)
	}
}

func TestExplainRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	manifest, err := os.ReadFile("testdata/manifests/payments.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write("twice/a.yaml", string(manifest))
	write("twice/b.yml", string(manifest))
	write("bad/kyc.yaml", strings.Replace(string(manifest), "owner:", "owners:", 1))
	write("bad/payments.yaml", strings.Replace(string(manifest), "neon/*", "../kyc/*", 1))
	write("none/readme.md", "")
	large := write("large.json", strings.Repeat(" ", maxExplained+1))
	empty := write("empty.json", " \n")
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stderr []string // a part of each line
	}{
		{"no file", nil, exitUsage, []string{"takes one file, or - for standard input, not 0"}},
		{"two files", []string{byName, byName}, exitUsage, []string{"takes one file, or - for standard input, not 2"}},
		{"an unknown flag", []string{"--yaml", byName}, exitUsage, []string{"unknown flag: --yaml"}},
		{"a missing file", []string{dir + "/missing.json"}, exitFailed, []string{"reading the event: open " + dir + "/missing.json: no such file"}},
		{"a directory", []string{dir}, exitFailed, []string{"reading the event: read " + dir + ": is a directory"}},
		{"a large file", []string{large}, exitFailed, []string{large + " is larger than 10 MB"}},
		{"an empty file", []string{empty}, exitFailed, []string{"reading the event: " + empty + " is empty"}},
		{"an empty standard input", []string{"-"}, exitFailed, []string{"reading the event: standard input is empty"}},
		{"a missing directory", []string{"--subscriptions", dir + "/missing", byName}, exitFailed, []string{"reading subscriptions: stat " + dir + "/missing: no such file"}},
		{"a directory that is not named", []string{"--subscriptions", "", byName}, exitFailed, []string{"reading subscriptions"}},
		{"a directory without manifests", []string{"--subscriptions", dir + "/none", byName}, exitFailed, []string{dir + "/none has no manifest"}},
		{
			"a manifest in the place of its directory",
			[]string{"--subscriptions", dir + "/twice/a.yaml", byName},
			exitFailed,
			[]string{dir + "/twice/a.yaml is a file: name the directory that it is in, " + dir + "/twice\n"},
		},
		{"two manifests of a domain", []string{"--subscriptions", dir + "/twice", byName}, exitFailed, []string{
			dir + "/twice/b.yml:3:9: domain: stands with this env in " + dir + "/twice/a.yaml too", "broadcaster: reading subscriptions: " + dir + "/twice has manifests",
		}},
		{"all problems of all manifests are told", []string{"--subscriptions", dir + "/bad/", byName}, exitFailed, []string{
			dir + "/bad/kyc.yaml:1:1: ", dir + "/bad/kyc.yaml:4:1: ", dir + "/bad/payments.yaml:3:9: ", dir + "/bad/payments.yaml:8:27: ", "(problems: 4)",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := cli(t, append([]string{"explain"}, c.args...)...)
			lines := slices.Collect(strings.Lines(stderr))
			if code != c.code || stdout != "" || len(lines) != len(c.stderr) {
				t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			for i, want := range c.stderr {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d of stderr, %q, lacks %q", i+1, lines[i], want)
				}
				if strings.HasPrefix(want, dir+"/bad") && !strings.HasPrefix(lines[i], want) {
					t.Errorf("line %d of stderr, %q, does not begin with the file", i+1, lines[i])
				}
			}
		})
	}
}

func TestExplainSaysWhereSomethingIsMalformed(t *testing.T) {
	event, err := os.ReadFile(eventsDir + "/list/one-is-malformed.json")
	if err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{
		eventsDir + "/list/one-is-malformed.json": "broadcaster: " + eventsDir + "/list/one-is-malformed.json: malformed: 1 of ",
		"-": "broadcaster: standard input: malformed: 1 of ",
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"explain", arg}, stdio{in: bytes.NewReader(event), out: &out, err: &errs})
		if code != exitFailed || !strings.HasPrefix(errs.String(), want) {
			t.Errorf("exit code %d, stderr %q, want %q", code, &errs, want)
		}
	}
}

func TestExplainCompletesFilesAndDirectories(t *testing.T) {
	for args, want := range map[string]string{"explain|": ":0\n", "explain|event.json|": ":4\n", "explain|--subscriptions|": ":16\n"} {
		if _, stdout, _ := cli(t, append([]string{"__complete"}, strings.Split(args, "|")...)...); stdout != want {
			t.Errorf("%s: got %q, want %q", args, stdout, want)
		}
	}
}
