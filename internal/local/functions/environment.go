package functions

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"
	"time"
)

const (
	// initLimit is Lambda's limit for the Init phase
	// (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).
	initLimit = 10 * time.Second
	// freezeLimit is how long a process may take to stop; one that sits longer in the kernel is ended.
	freezeLimit = 5 * time.Second
	// outputLimit is how long output is still read after the process has ended, should a child of it hold it open.
	outputLimit = time.Second
)

// environment is one execution environment. From claim to release it belongs to one goroutine, which alone calls start,
// handle and freeze; kill may be called by anybody.
type environment struct {
	host      *Host
	function  *function
	code      *code
	number    int
	id        string
	logStream string

	// Guarded by Host.mu.
	state       State
	frozenSince time.Time
	invocations int
	lastUse     int

	command *exec.Cmd     // nil until start
	api     *runtimeAPI   // nil until start
	gone    chan struct{} // closed when the process is gone, or could not be started

	mu     sync.Mutex // guards what follows
	pid    int        // 0 until the process runs
	killed bool
	exited bool
	exit   string // how it exited, for example "exit status 1"
}

// newEnvironment requires Host.mu.
func newEnvironment(h *Host, f *function) *environment {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return &environment{
		host:      h,
		function:  f,
		code:      f.code,
		number:    f.started,
		id:        fmt.Sprintf("%s#%d", f.name, f.started),
		logStream: time.Now().UTC().Format("2006/01/02/") + "[" + latest + "]" + hex.EncodeToString(random[:]),
		state:     Starting,
		gone:      make(chan struct{}),
	}
}

// atRest requires Host.mu.
func (e *environment) atRest() bool { return e.state == Idle || e.state == Frozen }

// describe requires Host.mu.
func (e *environment) describe() Environment {
	d := Environment{
		ID: e.id, Function: e.function.name, PID: e.process(), LogStream: e.logStream,
		State: e.state, Invocations: e.invocations,
	}
	if e.state == Frozen {
		d.FrozenSince = e.frozenSince
	}
	return d
}

func (e *environment) process() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pid
}

func (e *environment) alive() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pid != 0 && !e.exited
}

// start runs the process until it asks for its first event. If it does not, the outcome says why and the environment
// has ended. Lambda would run Init once more with the first event; that is left out.
func (e *environment) start(requestID string) (outcome, bool) {
	if err := e.launch(); err != nil {
		close(e.gone)
		return failure("Runtime.InvalidEntrypoint", "RequestId: %s Error: %s", requestID, err), false
	}
	limit := time.NewTimer(initLimit)
	defer limit.Stop()
	timedOut := false
	select {
	case <-e.api.ready:
		return outcome{}, true
	case <-e.api.initFailed:
	case <-e.gone:
	case <-limit.C:
		timedOut = true
	}
	end([]*environment{e})
	if payload := e.api.initError(); payload != nil {
		return outcome{payload: payload, failed: true}, false
	}
	if timedOut {
		return timeout(requestID, initLimit), false
	}
	return e.exitError(requestID), false
}

func (e *environment) launch() error {
	api, err := serveRuntimeAPI()
	if err != nil {
		e.host.retire(e)
		return err
	}
	e.api = api
	e.command = exec.Command(e.code.Command[0], e.code.Command[1:]...) //nolint:noctx // the host ends it, with all that it started
	e.command.Env = e.variables()
	e.command.WaitDelay = outputLimit
	if e.host.config.Output != nil {
		if w := e.host.config.Output(e.function.name, e.id); w != nil {
			e.command.Stdout, e.command.Stderr = w, w
		}
	}
	if err := e.host.spawner.start(e.command); err != nil {
		api.close()
		e.host.retire(e)
		return err
	}

	e.mu.Lock()
	e.pid = e.command.Process.Pid
	if e.killed {
		sendSignal(e.pid, kill)
	}
	e.mu.Unlock()
	go e.reap()
	return nil
}

// reap waits for the end of the process and then for nobody: what it has started itself is killed too.
func (e *environment) reap() {
	_ = e.command.Wait() // how it ended is in ProcessState
	e.mu.Lock()
	e.exited = true
	e.exit = e.command.ProcessState.String()
	sendSignal(e.pid, kill)
	e.mu.Unlock()
	e.api.close()
	e.host.retire(e)
	close(e.gone)
}

// kill ends the process, now or as soon as it has been started. It does not wait; gone says when.
func (e *environment) kill() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.killed = true
	if e.pid != 0 && !e.exited {
		sendSignal(e.pid, kill)
	}
}

func (e *environment) signal(s processSignal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pid != 0 && !e.exited {
		sendSignal(e.pid, s)
	}
}

// freeze stops the process and returns once its last thread has stopped, or false if that cannot be reached. Signals
// are delivered asynchronously: only /proc says when it is true.
func (e *environment) freeze() bool {
	e.signal(stop)
	limit := time.Now().Add(freezeLimit)
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		stopped, err := allStopped(e.process())
		if stopped || err != nil || time.Now().After(limit) {
			return stopped
		}
		nap(pause)
	}
}

// handle hands the request over and returns its outcome, once the process has asked for the next event or has ended.
// Not delivered means that the process had ended before it took the event.
func (e *environment) handle(r *request) (result outcome, delivered bool) {
	if exiting(e.process()) {
		end([]*environment{e})
		return outcome{}, false
	}
	limit := time.NewTimer(e.code.Timeout)
	defer limit.Stop()
	r.deadline = time.Now().Add(e.code.Timeout)
	e.api.begin(r)

	select {
	case e.api.events <- r:
	case <-e.gone:
		return outcome{}, false
	case <-limit.C:
		end([]*environment{e})
		return timeout(r.id, e.code.Timeout), true
	}

	select {
	case <-r.answered:
	case <-e.gone:
	case <-limit.C:
		end([]*environment{e})
		return timeout(r.id, e.code.Timeout), true
	}
	// An answer may have been given just before the process ended, as after a panic: it counts.
	result, ok := e.api.outcomeOf(r)
	if !ok {
		return e.exitError(r.id), true
	}
	select {
	case <-r.settled:
	case <-e.gone:
	case <-limit.C:
		end([]*environment{e})
	}
	return result, true
}

func (e *environment) result(o outcome) Result {
	r := Result{Payload: o.payload, ExecutedVersion: latest, Environment: e.id, PID: e.process()}
	if o.failed {
		r.FunctionError = "Unhandled"
	}
	return r
}

// outcome is what a request came to.
type outcome struct {
	payload []byte
	failed  bool
}

func (e *environment) exitError(requestID string) outcome {
	e.mu.Lock()
	exit := e.exit
	e.mu.Unlock()
	if exit == "exit status 0" {
		return failure("Runtime.ExitError", "RequestId: %s Error: Runtime exited without providing a reason", requestID)
	}
	return failure("Runtime.ExitError", "RequestId: %s Error: Runtime exited with error: %s", requestID, exit)
}

// timeout has no errorType, as Lambda's answer had none for years; newer ones say Sandbox.Timedout.
func timeout(requestID string, after time.Duration) outcome {
	return failure("", "%s %s Task timed out after %.2f seconds",
		time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), requestID, after.Seconds())
}

func failure(kind, format string, args ...any) outcome {
	payload, _ := json.Marshal(struct { // strings always marshal
		Type    string `json:"errorType,omitempty"`
		Message string `json:"errorMessage"`
	}{kind, fmt.Sprintf(format, args...)})
	return outcome{payload: payload, failed: true}
}
