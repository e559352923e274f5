package functions

import (
	"io"
	"os"
	"os/exec"
	"sync"
)

// process is the runtime of an environment or one of its extensions. kill may be called by anybody at any time.
type process struct {
	gone chan struct{} // closed when it has ended, or will not be started any more

	mu     sync.Mutex // guards what follows
	begun  bool       // it has been started, or never will be
	pid    int        // 0 until it runs
	killed bool
	exited bool
	exit   string // how it exited, for example "exit status 1"
}

func newProcess() *process { return &process{gone: make(chan struct{})} }

// start starts the process, which is killed at once if kill has been called before. ended is called when it has ended, and
// told whether that was its own doing.
func (p *process) start(s *spawner, command []string, env []string, output io.Writer, ended func(byItself bool)) error {
	c := exec.Command(command[0], command[1:]...) //nolint:noctx // the host ends it, with all that it started
	c.Env, c.WaitDelay = env, outputLimit
	if output != nil {
		c.Stdout, c.Stderr = output, output
	}
	if err := s.start(c); err != nil {
		p.abandon()
		return err
	}
	p.mu.Lock()
	p.begun, p.pid = true, c.Process.Pid
	if p.killed {
		sendSignal(p.pid, kill)
	}
	p.mu.Unlock()
	go p.reap(c, ended)
	return nil
}

// abandon says that the process will not be started, unless it has been.
func (p *process) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.begun {
		p.begun = true
		close(p.gone)
	}
}

// reap waits for the end of the process and then for nobody: what it has started itself is killed too.
func (p *process) reap(c *exec.Cmd, ended func(byItself bool)) {
	_ = c.Wait() // how it ended is in ProcessState
	p.mu.Lock()
	p.exited, p.exit = true, c.ProcessState.String()
	byItself := !p.killed
	sendSignal(p.pid, kill)
	p.mu.Unlock()
	ended(byItself)
	close(p.gone)
}

// kill ends the process, now or as soon as it has been started. It does not wait; gone says when.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.pid != 0 && !p.exited {
		sendSignal(p.pid, kill)
	}
}

func (p *process) signal(s processSignal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 && !p.exited {
		sendSignal(p.pid, s)
	}
}

// id is the process's, or 0 as long as it has not been started.
func (p *process) id() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid != 0 && !p.exited
}

func (p *process) howItExited() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// shared makes a writer fit for several processes at once. A file is: what writes to it is the processes themselves.
func shared(w io.Writer) io.Writer {
	if _, file := w.(*os.File); file || w == nil {
		return w
	}
	return &sharedWriter{w: w}
}

type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}
