package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// nodePackage is where the Node client stands, with what builds it.
const nodePackage = "../../subscribers/node"

// A nodeProcess is a Node process that many Node clients live in. It has no clock, no timer and no network: whatever a
// client wants it asks for here. It answers a message once nothing is left to run in it, and whoever reads from a pipe is
// not durably blocked, so synctest's time stands still until then.
type nodeProcess struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader

	mu   sync.Mutex // one exchange at a time
	made int        // clients

	exchanges atomic.Int64 // odd while one is on its way
	ended     chan struct{}
}

// A message is what a Node client is told.
type message struct {
	Op     string `json:"op"`
	Client int    `json:"client"`
	Call   int    `json:"call,omitempty"` // who it is for: of the model for invoke, own and get, of the client for answer and timer
	// Both clocks, in milliseconds as performance.now and Date.now tell them.
	Monotonic float64 `json:"monotonic"`
	Wall      int64   `json:"wall"`

	Config  *nodeConfig     `json:"config,omitempty"`
	ID      string          `json:"id,omitempty"` // of the secret to get
	Payload json.RawMessage `json:"payload,omitempty"`
	Error   *nodeError      `json:"error,omitempty"`
}

type nodeConfig struct {
	Env     string `json:"env"`
	Domain  string `json:"domain"`
	Service string `json:"service"`
}

type nodeError struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

func (e *nodeError) Error() string { return e.Name + ": " + e.Message }

// An answer is what became of a message: how the client stands now and what it wants.
type answer struct {
	State nodeState `json:"state"`
	Wants []want    `json:"wants"`
}

// A want is one thing that a client asks for or tells.
type want struct {
	Want string `json:"want"`
	Call int    `json:"call"`

	Revision int64           `json:"revision"`
	Limit    int             `json:"limit"`
	ID       string          `json:"id"`
	Version  string          `json:"version"`
	Report   json.RawMessage `json:"report"`
	After    float64         `json:"after"` // milliseconds
	Text     string          `json:"text"`
	Value    json.RawMessage `json:"value"`
	Error    *nodeError      `json:"error"`
}

// startNode bundles the client that stands in a directory with the model's harness and starts it.
func startNode(ctx context.Context, client, dir string) (*nodeProcess, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("the model's Node environments need Node 20 or later on the PATH: %w", err)
	}
	esbuild, err := filepath.Abs(filepath.Join(nodePackage, "node_modules", "esbuild", "bin", "esbuild"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(esbuild); err != nil {
		return nil, fmt.Errorf("run npm ci in subscribers/node: the model bundles the Node client with its esbuild (%w)", err)
	}
	if client, err = filepath.Abs(client); err != nil {
		return nil, err
	}
	bundle := filepath.Join(dir, "harness.mjs")
	build := exec.CommandContext(ctx, esbuild, "node/harness.ts", "--bundle", "--platform=node", "--format=esm",
		"--target=node20", "--alias:client="+client, "--log-level=warning", "--sourcemap=inline", "--outfile="+bundle)
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bundling the Node client in %s: %w\n%s", client, err, out)
	}
	p := &nodeProcess{command: exec.CommandContext(ctx, node, "--enable-source-maps", bundle)}
	p.command.Stderr = os.Stderr
	in, err := p.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out, p.ended = in, bufio.NewReader(out), make(chan struct{})
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go p.watch()
	return p, nil
}

// watch kills a process that has not answered for a minute: a client that never comes to rest stops the model's time.
func (p *nodeProcess) watch() {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for last := int64(0); ; {
		select {
		case <-ticker.C:
		case <-p.ended:
			return
		}
		now := p.exchanges.Load()
		if now == last && now%2 == 1 {
			_ = p.command.Process.Kill()
		}
		last = now
	}
}

// stop ends the process: it has nothing to do once its input has ended.
func (p *nodeProcess) stop() error {
	close(p.ended)
	return errors.Join(p.in.Close(), p.command.Wait())
}

// exchange sends a message and returns what became of it. The caller holds mu.
func (p *nodeProcess) exchange(m message) (answer, error) {
	p.exchanges.Add(1)
	defer p.exchanges.Add(1)
	line, err := json.Marshal(m)
	if err != nil {
		return answer{}, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return answer{}, err
	}
	line, err = p.out.ReadBytes('\n')
	if err != nil {
		return answer{}, err
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return answer{}, fmt.Errorf("a line that is no answer: %w", err)
	}
	return a, nil
}
