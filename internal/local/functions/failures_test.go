//go:build linux

package functions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
)

func TestAFunctionThatFailsGivesAnErrorObject(t *testing.T) {
	tests := map[string]struct {
		do, start string
		command   []string
		want      string // a pattern
		survives  bool
	}{
		"an error": {do: "fail", want: `^\{"errorMessage":"as asked","errorType":"errorString"\}$`, survives: true},
		"a panic":  {do: "panic", want: `^\{"errorMessage":"as asked","errorType":"string","stackTrace":`},
		"a crash":  {do: "exit", want: `^\{"errorType":"Runtime.ExitError","errorMessage":"RequestId: [0-9a-f-]{36} Error: Runtime exited with error: exit status 7"\}$`},
		"a silent exit": {
			do: "exit 0", want: `^\{"errorType":"Runtime.ExitError","errorMessage":"RequestId: [0-9a-f-]{36} Error: Runtime exited without providing a reason"\}$`,
		},
		"a timeout": {do: "hang", want: `^\{"errorMessage":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [0-9a-f-]{36} Task timed out after 0\.30 seconds"\}$`},
		"an answer above 6 MB": {
			do: "answer at length", want: `^\{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded`,
		},
		"an exit at start": {
			start: "exit", want: `"errorType":"Runtime.ExitError".*Runtime exited with error: exit status 3"\}$`,
		},
		"an error at start": {
			start: "init-error", want: `^\{"errorType":"Test.NoConfig","errorMessage":"nothing to start with"\}$`,
		},
		"no such program": {
			command: []string{"/nowhere/bootstrap"}, want: `^\{"errorType":"Runtime.InvalidEntrypoint".*no such file or directory"\}$`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, functions.Config{})
			fn := functions.Function{Name: "failing", Command: test.command, Env: []string{"START=" + test.start}}
			if test.do == "hang" {
				fn.Timeout = 300 * time.Millisecond
			}
			deploy(t, h, fn)
			got := invoke(t, h, "failing", event{Do: test.do})
			if got.FunctionError != "Unhandled" || got.ExecutedVersion != "$LATEST" {
				t.Errorf("%+v", got)
			}
			if !regexp.MustCompile(test.want).Match(got.Payload) {
				t.Errorf("payload %s does not match %s", got.Payload, test.want)
			}
			e := environmentOf(t, h, got.Environment)
			if survived := e.State == functions.Frozen; survived != test.survives || !survived && e.State != functions.Ended {
				t.Errorf("the environment is %s", e.State)
			}
			if e.State == functions.Ended && e.PID != 0 && exists(e.PID) {
				t.Error("the process of an ended environment is left")
			}
			if test.start != "" || test.command != nil {
				return
			}
			if r := parse(t, invoke(t, h, "failing", event{})); (r.PID == got.PID) != test.survives {
				t.Errorf("the next invocation reached process %d; the failure was in %d", r.PID, got.PID)
			}
		})
	}
}

func exists(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestAnInvocationAboveReservedConcurrencyIsThrottled(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api", MaxEnvironments: 2})
	m := newMeeting(t)
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if _, err := h.Invoke(t.Context(), "payments-api", payload(t, event{Dial: m.address()})); err != nil {
				t.Error(err)
			}
		})
	}
	guests := m.await(2)
	_, err := h.Invoke(t.Context(), "payments-api", nil)
	var refusal *functions.Refusal
	if !errors.As(err, &refusal) || refusal.Status != 429 || refusal.Type != "TooManyRequestsException" ||
		refusal.Reason != "ReservedFunctionConcurrentInvocationLimitExceeded" {
		t.Errorf("third of two: %v", err)
	}
	m.letGo(guests...)
	calls.Wait()
	parse(t, invoke(t, h, "payments-api", event{}))
}

func TestKillEndsAnEnvironmentInEveryState(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	frozen := invoke(t, h, "payments-api", event{})
	if err := h.Kill(frozen.Environment); err != nil {
		t.Fatal(err)
	}
	if exists(frozen.PID) || environmentOf(t, h, frozen.Environment).State != functions.Ended {
		t.Error("the frozen environment is left")
	}

	m := newMeeting(t)
	finished := make(chan functions.Result)
	go func() {
		result, err := h.Invoke(context.Background(), "payments-api", payload(t, event{Dial: m.address()}))
		if err != nil {
			t.Error(err)
		}
		finished <- result
	}()
	busy := m.await(1)[0]
	for _, e := range h.Environments() {
		if e.PID == busy.pid {
			if err := h.Kill(e.ID); err != nil {
				t.Error(err)
			}
		}
	}
	got := <-finished
	if got.PID == frozen.PID || !strings.Contains(string(got.Payload), "Runtime exited with error: signal: killed") {
		t.Errorf("%+v: %s", got, got.Payload)
	}
	if err := h.Kill(got.Environment); err != nil {
		t.Errorf("killing an ended environment: %v", err)
	}
	if err := h.Kill("payments-api#99"); !errors.Is(err, functions.ErrUnknownEnvironment) {
		t.Errorf("killing an unknown environment: %v", err)
	}
}

