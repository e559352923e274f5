package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/sts"
)

const operationHeader = "X-Amz-Target"

// route serves DynamoDB, Secrets Manager, SQS and STS at one URL, as clients are told where each is anyway.
func route(tables, secrets, queue, identity http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch operation := r.Header.Get(operationHeader); {
		case strings.HasPrefix(operation, "secretsmanager."):
			secrets.ServeHTTP(w, r)
		case strings.HasPrefix(operation, "AmazonSQS."):
			queue.ServeHTTP(w, r)
		case sts.Asks(r):
			identity.ServeHTTP(w, r)
		default:
			tables.ServeHTTP(w, r)
		}
	})
}

// listen serves a handler at a free port of this machine and returns its URL.
func listen(handler http.Handler) (*http.Server, string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with ErrServerClosed, at Close
	return server, "http://" + listener.Addr().String(), nil
}

// A gate counts who fetches values, and holds everybody until as many have come as are expected: who fetches a secret for the first time waits for the
// other environments of its function, so that the invocations that started them all run at once.
type gate struct {
	next http.Handler

	mu      sync.Mutex // guards what follows
	wanted  int
	waiting int
	open    chan struct{} // closed when enough have come
	fetches map[string]int
}

// expect closes the gate until n have come.
func (g *gate) expect(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wanted, g.open = n, make(chan struct{})
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(operationHeader) == "secretsmanager.GetSecretValue" {
		request, ok := readRequest(w, r)
		if !ok {
			return
		}
		var of struct {
			SecretID string `json:"SecretId"`
		}
		_ = json.Unmarshal(request, &of) // what is no request is refused by the stand-in
		g.pass(r.Context(), of.SecretID)
	}
	g.next.ServeHTTP(w, r)
}

// readRequest returns a request's body, and leaves it to be read again.
func readRequest(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	request, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "reading the request", http.StatusBadRequest)
		return nil, false
	}
	r.Body = io.NopCloser(bytes.NewReader(request))
	return request, true
}

// pass returns when the gate is open, or the client has gone.
func (g *gate) pass(ctx context.Context, secret string) {
	g.mu.Lock()
	g.fetches[secret]++
	g.waiting++
	if g.waiting == g.wanted {
		close(g.open)
		g.wanted = 0
	}
	open, closed := g.open, g.wanted > 0
	g.mu.Unlock()
	if closed {
		select {
		case <-open:
		case <-ctx.Done():
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
}

// handedOut returns how often a secret's value was asked for.
func (g *gate) handedOut(secret string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fetches[secret]
}

// A recorder writes all that the broadcasters ask AWS and are answered to a file, and tells of each request that was
// answered well.
type recorder struct {
	next  http.Handler
	done  func(operation string, request []byte)
	calls *transcript
}

func (c *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, ok := readRequest(w, r)
	if !ok {
		return
	}
	answer := &answer{ResponseWriter: w}
	c.next.ServeHTTP(answer, r)
	operation := r.Header.Get(operationHeader)
	c.calls.write(map[string]any{
		"time": time.Now().UTC(), "operation": operation, "request": string(request), "status": answer.status, "answer": answer.body.String(),
	})
	if answer.status == http.StatusOK {
		c.done(operation, request)
	}
}

// A transcript keeps what somebody was sent and what they answered, a line each, so that it can be looked through.
type transcript struct {
	mu   sync.Mutex
	file *os.File
}

// say notes an invocation; answer is nil if none came.
func (t *transcript) say(function string, payload, answer []byte) {
	t.write(map[string]any{"function": function, "payload": string(payload), "answer": string(answer)})
}

func (t *transcript) write(line map[string]any) {
	text, _ := json.Marshal(line) // strings, numbers and a time always marshal
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = t.file.Write(append(text, '\n')) // a full disk shows in the tables' journal
}

// An answer is passed on and kept.
type answer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.body.Write(b)
	return a.ResponseWriter.Write(b)
}
