package functions

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// shutdownLimit is how long extensions may take for the Shutdown phase
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html).
const shutdownLimit = 2 * time.Second

// extension is an external extension of an environment: a process beside the function's that the Extensions API tells of
// each invocation and of the end.
type extension struct {
	*process
	name       string
	command    []string
	identifier string
	managed    bool // the environment has several invocations at once: it is not told of them

	registered chan struct{}       // closed when it has registered
	inbox      chan extensionEvent // unbuffered: handed to the /event/next that waits

	mu      sync.Mutex // guards what follows
	events  []string
	waiting chan struct{} // closed while it has nothing to do: it has asked for the next event
	asked   bool          // waiting is closed
}

func newExtension(command []string, managed bool) *extension {
	return &extension{
		process: newProcess(), name: filepath.Base(command[0]), command: command, identifier: newID(), managed: managed,
		registered: make(chan struct{}), inbox: make(chan extensionEvent), waiting: make(chan struct{}),
	}
}

// An extensionEvent is the body of an answer to /event/next.
type extensionEvent struct {
	Type           string `json:"eventType"`
	DeadlineMillis int64  `json:"deadlineMs"`
	RequestID      string `json:"requestId,omitempty"`
	FunctionARN    string `json:"invokedFunctionArn,omitempty"`
	Reason         string `json:"shutdownReason,omitempty"`
}

const (
	invokeEvent   = "INVOKE"
	shutdownEvent = "SHUTDOWN"
)

func (x *extension) wants(event string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Contains(x.events, event)
}

// atRest is closed while the extension waits for an event.
func (x *extension) atRest() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.waiting
}

// routeExtensions serves the Extensions API, 2020-01-01, to the extensions of an environment.
func routeExtensions(mux *http.ServeMux, e *environment) {
	all := e.extensions
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, r *http.Request) {
		i := slices.IndexFunc(all, func(x *extension) bool { return x.name == r.Header.Get("Lambda-Extension-Name") })
		if i < 0 {
			runtimeRefuse(w, http.StatusForbidden, "Extension.InvalidExtensionName", "Invalid Lambda-Extension-Name")
			return
		}
		all[i].register(w, r, e)
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(w http.ResponseWriter, r *http.Request) {
		i := slices.IndexFunc(all, func(x *extension) bool { return x.identifier == r.Header.Get("Lambda-Extension-Identifier") })
		if i < 0 {
			runtimeRefuse(w, http.StatusForbidden, "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
			return
		}
		all[i].next(w, r)
	})
}

// register takes an extension's registration.
func (x *extension) register(w http.ResponseWriter, r *http.Request, e *environment) {
	var body struct {
		Events []string `json:"events"`
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&body) != nil {
		runtimeRefuse(w, http.StatusBadRequest, "InvalidRequestFormat", "Could not parse the registration")
		return
	}
	for _, event := range body.Events {
		if event != invokeEvent && event != shutdownEvent || event == invokeEvent && x.managed {
			runtimeRefuse(w, http.StatusForbidden, "Extension.InvalidEventType", fmt.Sprintf("Invalid event type %q", event))
			return
		}
	}
	x.mu.Lock()
	again := x.events != nil
	x.events = append([]string{}, body.Events...) // not nil
	x.mu.Unlock()
	if again {
		runtimeRefuse(w, http.StatusForbidden, "Extension.AlreadyRegistered", "Extension is already registered")
		return
	}
	close(x.registered)
	w.Header().Set("Lambda-Extension-Identifier", x.identifier)
	account := ""
	if r.Header.Get("Lambda-Extension-Accept-Feature") == "accountId" {
		account = fmt.Sprintf(`,"accountId":%q`, e.host.account)
	}
	runtimeReply(w, http.StatusOK, fmt.Sprintf(`{"functionName":%q,"functionVersion":%q,"handler":"bootstrap"%s}`, e.function.name, latest, account))
}

// next answers with the next event.
func (x *extension) next(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	if !x.asked {
		x.asked = true
		close(x.waiting)
	}
	x.mu.Unlock()
	select {
	case <-r.Context().Done():
	case event := <-x.inbox:
		body, _ := json.Marshal(event) // strings and a number always marshal
		runtimeReply(w, http.StatusOK, string(body))
	}
}

// tell hands an event to the extension, which then has something to do. It returns false if that cannot be reached.
func (x *extension) tell(event extensionEvent, limit <-chan time.Time) bool {
	x.mu.Lock()
	x.waiting, x.asked = make(chan struct{}), false
	x.mu.Unlock()
	select {
	case x.inbox <- event:
		return true
	case <-x.gone:
	case <-limit:
	}
	return false
}

// shutDown ends an environment at rest as Lambda does: the runtime at once, the extensions after they have been told.
func (e *environment) shutDown() {
	e.mu.Lock()
	e.stopping = true
	e.mu.Unlock()
	e.signal(thaw)
	e.runtime.kill()
	<-e.runtime.gone
	limit := time.NewTimer(shutdownLimit)
	defer limit.Stop()
	for _, x := range e.extensions {
		if x.wants(shutdownEvent) && x.tell(extensionEvent{Type: shutdownEvent, DeadlineMillis: time.Now().Add(shutdownLimit).UnixMilli(), Reason: "SPINDOWN"}, limit.C) {
			select {
			case <-x.gone:
			case <-limit.C:
			}
		}
	}
	end([]*environment{e})
}

// shutDown ends environments together and waits until their processes are gone.
func shutDown(environments []*environment) {
	var all sync.WaitGroup
	for _, e := range environments {
		all.Go(e.shutDown)
	}
	all.Wait()
}