func TestAnEnvironmentKilledFromOutsideIsReplaced(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	m := newMeeting(t)
	calls := make(chan functions.Result, 1)
	go func() {
		result, _ := h.Invoke(context.Background(), "payments-api", payload(t, event{Dial: m.address()}))
		calls <- result
	}()
	guest := m.await(1)[0]
	m.letGo(guest)
	first := <-calls
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, guest)
	// The host may or may not know yet. Either way, the event is not lost with the dead process.
	if r := parse(t, invoke(t, h, "payments-api", event{})); r.PID == first.PID || r.Count != 1 {
		t.Errorf("%+v", r)
	}
}

// gone waits until the kernel has closed a function's connection: until its process has ended, for a stopped one keeps it.
func gone(t testing.TB, guests ...guest) {
	t.Helper()
	for _, g := range guests {
		_, err := g.conn.Read(make([]byte, 1))
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("process %d is left: %v", g.pid, err)
		}
	}
}

func TestWhatAFunctionStartsEndsWithIt(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	m := newMeeting(t)
	r := invoke(t, h, "payments-api", event{Do: "start a child", Dial: m.address()})
	if r.FunctionError != "" {
		t.Fatal(string(r.Payload))
	}
	// The child may be frozen before it gets here, so further invocations let it run.
	arrived := make(chan struct{})
	var calls sync.WaitGroup
	calls.Go(func() {
		for {
			select {
			case <-arrived:
				return
			default:
			}
			if _, err := h.Invoke(t.Context(), "payments-api", nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	child := m.await(1)
	close(arrived)
	calls.Wait()
	if err := h.Kill(r.Environment); err != nil {
		t.Fatal(err)
	}
	gone(t, child...)
}

func TestACallerThatGoesAwayDoesNotStopTheFunction(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	m := newMeeting(t)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := h.Invoke(ctx, "payments-api", payload(t, event{Dial: m.address()}))
		left <- err
	}()
	guest := m.await(1)[0]
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller got %v", err)
	}
	if e := environmentOf(t, h, "payments-api#1"); e.State != functions.Busy || e.PID != guest.pid {
		t.Errorf("%+v", e)
	}
	m.letGo(guest)
}

func TestCloseLeavesNoProcess(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "frozen"})
	deploy(t, h, functions.Function{Name: "idle", NoFreeze: true})
	deploy(t, h, functions.Function{Name: "busy"})
	together(t, h, "frozen", 4)
	together(t, h, "idle", 2)
	m := newMeeting(t)
	finished := make(chan functions.Result)
	go func() {
		result, err := h.Invoke(context.Background(), "busy", payload(t, event{Dial: m.address()}))
		if err != nil {
			t.Error(err)
		}
		finished <- result
	}()
	m.await(1)

	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-finished; got.FunctionError == "" {
		t.Errorf("the invocation under way came to %s", got.Payload)
	}
	list := h.Environments()
	if len(list) != 7 {
		t.Errorf("%d environments", len(list))
	}
	for _, e := range list {
		if e.State != functions.Ended || exists(e.PID) {
			t.Errorf("%s is %s and its process exists: %t", e.ID, e.State, exists(e.PID))
		}
	}
	if _, err := h.Invoke(t.Context(), "frozen", nil); !errors.Is(err, functions.ErrClosed) {
		t.Errorf("invoking after it: %v", err)
	}
	if err := h.Deploy(functions.Function{Name: "more", Command: []string{"true"}}); !errors.Is(err, functions.ErrClosed) {
		t.Errorf("deploying after it: %v", err)
	}
}

func TestKillingTheHostLeavesNoProcess(t *testing.T) {
	m := newMeeting(t)
	host := exec.Command(self(t))
	host.Env = append(os.Environ(), hostRole+"="+m.address())
	host.Stderr = os.Stderr
	stdin, err := host.StdinPipe() // held open: the host ends with the test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	guests := m.await(3)
	m.letGo(guests...)
	if _, err := stdout.Read(make([]byte, 1)); err != nil { // all three are at rest
		t.Fatal(err)
	}
	frozen := 0
	for _, g := range guests {
		if strings.Trim(threadStates(t, g.pid), "T") == "" {
			frozen++
		}
	}
	if frozen != 2 {
		t.Errorf("%d environments are frozen, want 2", frozen)
	}
	guests = append(guests, m.await(1)...)

	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	gone(t, guests...)
	_ = host.Wait()
}

// runDoomedHost is a host with two frozen environments, an idle and a busy one. It says when the first three are at rest.
func runDoomedHost(address string) {
	h, err := functions.New(functions.Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	path, _ := os.Executable()
	for _, fn := range []functions.Function{{Name: "frozen"}, {Name: "idle", NoFreeze: true}, {Name: "busy"}} {
		fn.Command, fn.Timeout = []string{path}, time.Hour
		if err := h.Deploy(fn); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	event := []byte(fmt.Sprintf(`{"dial":%q}`, address))
	var calls sync.WaitGroup
	for _, name := range []string{"frozen", "frozen", "idle"} {
		calls.Go(func() { _, _ = h.Invoke(context.Background(), name, event) })
	}
	calls.Wait()
	fmt.Print("!")
	go func() { _, _ = h.Invoke(context.Background(), "busy", event) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}
