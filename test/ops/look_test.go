package ops_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// look runs a command that reads, and decodes what it prints.
func (w *world) look(into any, args ...string) (code int) {
	w.Helper()
	code, stdout, stderr := w.command(append(args, "--env", "prod", "--domain", "payments", "--json")...)
	if err := json.Unmarshal([]byte(stdout), into); err != nil {
		w.Fatalf("%v: exit code %d, %v\n%s%s", args, code, err, stdout, stderr)
	}
	return code
}

// whoLooksSeesWhatHappened: as it happens, in what the documents show, and until Ctrl-C.
func whoLooksSeesWhatHappened(w *world) {
	w.begin()
	tail := w.follow("tail")
	watch := w.follow("status", "--watch")
	event := w.change(1)
	w.until("tail to tell of the ack", func() bool { return strings.Contains(tail.String(), "payments-api acknowledged, environment ") })
	w.until("status to tell of the change", func() bool { return strings.Contains(watch.String(), "log       revision 2, ") })
	tail.interrupt()
	watch.interrupt()
	if !strings.Contains(tail.String(), "neon/connection-string moved, told by Secret Label Updated\n") || !strings.Contains(watch.String(), "pushes    pushed\n") {
		w.Errorf("tail: %s\nstatus --watch: %s", tail, watch)
	}

	var health history.Health
	if code := w.look(&health, "status"); code != 0 || health.Revision != 2 || health.OpenFanouts != 0 || health.Reconciled.IsZero() || health.QueueProblem == "" {
		w.Errorf("status: %d, %+v", code, health)
	}
	var secret history.Secret
	if code := w.look(&secret, "status", "neon/connection-string"); code != 0 || secret.Revision != 2 || len(secret.Causes) != 1 || secret.Causes[0].EventID != event ||
		len(secret.Services) != 1 || secret.Services[0].Outcome != "acknowledged" || secret.Services[0].FirstAck.IsZero() {
		w.Errorf("status of the secret: %d, %+v", code, secret)
	}
	var service history.Consumer
	if code := w.look(&service, "status", "--service", consumer); code != 0 || len(service.Environments) != 1 || len(service.Secrets) != 1 || service.Secrets[0].Name != neon {
		w.Errorf("status of the service: %d, %+v", code, service)
	}
	var changes struct{ Changes []history.Told }
	if code := w.look(&changes, "changes", "--since", "10m"); code != 0 || len(changes.Changes) != 1 || changes.Changes[0].Deliveries.Acknowledged != 1 {
		w.Errorf("changes: %d, %+v", code, changes)
	}
	w.runDocumented("status|changes|missed|wait", 5, "README.md")
}

// whoWaitsHearsWhenItIsThere: by the ack of a warm environment; not while pushes are paused, and what to do then.
func whoWaitsHearsWhenItIsThere(w *world) {
	w.begin()
	before := w.read()
	began := time.Now()
	w.change(1)
	var is history.Waited
	if code := w.look(&is, "wait", neon); code != 0 || !is.Reached || !is.Services[0].Proven || is.Certain.Before(is.Expected) || time.Since(began) > 25*time.Second { // the function's timeout is 30 s
		w.Errorf("after %v: exit code %d, %+v", time.Since(began), code, is)
	}
	current := w.read()
	if current == before {
		w.Error("the consumer reads what it read before")
	}

	w.order("pause", "--reason", "INC-4711")
	w.change(2)
	is = history.Waited{}
	if code := w.look(&is, "wait", "neon/connection-string", "--within", "1s"); code != 3 || is.Services[0].Missing != "the push to payments-api is pending: paused" {
		w.Errorf("with a pause: exit code %d, %+v", code, is)
	}
	var missed struct{ Missed []history.Group }
	if code := w.look(&missed, "missed"); code != 0 || len(missed.Missed) != 1 || missed.Missed[0].Reason != "paused" {
		w.Fatalf("missed: %d, %+v", code, missed)
	}
	next := strings.TrimPrefix(strings.ReplaceAll(missed.Missed[0].Next, "REASON", "INC-4711"), "broadcaster ")
	if code, stdout, stderr := w.command(strings.Fields(next)...); code != 0 {
		w.Fatalf("%s: exit code %d\n%s%s", next, code, stdout, stderr)
	}
	is = history.Waited{}
	if code := w.look(&is, "wait", "neon/connection-string"); code != 0 || is.Revision != 3 {
		w.Errorf("after the pause: exit code %d, %+v", code, is)
	}
	if w.read() == current {
		w.Error("the consumer reads what it read before")
	}
	missed.Missed = nil
	if code := w.look(&missed, "missed"); code != 0 || len(missed.Missed) != 0 {
		w.Errorf("missed after the pause: %d, %+v", code, missed)
	}
}

// aLostEventIsFoundAndTold by the next tick.
func aLostEventIsFoundAndTold(w *world) {
	before := w.begin()
	if _, err := w.secrets.PutSecretValue(secrets.PutSecretValueInput{SecretID: neon, SecretString: "value 1"}); err != nil { // and no event
		w.Fatal(err)
	}
	var is history.Waited
	if code := w.look(&is, "wait", "neon/connection-string", "--within", "1s"); code != 3 || is.Problem == "" {
		w.Errorf("before the tick: exit code %d, %+v", code, is)
	}
	w.tick()
	is = history.Waited{}
	if code := w.look(&is, "wait", "neon/connection-string"); code != 0 || is.Revision != 2 {
		w.Errorf("after the tick: exit code %d, %+v", code, is)
	}
	var missed struct{ Missed []history.Group }
	if code := w.look(&missed, "missed"); code != 0 || len(missed.Missed) != 1 || missed.Missed[0].How != history.MissedFound || missed.Missed[0].Secrets[0] != neon {
		w.Errorf("missed: %d, %+v", code, missed)
	}
	if out := w.succeed(on("replay", "--reason", "INC-4711")...); !strings.HasSuffix(out, "there is nothing to send again\n") || w.read() == before {
		w.Errorf("replay says\n%s", out)
	}
	w.wantRecorded()
}

// A following is a command under way that ends with Ctrl-C.
type following struct {
	w   *world
	cmd *exec.Cmd

	mu  sync.Mutex
	out bytes.Buffer
}

// follow starts a command.
func (w *world) follow(args ...string) *following {
	w.Helper()
	f := &following{w: w, cmd: exec.CommandContext(context.WithoutCancel(w.Context()), w.program, append(args, "--env", "prod", "--domain", "payments")...)}
	f.cmd.Env, f.cmd.Stdout, f.cmd.Stderr = w.oncall(), f, f
	if err := f.cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = f.cmd.Process.Kill() }) // unless it has ended
	return f
}

// interrupt ends it as Ctrl-C does: it is done.
func (f *following) interrupt() {
	f.w.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGINT); err != nil {
		f.w.Fatal(err)
	}
	if err := f.cmd.Wait(); err != nil {
		f.w.Errorf("%v: %v\n%s", f.cmd.Args, err, f)
	}
}

// Write implements io.Writer.
func (f *following) Write(text []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(text)
}

// String returns what it has written.
func (f *following) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.String()
}
