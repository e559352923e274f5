package ops_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A workflow is what GitHub Actions reads of infra/ci/subscriptions.yml
// (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax).
type workflow struct {
	Defaults struct{ Run struct{ Shell string } }
	Env      map[string]string
	Jobs     map[string]job
}

type job struct {
	If    string
	Steps []step
}

type step struct{ Name, Uses, Run string }

// A runner is where a job's steps run, one after another, as GitHub runs them.
type runner struct {
	*world
	workflow        workflow
	workspace, temp string
	commit          string // the checkout's
	environment     []string
}

func (w *world) runner() *runner {
	w.Helper()
	text, err := os.ReadFile("../../infra/ci/subscriptions.yml")
	if err != nil {
		w.Fatal(err)
	}
	r := &runner{world: w, workspace: filepath.Join(w.dir, "checkout"), temp: filepath.Join(w.dir, "runner")}
	if err := yaml.Unmarshal(text, &r.workflow); err != nil {
		w.Fatal(err)
	}
	if err := os.MkdirAll(r.temp, 0o700); err != nil {
		w.Fatal(err)
	}
	r.environment = append(w.oncall(), "HOME="+r.temp, "GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=bank/secrets",
		"RUNNER_TEMP="+r.temp, "GITHUB_PATH="+filepath.Join(r.temp, "path"), "GITHUB_STEP_SUMMARY="+filepath.Join(r.temp, "summary"),
		"GOCACHE="+goEnv(w, "GOCACHE"), "GOMODCACHE="+goEnv(w, "GOMODCACHE"))
	for name, value := range r.workflow.Env {
		r.environment = append(r.environment, name+"="+strings.ReplaceAll(value, "${{ vars.SUBSCRIPTIONS_ENV }}", "prod"))
	}
	if value := r.workflow.Env["BEFORE"]; value != "${{ github.event.before }}" {
		w.Errorf("BEFORE is %q", value)
	}
	w.file("checkout/README.md", "subscriptions\n")
	r.git("init", "--quiet")
	r.merge()
	return r
}

