package subscribers_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

var update = flag.Bool("update", false, "write golden files and the JSON Schema anew") //nolint:gochecknoglobals // a flag of the test binary

// files returns the names of the files in testdata that fit a pattern.
func files(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", filepath.FromSlash(pattern)))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	return paths
}

// golden compares with a file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if this is meant, go test -update writes it\n%s", file, diff)
	}
}

// load loads a text as prod/payments.
func load(text string) (*subscribers.Subscriptions, error) {
	return subscribers.Load(fstest.MapFS{"payments.yaml": {Data: []byte(text)}}, "payments.yaml", "prod", "payments")
}

func TestValidManifestsLoad(t *testing.T) {
	for _, file := range files(t, "valid/*.yaml") {
		if _, err := subscribers.Load(os.DirFS("."), filepath.ToSlash(file), "prod", "payments"); err != nil {
			t.Error(err)
		}
	}
}

// Each file has all its problems in a golden file beside it.
func TestInvalidManifestsTellEverythingAtOnce(t *testing.T) {
	for _, file := range files(t, "invalid/*.yaml") {
		name := filepath.Base(file)
		s, err := subscribers.Load(os.DirFS(filepath.Dir(file)), name, "prod", "payments")
		if err == nil || s != nil {
			t.Errorf("%s: got %v, %v", file, s, err)
			continue
		}
		golden(t, strings.TrimSuffix(file, ".yaml")+".error", err.Error()+"\n")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a value is quoted", file)
		}
	}
}

// What would make testdata large.
func TestLimits(t *testing.T) {
	const head = "apiVersion: secret-broadcaster/v1\nenv: prod\ndomain: payments\nowner: payments-oncall@bank.example\n"
	repeat := func(n int, format string) string {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, format, i)
		}
		return text.String()
	}
	manyServices := head + "services:\n" + repeat(30000, "  - name: payments-%d\n    secrets: [\"neon/*\"]\n")
	comment := "#" + strings.Repeat(" ", 2<<20-len(manyServices)-1)
	const (
		deep   = "nested too deeply: a manifest has services, their fields and lists of secrets"
		fields = "the 257th field of one mapping: services and secrets are lists"
	)
	for name, c := range map[string]struct{ text, want string }{
		"the most":                     {manyServices + comment, ""},
		"a byte more":                  {manyServices + comment + " ", "1:1: the file is too large: a manifest has at most 2097152 bytes"},
		"a thousand secrets":           {head + "services:\n  - name: payments-api\n    secrets:\n" + repeat(1000, "    - neon/%d\n"), ""},
		"a thousand secrets in a list": {head + "services: [{name: payments-api, secrets: [" + repeat(1000, "neon/%d,") + "]}]\n", ""},
		"brackets":                     {strings.Repeat("[", 1<<19), "1:17: " + deep},
		"braces":                       {strings.Repeat("{a: ", 1<<18), "1:65: " + deep},
		"hyphens":                      {strings.Repeat("- ", 1<<19), "1:33: " + deep},
		"keys": {func() string {
			var text strings.Builder
			for i := range 1000 {
				text.WriteString(strings.Repeat(" ", i) + "a:\n")
			}
			return text.String()
		}(), "17:18: " + deep},
		"fields":              {repeat(90000, "f%d: x\n"), "257:5: " + fields},
		"fields in braces":    {"{" + repeat(80000, "f%d: x,") + "}", "1:1944: " + fields},
		"fields of a service": {head + "services:\n- name: x\n" + repeat(80000, "  f%d: x\n"), "262:7: " + fields},
	} {
		_, err := load(c.text)
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "payments.yaml:")
		}
		if got != c.want {
			t.Errorf("%s: got %.300q, want %q", name, got, c.want)
		}
	}
}

func TestLoadTellsOfAMissingFile(t *testing.T) {
	_, err := subscribers.Load(fstest.MapFS{}, "payments.yaml", "prod", "payments")
	if want := "reading subscriptions: open payments.yaml: file does not exist"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = subscribers.Load(os.DirFS("."), "testdata", "prod", "payments")
	if err == nil || !strings.HasPrefix(err.Error(), "reading subscriptions: testdata: ") {
		t.Errorf("a folder: got %v", err)
	}
}

func manifest(env, domain, rest string) *fstest.MapFile {
	return &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: secret-broadcaster/v1\nenv: %s\ndomain: %s\nowner: team\n%s", env, domain, rest)}
}

func TestLoadDir(t *testing.T) {
	const all = "services: [{name: api, secrets: ['**']}]\n"
	domains, err := subscribers.LoadDir(fstest.MapFS{
		"subscriptions/payments.yaml":     manifest("prod", "payments", all),
		"subscriptions/payments-dev.yml":  manifest("dev", "payments", all),
		"subscriptions/kyc.yaml":          manifest("prod", "kyc", "services: []\nonDelete: ttl\n"),
		"subscriptions/README.md":         {Data: []byte("# no manifest")},
		"subscriptions/archive/core.yaml": manifest("prod", "core", all),
	}, "subscriptions")
	if err != nil {
		t.Fatal(err)
	}
	type domain = subscribers.Domain
	got := map[domain]int{}
	for of, s := range domains {
		got[of] = len(s.Match([]string{"/bank/" + of.Env + "/" + of.Name + "/neon/password"}))
	}
	want := map[domain]int{{Env: "prod", Name: "payments"}: 1, {Env: "dev", Name: "payments"}: 1, {Env: "prod", Name: "kyc"}: 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !domains[domain{Env: "prod", Name: "kyc"}].IgnoreDeletions {
		t.Error("onDelete is lost")
	}
	if got := domains[domain{Env: "prod", Name: "core"}].Match([]string{"/bank/prod/core/neon/password"}); got != nil {
		t.Errorf("a domain without a manifest: got %v", got)
	}
}

func TestLoadDirTellsTheProblemsOfAllFiles(t *testing.T) {
	_, err := subscribers.LoadDir(fstest.MapFS{
		"a.yaml":      manifest("prod", "payments", "services: []\n"),
		"b.yaml":      manifest("prod", "payments", "services: []\n"),
		"c.yaml":      manifest("prod", "../kyc", "services: [{name: api, secrets: [/neon/x]}]\n"),
		"d.yaml":      {Data: []byte("services: []\n")},
		"e.yaml":      {Data: []byte("services: []\n")},
		"f.yaml/file": {},
	}, ".")
	if err == nil {
		t.Fatal("no problem at all")
	}
	const missing = `apiVersion: is missing: write it as apiVersion: secret-broadcaster/v1
X:1:1: env: is missing: write it as env: prod
X:1:1: domain: is missing: write it as domain: payments
X:1:1: owner: is missing: write it as owner: payments-oncall@bank.example`
	want := []string{
		"b.yaml:3:9: domain: stands with this env in a.yaml too: put both manifests into one",
		"c.yaml:3:9: domain: must be lower-case letters, digits and single hyphens",
		"c.yaml:5:34: services[0].secrets[0]: begins with /: it is relative to /bank/{env}/{domain}/, and no other secrets can be subscribed to",
	}
	want = append(want, strings.Split("d.yaml:1:1: "+strings.ReplaceAll(missing, "X", "d.yaml"), "\n")...)
	want = append(want, strings.Split("e.yaml:1:1: "+strings.ReplaceAll(missing, "X", "e.yaml"), "\n")...)
	want = append(want, "reading subscriptions: f.yaml: read f.yaml: invalid argument")
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := subscribers.LoadDir(fstest.MapFS{}, "subscriptions"); err == nil {
		t.Error("a missing directory is not told")
	}
}
