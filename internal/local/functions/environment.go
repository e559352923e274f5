package functions

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
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

	runtime    *process
	extensions []*extension
	port       string        // for what is to listen in it
	api        *runtimeAPI   // nil until start
	gone       chan struct{} // closed when every process is gone, or could not be started

	mu       sync.Mutex // guards what follows
	stopping bool       // the host ends it: a process that ends does so because of that
	crashed  *extension // the one that ended although nobody wanted it to
}

// newEnvironment requires Host.mu.
func newEnvironment(h *Host, f *function) *environment {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	var extensions []*extension
	for _, command := range f.code.Extensions {
		extensions = append(extensions, newExtension(command, f.code.NoFreeze))
	}
	return &environment{
		host:       h,
		function:   f,
		code:       f.code,
		number:     f.started,
		runtime:    newProcess(),
		extensions: extensions,
		id:         fmt.Sprintf("%s#%d", f.name, f.started),
		logStream:  time.Now().UTC().Format("2006/01/02/") + "[" + latest + "]" + hex.EncodeToString(random[:]),
		state:      Starting,
		gone:       make(chan struct{}),
	}
}

// atRest requires Host.mu.
func (e *environment) atRest() bool { return e.state == Idle || e.state == Frozen }

// describe requires Host.mu.
func (e *environment) describe() Environment {
	d := Environment{
		ID: e.id, Function: e.function.name, PID: e.runtime.id(), LogStream: e.logStream,
		State: e.state, Invocations: e.invocations,
	}
	for _, x := range e.extensions {
		d.ExtensionPIDs = append(d.ExtensionPIDs, x.id())
	}
	if e.state == Frozen {
		d.FrozenSince = e.frozenSince
	}
	return d
}

// processes are all that an environment has.
func (e *environment) processes() []*process {
	all := []*process{e.runtime}
	for _, x := range e.extensions {
		all = append(all, x.process)
	}
	return all
}

// start runs the extensions until each has registered, and then the runtime until it and they ask for their first event. If
// they do not, the outcome says why and the environment has ended. Lambda would run Init once more with the first event;
// that is left out.
func (e *environment) start(requestID string) (outcome, bool) {
	limit := time.NewTimer(initLimit)
	defer limit.Stop()
	if err := e.launch(limit.C); err != nil {
		e.kill()
		for _, p := range e.processes() {
			p.abandon()
		}
		<-e.gone
		if errors.Is(err, errNotRegistered) {
			return e.exitError(requestID), false
		}
		return failure("Runtime.InvalidEntrypoint", "RequestId: %s Error: %s", requestID, err), false
	}
	timedOut := false
	select {
	case <-e.initialised():
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

// errNotRegistered: an extension has ended, or time has, before it registered.
var errNotRegistered = errors.New("an extension has not registered")

// launch starts the processes.
func (e *environment) launch(limit <-chan time.Time) error {
	go e.reap()
	api, err := serveRuntimeAPI(e)
	if err != nil {
		return err
	}
	e.api = api
	if e.port, err = freePort(); err != nil {
		return err
	}
	var output io.Writer
	if e.host.config.Output != nil {
		output = shared(e.host.config.Output(e.function.name, e.id))
	}
	for _, x := range e.extensions {
		if err := x.start(e.host.spawner, x.command, e.extensionVariables(), output, func(byItself bool) { e.ended(x, byItself) }); err != nil {
			return err
		}
	}
	for _, x := range e.extensions {
		select {
		case <-x.registered:
		case <-x.gone:
			return errNotRegistered
		case <-limit:
			return errNotRegistered
		}
	}
	return e.runtime.start(e.host.spawner, e.code.Command, e.variables(), output, func(byItself bool) { e.ended(nil, byItself) })
}

// initialised returns what is closed when the Init phase is over: the runtime and every extension have asked for an event.
func (e *environment) initialised() <-chan struct{} {
	if len(e.extensions) == 0 {
		return e.api.ready
	}
	over := make(chan struct{})
	go func() {
		waits := []<-chan struct{}{e.api.ready}
		for _, x := range e.extensions {
			waits = append(waits, x.atRest())
		}
		for _, wait := range waits {
			select {
			case <-wait:
			case <-e.gone:
				return
			}
		}
		close(over)
	}()
	return over
}

// ended is told of each process that has ended: the others end with it. x is nil for the runtime.
func (e *environment) ended(x *extension, byItself bool) {
	e.mu.Lock()
	unwanted := !e.stopping
	if unwanted && byItself {
		e.crashed = x
	}
	e.mu.Unlock()
	if unwanted {
		e.kill()
	}
}

// reap ends the environment once its last process is gone.
func (e *environment) reap() {
	for _, p := range e.processes() {
		<-p.gone
	}
	if e.api != nil {
		e.api.close()
	}
	e.host.retire(e)
	close(e.gone)
}

// kill ends the processes, now or as soon as they have been started. It does not wait; gone says when.
func (e *environment) kill() {
	e.mu.Lock()
	e.stopping = true
	e.mu.Unlock()
	for _, p := range e.processes() {
		p.kill()
	}
}

func (e *environment) signal(s processSignal) {
	for _, p := range e.processes() {
		p.signal(s)
	}
}

// freeze stops the processes and returns once the last thread has stopped, or false if that cannot be reached. Signals
// are delivered asynchronously: only /proc says when it is true.
func (e *environment) freeze() bool {
	e.signal(stop)
	limit := time.Now().Add(freezeLimit)
	for _, p := range e.processes() {
		if !p.freezes(limit) {
			return false
		}
	}
	return true
}

// freezes returns once a process that has been told to stop has, or false if that cannot be reached by the limit.
func (p *process) freezes(limit time.Time) bool {
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		stopped, err := allStopped(p.id())
		if stopped || err != nil || time.Now().After(limit) {
			return stopped
		}
		nap(pause)
	}
}

// handle hands the request over and returns its outcome, once the process has asked for the next event or has ended.
// Not delivered means that the process had ended before it took the event.
func (e *environment) handle(r *request) (result outcome, delivered bool) {
	if slices.ContainsFunc(e.processes(), func(p *process) bool { return exiting(p.id()) }) {
		end([]*environment{e})
		return outcome{}, false
	}
	limit := time.NewTimer(e.code.Timeout)
	defer limit.Stop()
	r.deadline = time.Now().Add(e.code.Timeout)
	e.api.begin(r)
	for _, x := range e.extensions {
		event := extensionEvent{Type: invokeEvent, DeadlineMillis: r.deadline.UnixMilli(), RequestID: r.id, FunctionARN: r.arn}
		if x.wants(invokeEvent) {
			x.tell(event, limit.C) // that it is gone shows below
		}
	}

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
	rests := []<-chan struct{}{r.settled}
	for _, x := range e.extensions {
		rests = append(rests, x.atRest())
	}
	for _, rest := range rests {
		select {
		case <-rest:
		case <-e.gone:
		case <-limit.C:
			end([]*environment{e})
		}
	}
	return result, true
}

func (e *environment) result(o outcome) Result {
	r := Result{Payload: o.payload, ExecutedVersion: latest, Environment: e.id, PID: e.runtime.id()}
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
	crashed := e.crashed
	e.mu.Unlock()
	if crashed != nil {
		return failure("Extension.Crash", "RequestId: %s Error: %s", requestID, crashed.howItExited())
	}
	exit := e.runtime.howItExited()
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
