package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/demo"
)

// A heldDomain is a demo that goes on, as somebody in another terminal sees it.
type heldDomain struct {
	*testing.T
	program     string
	environment []string
}

// run runs a command line there.
func (h heldDomain) run(args ...string) (code int, stdout, stderr string) {
	h.Helper()
	var out, problems strings.Builder
	cmd := exec.CommandContext(h.Context(), h.program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append([]string{"PATH=" + os.Getenv("PATH")}, h.environment...), &out, &problems
	_ = cmd.Run() // the exit code tells
	return cmd.ProcessState.ExitCode(), out.String(), problems.String()
}

// TestADemoThatIsHeldTakesEveryCommand: what it prints is all that another terminal needs, and Ctrl-C leaves nothing.
func TestADemoThatIsHeldTakesEveryCommand(t *testing.T) {
	program, tmp := built(t), t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "demo", "--hold", "--functions", "2", "--environments", "2", "--check-every", "500ms")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h, tries := heldDomain{T: t, program: program}, []string{}
	for said := bufio.NewScanner(stdout); said.Scan(); {
		line := strings.TrimSpace(said.Text())
		if variable, ok := strings.CutPrefix(line, "export "); ok {
			h.environment = append(h.environment, variable)
		}
		if strings.Contains(line, "broadcaster ") && strings.Contains(line, " --domain ") {
			tries = append(tries, line)
		}
		if strings.HasPrefix(line, "Not here") {
			break
		}
	}
	if len(h.environment) != 6 || len(tries) != 5 {
		t.Fatalf("it says %v and %v", h.environment, tries)
	}
	for _, try := range tries {
		shell := exec.CommandContext(t.Context(), "bash", "-euc", "broadcaster() { "+program+` "$@"; }; `+try)
		shell.Env = append([]string{"PATH=" + os.Getenv("PATH")}, h.environment...)
		if out, err := shell.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", try, err, out)
		}
	}
	h.follow()
	// There is neither a trail nor a rule: doctor says so, and finds the rest well.
	_, found, _ := h.run("doctor", "--env", "demo", "--domain", "payments")
	for _, well := range []string{
		"function", "command pause", "command invalidate", "command replay", "command apply", "subscriptions, packaged with the deployment",
	} {
		if !strings.Contains(found, "ok    "+well+"\n") {
			t.Errorf("doctor does not find %s:\n%s", well, found)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(tmp, "*"))
	if running := processesOf(t, program); len(running)+len(left) > 0 || err != nil {
		t.Errorf("left are the processes %v and the files %v, %v", running, left, err)
	}
}

// follow changes a secret whose event was lost in the demo: now it arrives, and the functions follow.
func (h heldDomain) follow() {
	h.Helper()
	const key = "/bank/demo/payments/stripe/api-key"
	revision := h.dryRun(key)
	var endpoint string
	for _, variable := range h.environment {
		if url, ok := strings.CutPrefix(variable, "AWS_ENDPOINT_URL="); ok {
			endpoint = url
		}
	}
	request, err := http.NewRequestWithContext(h.Context(), http.MethodPost, endpoint, strings.NewReader(`{"SecretId":"`+key+`","SecretString":"anything"}`))
	if err != nil {
		h.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "secretsmanager.PutSecretValue")
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("Authorization", "placeholder")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		h.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		h.Fatalf("changing a secret: %s", answer.Status)
	}
	for began := time.Now(); h.dryRun(key) == revision; {
		if time.Since(began) > heldFollowsWithin {
			h.Fatal("the log never told of the change")
		}
	}
}

// heldFollowsWithin is shorter than the schedule's tick: the event does it.
const heldFollowsWithin = 8 * time.Second

// dryRun returns which revision an announcement would be.
func (h heldDomain) dryRun(secret string) (revision int64) {
	h.Helper()
	code, stdout, stderr := h.run("invalidate", secret, "--env", "demo", "--domain", "payments", "--reason", "try it", "--dry-run", "--json")
	var is struct{ Is struct{ Revision int64 } }
	if err := json.Unmarshal([]byte(stdout), &is); code != exitDone || err != nil {
		h.Fatalf("exit code %d, %v\n%s", code, err, stderr)
	}
	return is.Is.Revision
}

func TestADemoThatIsBrokenIsNotHeld(t *testing.T) {
	code, _, stderr := cli(t, "demo", "--hold", "--break", "push-only")
	if code != exitUsage || stderr != "broadcaster: --hold and --break do not go together: what does not hold is not held\n" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestTheJSONOfADemoThatIsHeld(t *testing.T) {
	var out strings.Builder
	at := demo.Local{Env: "demo", Domain: "payments", Secrets: []string{neon}, Environment: map[string]string{"AWS_REGION": "eu-west-2"}}
	if err := printHeld(&out, &demo.Report{OK: true}, at, true); err != nil {
		t.Fatal(err)
	}
	var is struct {
		OK    bool
		Local demo.Local
	}
	if err := json.Unmarshal([]byte(out.String()), &is); err != nil || !is.OK || !cmp.Equal(is.Local, at) {
		t.Errorf("%v, %+v", err, is)
	}
}
