package kill_test

import (
	"context"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
)

const (
	// killEvery is how long nobody is killed at the most, unless the broadcaster is at rest.
	killEvery = 300 * time.Millisecond
	// maxCalls is how many calls of the broadcaster later it is killed at the most: about as many as one event takes.
	maxCalls = 25
	// appending is the operation that appends to the log.
	appending = "DynamoDB_20120810.TransactWriteItems"
)

// A strike is when the broadcaster is to be killed: at one of its calls to come. The zero strike never.
type strike struct {
	mu    sync.Mutex
	left  int    // calls until then
	only  string // calls of another operation do not count; "": all do
	after bool   // once the call has had its effect, not before
	done  chan struct{}
}

// arm has the nth call from now on struck and returns a channel that is closed then.
func (s *strike) arm(n int, only string, after bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.only, s.after, s.done = n, only, after, make(chan struct{})
	return s.done
}

// next counts a call and says whether it is to be struck before or after its effect.
func (s *strike) next(operation string) (before, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 || s.only != "" && s.only != operation {
		return false, false
	}
	if s.left--; s.left > 0 {
		return false, false
	}
	close(s.done)
	return !s.after, s.after
}

// kill kills until ctx ends: one of the broadcaster's processes that are at work at any moment, or, since most moments are
// spent waiting, all of them at one of their calls.
func (w *world) kill(ctx context.Context) {
	r := w.random(5)
	for pause(ctx, between(r, 0, killEvery)) {
		if r.IntN(2) == 0 {
			if busy := w.busy(); len(busy) > 0 {
				w.killNow(busy[r.IntN(len(busy))])
			}
			continue
		}
		select {
		case <-w.strike.arm(1+r.IntN(maxCalls), "", r.IntN(2) == 0):
		case <-ctx.Done():
		}
	}
	w.strike.arm(0, "", false)
}

// lastAct makes one more change when everything is handled, and kills the broadcaster between its append and its first push:
// nothing comes later that would make up for it but the message's return.
func (w *world) lastAct(ctx context.Context) {
	w.t.Helper()
	if err := w.queue.Wait(ctx); err != nil {
		w.t.Fatal(err)
	}
	struck := w.strike.arm(1, appending, true)
	told, err := w.changeOnce(w.random(6), w.all[0])
	if err != nil {
		w.t.Fatal(err)
	}
	w.queue.Send(told)
	select {
	case <-struck:
	case <-ctx.Done():
		w.t.Fatalf("waiting for the last append: %v", ctx.Err())
	}
}

// busy returns the broadcaster's environments that are at work.
func (w *world) busy() (ids []string) {
	for _, e := range w.host.Environments() {
		if e.Function == broadcaster && e.State == functions.Busy {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// killNow kills environments and returns when their processes are gone.
func (w *world) killNow(environments ...string) {
	for _, e := range environments {
		w.done(w.host.Kill(e))
		w.counts.kills.Add(1)
	}
	open, err := w.store.Open(context.Background())
	w.done(err)
	if len(open) > 0 {
		w.counts.killsInFanout.Add(int64(len(environments)))
	}
}

// called lets a call of the broadcaster have its effect, unless it is killed before. It returns false if nobody is left who
// waits for the answer.
func (w *world) called(operation string, effect func()) bool {
	before, after := w.strike.next(operation)
	if before {
		w.killNow(w.busy()...)
		return false
	}
	effect()
	if after {
		w.killNow(w.busy()...)
	}
	return !after
}

// beforePush sees every push before it reaches an environment.
func (w *world) beforePush(functions.Invocation) error {
	if !w.called("Invoke", func() {}) {
		return functions.ErrDropConnection
	}
	return nil
}

// afterPush sees every push that reached an environment.
func (w *world) afterPush(_ functions.Invocation, r functions.Result) {
	w.counts.pushes.Add(1)
	if r.FunctionError == "" {
		w.counts.acks.Add(1)
	}
	w.called("Invoke", func() {})
}