// git runs it in the checkout.
func (r *runner) git(args ...string) string {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), "git", append([]string{"-C", r.workspace, "-c", "user.name=ci", "-c", "user.email=ci@example.com"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// merge commits what is in the checkout, as the push that the next job is of.
func (r *runner) merge() {
	r.Helper()
	before := r.commit
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message", "merge")
	r.commit = r.git("rev-parse", "HEAD")
	r.environment = append(r.environment, "BEFORE="+before, "GITHUB_SHA="+r.commit)
}

func goEnv(w *world, name string) string {
	w.Helper()
	out, err := exec.CommandContext(w.Context(), "go", "env", name).Output()
	if err != nil {
		w.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// run runs the steps of a job up to one that fails, whose name it returns, and what they printed.
func (r *runner) run(name string) (failed, printed string) {
	r.Helper()
	flags := "-e" // GitHub's own choice
	if r.workflow.Defaults.Run.Shell == "bash" {
		flags = "-eo pipefail"
	}
	steps := r.workflow.Jobs[name].Steps
	if len(steps) == 0 {
		r.Fatalf("the workflow has no job %s", name)
	}
	for _, s := range steps {
		if s.Run == "" {
			continue // an action: what it provides is here
		}
		cmd := exec.CommandContext(r.Context(), "bash", append(strings.Fields("--noprofile --norc "+flags+" -c"), s.Run)...)
		cmd.Env, cmd.Dir = append(r.environment, r.pathWithAdded()), r.workspace
		if s.Name == "Build" {
			cmd.Dir = "../.." // the checkout has what is built, and the world's has the manifests
		}
		out, err := cmd.CombinedOutput()
		printed += string(out)
		if err != nil {
			return s.Name, printed
		}
	}
	return "", printed
}

// pathWithAdded is the PATH with what steps before have added to it.
func (r *runner) pathWithAdded() string {
	added, _ := os.ReadFile(filepath.Join(r.temp, "path"))
	return "PATH=" + strings.Join(append(strings.Fields(string(added)), os.Getenv("PATH")), ":")
}

// theWorkflowPlansAndApplies: a pull request shows, a merge applies what it changes and nothing else, and what fails is red.
func theWorkflowPlansAndApplies(w *world) {
	t := w.T
	w.beginWithMail()
	w.who = w.account // in which functions are meant that have a name only
	r := w.runner()
	if plan, apply := r.workflow.Jobs["plan"].If, r.workflow.Jobs["apply"].If; plan != "github.event_name == 'pull_request'" || apply != "github.event_name == 'push'" {
		t.Errorf("plan runs if %s, apply if %s", plan, apply)
	}
	const file = "checkout/infra/subscriptions/prod/payments.yaml"
	w.file(file, withMail())
	if failed, printed := r.run("plan"); failed != "" || !strings.Contains(printed, "\n+ payments-mail\n") {
		t.Fatalf("a pull request: %q fails\n%s", failed, printed)
	}
	if h, err := w.store.Holding(t.Context()); err != nil || !h.Packaged {
		t.Errorf("a pull request applied: %+v, %v", h, err)
	}
	if summary, err := os.ReadFile(filepath.Join(r.temp, "summary")); err != nil || !strings.Contains(string(summary), "\n+ payments-mail\n") {
		t.Errorf("the summary, %v:\n%s", err, summary)
	}
	r.merge()
	if failed, printed := r.run("apply"); failed != "" {
		t.Fatalf("a merge: %q fails\n%s", failed, printed)
	}
	h, err := w.store.Holding(t.Context())
	if err != nil || h.Digest != subscribers.Digest([]byte(withMail())) || h.Reason != "bank/secrets@"+r.commit {
		t.Errorf("a merge applied %+v, %v", h, err)
	}
	w.succeeds("apply", w.file("before/payments.yaml", manifest), "--reason", "INC-4711: what held before")
	w.file("checkout/infra/subscriptions/prod/README.md", "whose is what\n")
	r.merge()
	if failed, printed := r.run("apply"); failed != "" {
		t.Errorf("a merge of another file: %q fails\n%s", failed, printed)
	}
	if h, err := w.store.Holding(t.Context()); err != nil || h.Reason != "INC-4711: what held before" {
		t.Errorf("a merge of another file undid what on call has applied: %+v, %v", h, err)
	}
	w.file(file, strings.Replace(withMail(), "neon/*", "/neon/*", 1))
	failed, printed := r.run("plan")
	if want := "::error file=infra/subscriptions/prod/payments.yaml,line=11,col=15::services[1].secrets[0]: begins with /"; failed != "Validate" || !strings.Contains(printed, want) {
		t.Errorf("a pull request with a wrong manifest: %q fails\n%s", failed, printed)
	}
	r.merge()
	if failed, printed := r.run("apply"); failed != "Apply" {
		t.Errorf("a merge of a wrong manifest: %q fails\n%s", failed, printed)
	}
}

// theHookRefusesWhatIsWrong: what pre-commit would run for the files of a commit, as it runs a hook of the language system
// (https://pre-commit.com/#system): the entry, with the names of the files that fit.
func theHookRefusesWhatIsWrong(w *world) {
	t := w.T
	text, err := os.ReadFile("../../infra/ci/pre-commit-config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Repos []struct {
			Repo  string
			Hooks []struct{ ID, Name, Entry, Language, Files string }
		}
	}
	if err := yaml.Unmarshal(text, &config); err != nil || len(config.Repos) != 1 || len(config.Repos[0].Hooks) != 1 {
		t.Fatalf("%+v, %v", config, err)
	}
	hook := config.Repos[0].Hooks[0]
	if config.Repos[0].Repo != "local" || hook.ID == "" || hook.Name == "" || hook.Language != "system" {
		t.Errorf("%+v", config)
	}
	files := regexp.MustCompile(hook.Files)
	right, wrong, other := "infra/subscriptions/prod/payments.yaml", "infra/subscriptions/prod/kyc.yml", "infra/domain.yaml"
	if !files.MatchString(right) || !files.MatchString(wrong) || files.MatchString(other) {
		t.Errorf("files %s", hook.Files)
	}
	w.file(right, manifest)
	w.file(wrong, "services: []\n")
	program, args, _ := strings.Cut(hook.Entry, " ")
	if program != "broadcaster" {
		t.Errorf("the entry is %s", hook.Entry)
	}
	for files, want := range map[string]int{right: 0, right + " " + wrong: 1} {
		cmd := exec.CommandContext(t.Context(), w.program, strings.Fields(args+" "+files)...)
		cmd.Dir = w.dir
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("%s: exit code %d, want %d\n%s", files, cmd.ProcessState.ExitCode(), want, out)
		}
	}
}
