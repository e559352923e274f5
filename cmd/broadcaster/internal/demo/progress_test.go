package demo

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// lines is a writer that can be waited on.
type lines struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.writes <- struct{}{}:
	default:
	}
	return l.text.Write(b)
}

func TestProgressOnATerminalIsALiveLine(t *testing.T) {
	out := &lines{writes: make(chan struct{}, 1)}
	p := NewProgress(out, true)
	drawn := make(chan struct{})
	var once sync.Once
	stop := p.follow(func() string { once.Do(func() { close(drawn) }); return "3/12" })
	<-drawn
	stop()
	p.Say("done")
	text := out.text.String()
	if !strings.Contains(text, "\r\x1b[K         new version served: 3/12\r\x1b[K") {
		t.Errorf("no live line, or one that was left standing: %q", text)
	}
	if !strings.HasSuffix(text, "s  done\n") {
		t.Errorf("the step is not the last line: %q", text)
	}
}

func TestProgressElsewhereIsPlainLines(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, false)
	stop := p.follow(func() string { return "3/12" })
	p.Say("rotating")
	stop()
	p.Say("ending")
	if got := out.String(); strings.ContainsAny(got, "\r\x1b") || !strings.Contains(got, "s  rotating  (3/12)\n") || !strings.HasSuffix(got, "s  ending\n") {
		t.Errorf("%q", got)
	}
}
