package functions

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// request is one event on its way through an environment.
type request struct {
	id       string
	arn      string
	payload  []byte
	deadline time.Time

	// Guarded by runtimeAPI.mu.
	result   outcome
	answered chan struct{} // closed when result is set
	settled  chan struct{} // closed when the next event is asked for after that
}

func newRequest(id, arn string, payload []byte) *request {
	return &request{
		id: id, arn: arn, payload: payload,
		answered: make(chan struct{}), settled: make(chan struct{}),
	}
}

// runtimeAPI is the Lambda Runtime API, 2018-06-01, for one environment
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
type runtimeAPI struct {
	server  *http.Server
	address string

	events     chan *request // unbuffered: handed to the /next that waits
	ready      chan struct{} // closed by the first /next
	initFailed chan struct{} // closed by /init/error

	mu       sync.Mutex // guards what follows
	polled   bool       // ready is closed
	current  *request   // handed over, or about to be, and not settled
	initBody []byte
}

func serveRuntimeAPI(e *environment) (*runtimeAPI, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the Runtime API: %w", err)
	}
	api := &runtimeAPI{
		address:    listener.Addr().String(),
		events:     make(chan *request),
		ready:      make(chan struct{}),
		initFailed: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", api.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", api.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", api.invocationError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", api.initErrorReported)
	routeExtensions(mux, e)
	api.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = api.server.Serve(listener) }() // ends with ErrServerClosed, at close
	return api, nil
}

func (a *runtimeAPI) close() { _ = a.server.Close() }

// begin says which request the next event is.
func (a *runtimeAPI) begin(r *request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current = r
}

func (a *runtimeAPI) outcomeOf(r *request) (outcome, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return r.result, r.isAnswered()
}

func (a *runtimeAPI) initError() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.initBody
}

func (r *request) isAnswered() bool {
	select {
	case <-r.answered:
		return true
	default:
		return false
	}
}

func (a *runtimeAPI) next(w http.ResponseWriter, incoming *http.Request) {
	a.mu.Lock()
	if !a.polled {
		a.polled = true
		close(a.ready)
	}
	if a.current != nil && a.current.isAnswered() {
		close(a.current.settled)
		a.current = nil
	}
	a.mu.Unlock()

	select {
	case <-incoming.Context().Done():
	case r := <-a.events:
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Lambda-Runtime-Aws-Request-Id", r.id)
		header.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(r.deadline.UnixMilli(), 10))
		header.Set("Lambda-Runtime-Invoked-Function-Arn", r.arn)
		_, _ = w.Write(r.payload) // a process that is gone is noticed by its exit
	}
}

func (a *runtimeAPI) response(w http.ResponseWriter, incoming *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, incoming.Body, syncLimit))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		reason := failure("Function.ResponseSizeTooLarge",
			"Response payload size exceeded maximum allowed payload size (%d bytes).", syncLimit)
		a.answer(w, incoming, reason, http.StatusRequestEntityTooLarge)
	case err != nil:
		runtimeRefuse(w, http.StatusBadRequest, "InvalidRequest", "reading the response failed")
	default:
		a.answer(w, incoming, outcome{payload: body}, http.StatusAccepted)
	}
}

func (a *runtimeAPI) invocationError(w http.ResponseWriter, incoming *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, incoming.Body, syncLimit))
	if err != nil {
		runtimeRefuse(w, http.StatusBadRequest, "InvalidRequest", "reading the error failed")
		return
	}
	a.answer(w, incoming, outcome{payload: body, failed: true}, http.StatusAccepted)
}

// answer takes the outcome of the request under way and gives the process the status.
func (a *runtimeAPI) answer(w http.ResponseWriter, incoming *http.Request, o outcome, status int) {
	a.mu.Lock()
	r := a.current
	taken := r != nil && r.id == incoming.PathValue("id") && !r.isAnswered()
	if taken {
		r.result = o
		close(r.answered)
	}
	a.mu.Unlock()
	if !taken {
		runtimeRefuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	}
	if status != http.StatusAccepted {
		runtimeRefuse(w, status, "RequestEntityTooLarge", "Exceeded maximum allowed payload size")
		return
	}
	runtimeReply(w, status, `{"status":"OK"}`)
}

func (a *runtimeAPI) initErrorReported(w http.ResponseWriter, incoming *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, incoming.Body, syncLimit))
	a.mu.Lock()
	taken := err == nil && !a.polled && a.initBody == nil
	if taken {
		a.initBody = append([]byte{}, body...) // not nil
		close(a.initFailed)
	}
	a.mu.Unlock()
	if !taken {
		runtimeRefuse(w, http.StatusForbidden, "InvalidStateTransition", "Transition is not allowed")
		return
	}
	runtimeReply(w, http.StatusAccepted, `{"status":"OK"}`)
}

func runtimeRefuse(w http.ResponseWriter, status int, kind, message string) {
	runtimeReply(w, status, fmt.Sprintf(`{"errorMessage":%q,"errorType":%q}`, message, kind))
}

func runtimeReply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // a process that is gone is noticed by its exit
}
