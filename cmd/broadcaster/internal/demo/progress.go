package demo

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// redraw is how often the live line of a terminal is written anew.
const redraw = 200 * time.Millisecond

// Progress tells people what happens: a line per step and, on a terminal, a live one with how many environments serve the
// new version by now. It is safe for concurrent use.
type Progress struct {
	out   io.Writer
	live  bool
	began time.Time

	mu     sync.Mutex
	status func() string // nil while there is nothing to tell
}

// NewProgress returns a Progress that writes to out, with a live line if out is a terminal.
func NewProgress(out io.Writer, terminal bool) *Progress {
	return &Progress{out: out, live: terminal, began: time.Now()}
}

// Say tells the next step.
func (p *Progress) Say(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	status := ""
	if p.status != nil && !p.live {
		status = "  (" + p.status() + ")"
	}
	fmt.Fprintf(p.out, "%6.1fs  %s%s\n", time.Since(p.began).Seconds(), step, status)
}

// follow shows a status until it is stopped.
func (p *Progress) follow(status func() string) (stop func()) {
	p.mu.Lock()
	p.status = status
	p.mu.Unlock()
	done := make(chan struct{})
	var running sync.WaitGroup
	if p.live {
		running.Go(func() { p.draw(done) })
	}
	return func() {
		close(done)
		running.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.clear()
		p.status = nil
	}
}

func (p *Progress) draw(done <-chan struct{}) {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.clear()
			fmt.Fprint(p.out, "         new version served: ", p.status())
			p.mu.Unlock()
		}
	}
}

// clear empties the live line. The caller holds mu.
func (p *Progress) clear() {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
