package functions

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// endedKept bounds the list of ended environments, for functions that crash for hours.
const endedKept = 1000

// Host runs functions. Its methods may be called concurrently.
type Host struct {
	region, account string
	config          Config

	spawner  *spawner
	server   *http.Server
	endpoint string
	work     sync.WaitGroup // invocations under way, asynchronous ones that wait for a retry, and the API's listener
	done     chan struct{}  // closed by Close

	mu        sync.Mutex // guards what follows and, in functions and environments, what they say it does
	closed    bool
	functions map[string]*function
	ended     []*environment // the last endedKept
	uses      int            // counts uses of environments: the order of "most recently used"
}

// function is what stays when its code is replaced.
type function struct {
	name string

	// Guarded by Host.mu.
	code         *code
	inFlight     int
	started      int            // environments so far
	environments []*environment // not ended, in the order of their start
}

// code is one deployment; it is never changed.
type code struct {
	Function
	reserved bool // MaxEnvironments was given
}

// New starts a host with no functions, listening on 127.0.0.1. It fails where processes cannot be frozen: that needs
// Linux's /proc. The caller must call [Host.Close].
func New(config Config) (*Host, error) {
	if err := checkPlatform(); err != nil {
		return nil, fmt.Errorf("starting a host for functions: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the Invoke API: %w", err)
	}
	config.AsyncMinute = cmp.Or(config.AsyncMinute, time.Minute)
	h := &Host{
		region:    cmp.Or(config.Region, "eu-west-2"),
		account:   cmp.Or(config.AccountID, "111122223333"),
		config:    config,
		spawner:   newSpawner(),
		endpoint:  "http://" + listener.Addr().String(),
		done:      make(chan struct{}),
		functions: map[string]*function{},
	}
	h.server = &http.Server{Handler: h.routes(), ReadHeaderTimeout: 10 * time.Second}
	h.work.Go(func() { _ = h.server.Serve(listener) }) // ends with ErrServerClosed, at Close
	return h, nil
}

// Endpoint is the base URL of the Invoke API, for a client's BaseEndpoint or AWS_ENDPOINT_URL_LAMBDA.
func (h *Host) Endpoint() string { return h.endpoint }

// ARN returns a deployed function's unqualified ARN; the function need not exist.
func (h *Host) ARN(name string) string { return h.arn(reference{name: name}) }

// Close ends every environment, frozen ones too, after the extensions of those at rest have been told, drops the API's connections and waits until no process is left.
// Invocations under way fail, asynchronous ones that wait for a retry are forgotten. Later calls do nothing.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	var all, atRest []*environment
	for _, f := range h.functions {
		for _, e := range f.environments {
			all = append(all, e)
			if e.atRest() {
				atRest = append(atRest, e)
			}
		}
	}
	h.mu.Unlock()

	close(h.done)
	err := h.server.Close()
	shutDown(atRest)
	end(all)
	h.work.Wait()
	h.spawner.close()
	if err != nil {
		return fmt.Errorf("closing the Invoke API: %w", err)
	}
	return nil
}

// Deploy makes a function available, or replaces its code and configuration: environments at rest are ended before
// Deploy returns, busy ones finish their invocation first, and every later invocation runs the new code, as on AWS
// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-function-zip.html). Nothing is started yet.
//
// An environment inherits the host's own variables except AWS_* and Lambda's, and gets those that Lambda sets
// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html) with placeholder credentials and no shared
// AWS configuration files. Function.Env wins over all of them but AWS_LAMBDA_RUNTIME_API.
func (h *Host) Deploy(fn Function) error {
	if err := check(fn); err != nil {
		return fmt.Errorf("deploying function %q: %w", fn.Name, err)
	}
	reserved := fn.MaxEnvironments != 0
	fn.Timeout = cmp.Or(fn.Timeout, 3*time.Second)
	fn.MaxEnvironments = cmp.Or(fn.MaxEnvironments, 1000)
	fn.MemoryMB = cmp.Or(fn.MemoryMB, 128)
	fn.Command, fn.Env, fn.Aliases = slices.Clone(fn.Command), slices.Clone(fn.Env), slices.Clone(fn.Aliases)
	fn.Tags = maps.Clone(fn.Tags)

	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return fmt.Errorf("deploying function %q: %w", fn.Name, ErrClosed)
	}
	f := h.functions[fn.Name]
	if f == nil {
		f = &function{name: fn.Name}
		h.functions[fn.Name] = f
	}
	if fn.Modified.IsZero() {
		fn.Modified = time.Now()
	}
	f.code = &code{Function: fn, reserved: reserved}
	var replaced []*environment
	for _, e := range f.environments {
		if e.atRest() {
			e.state = Busy // so that nobody claims it while it is being ended
			replaced = append(replaced, e)
		}
	}
	h.mu.Unlock()
	shutDown(replaced)
	return nil
}

func check(fn Function) error {
	switch {
	case !namePattern.MatchString(fn.Name):
		return errors.New("name is not 1 to 64 letters, digits, hyphens and underscores")
	case len(fn.Command) == 0:
		return errors.New("command is empty")
	case fn.Timeout < 0 || fn.MaxEnvironments < 0 || fn.MemoryMB < 0:
		return errors.New("timeout, environments and memory must not be negative")
	}
	for _, entry := range fn.Env {
		if name, _, ok := strings.Cut(entry, "="); !ok || name == "" {
			return errors.New("an entry of the environment is not NAME=value") // it may hold a value: not shown
		}
	}
	return nil
}

// Environments lists the environments of every function, by function and start, with the last 1,000 that ended.
func (h *Host) Environments() []Environment {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Clone(h.ended)
	for _, f := range h.functions {
		all = append(all, f.environments...)
	}
	slices.SortFunc(all, func(a, b *environment) int {
		return cmp.Or(cmp.Compare(a.function.name, b.function.name), cmp.Compare(a.number, b.number))
	})
	list := make([]Environment, len(all))
	for i, e := range all {
		list[i] = e.describe()
	}
	return list
}

// Kill ends an environment with SIGKILL, whatever it is doing, and waits until its process is gone. An invocation under
// way there fails with Runtime.ExitError. An environment that has ended is left alone.
func (h *Host) Kill(environmentID string) error {
	e, err := h.environment(environmentID)
	if err != nil {
		return fmt.Errorf("killing environment %q: %w", environmentID, err)
	}
	end([]*environment{e})
	return nil
}

func (h *Host) environment(id string) (*environment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.functions {
		for _, e := range f.environments {
			if e.id == id {
				return e, nil
			}
		}
	}
	for _, e := range h.ended {
		if e.id == id {
			return e, nil
		}
	}
	return nil, ErrUnknownEnvironment
}

// end kills the environments together and waits until their processes are gone.
func end(environments []*environment) {
	for _, e := range environments {
		e.kill()
	}
	for _, e := range environments {
		<-e.gone
	}
}

// newID returns a random id in the form of a UUID, as Lambda's request ids have it.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
