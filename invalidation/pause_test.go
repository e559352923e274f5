package invalidation_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// setPause is what a command of somebody on call comes to.
func (w *world) setPause(paused bool) {
	w.t.Helper()
	p := invalidation.Pause{Paused: paused, By: "arn:aws:iam::111122223333:user/oncall", Reason: "INC-4711", At: time.Now()}
	by := invalidation.Command{Name: "pause", By: p.By, Reason: p.Reason, At: p.At, RequestID: "request-1"}
	if err := w.store.SetPause(w.t.Context(), p, by); err != nil {
		w.t.Fatal(err)
	}
}

// standing is how the deliveries of a revision stand, one line each.
func (w *world) standing(revision int64) []string {
	w.t.Helper()
	lines := []string{}
	for _, d := range w.deliveries(revision) {
		lines = append(lines, strings.TrimSpace(d.Subscription+" "+string(d.Outcome)+" "+string(d.Reason)))
	}
	return lines
}

// TestAPauseHoldsPushesBackAndLosesNone: changes go on being appended, deliveries are seen to wait, and the end of the pause
// is one push of the head for all of them.
func TestAPauseHoldsPushesBackAndLosesNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		calls := &asked{}
		b := w.broadcaster(func(cfg *invalidation.Config) {
			cfg.Resumer = calls
			cfg.Subscribed = w.packaged(subscribed(t, subscribers.Service{Name: "payments-api", Secrets: []string{"**"}}, subscribers.Service{Name: "payments-batch", Secrets: []string{"**"}, Deliver: "pull"}))
		})
		w.known(b)
		w.deliver(b)
		w.setPause(true)
		before := len(w.pushes())
		for v := 3; v <= 4; v++ {
			w.put(neon)
			w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(v)))
			w.deliver(b)
		}
		for _, revision := range []int64{2, 3} {
			want := []string{"payments-api pending paused", "payments-batch skipped pull"}
			if diff := cmp.Diff(want, w.standing(revision)); diff != "" {
				t.Errorf("revision %d (-want +got)\n%s", revision, diff)
			}
		}
		if diff := cmp.Diff([]int64{2, 3}, w.open()); diff != "" || len(w.pushes()) != before || len(calls.after) > 0 {
			t.Errorf("pushed %v, asked to be resumed %v, open (-want +got)\n%s", w.pushes()[before:], calls.after, diff)
		}
		if d := w.deliveries(2)[0]; d.Attempts != 0 {
			t.Errorf("being held back used up %d attempts", d.Attempts)
		}
		w.setPause(false)
		w.deliver(b)
		if diff := cmp.Diff([]int64{3}, w.pushes()[before:]); diff != "" || len(w.open()) > 0 {
			t.Errorf("open %v, pushed (-want +got)\n%s", w.open(), diff)
		}
		for _, revision := range []int64{2, 3} {
			if got := w.standing(revision)[0]; got != "payments-api acknowledged" {
				t.Errorf("revision %d: %s", revision, got)
			}
		}
	})
}

// TestWhatIsHeldBackIsWrittenOnce: a pause may last for days of ticks.
func TestWhatIsHeldBackIsWrittenOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.setPause(true)
		w.deliver(b)
		first := w.deliveries(1)
		time.Sleep(time.Hour)
		w.deliver(b)
		if diff := cmp.Diff(first, w.deliveries(1)); diff != "" || len(first) == 0 {
			t.Errorf("(-first +later)\n%s", diff)
		}
	})
}

// TestAPauseEndsAFanOutThatIsUnderWay: within a second, not after the last of a thousand functions.
func TestAPauseEndsAFanOutThatIsUnderWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var services []subscribers.Service
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			services = append(services, subscribers.Service{Name: name, Secrets: []string{"**"}})
		}
		pushed := 0
		b := w.broadcaster(pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
			if pushed++; pushed == 2 {
				w.setPause(true)
			}
			time.Sleep(600 * time.Millisecond) // what a push takes
			return encoded(t, ackOf(inv.Detail)), nil
		}), func(cfg *invalidation.Config) {
			cfg.MaxPushes, cfg.Subscribed = 1, w.packaged(subscribed(t, services...))
		})
		w.known(b)
		w.deliver(b)
		standing := w.standing(1)
		if pushed > 3 || len(standing) != len(services) || !slices.Contains(standing, "f pending paused") {
			t.Errorf("%d pushes, and then\n%s", pushed, strings.Join(standing, "\n"))
		}
	})
}

// TestAPauseThatEndsMeanwhile: whoever ended it delivered before this revision was there, so this one asks to be resumed.
func TestAPauseThatEndsMeanwhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		calls := &asked{}
		b := w.broadcaster(func(cfg *invalidation.Config) {
			cfg.Resumer, cfg.Control = calls, &ending{Control: w.store, asks: 2}
		})
		w.known(b)
		w.deliver(b) // in which no time passes
		if got := w.standing(1); len(got) != 1 || got[0] != "payments-api pending paused" || len(calls.after) != 1 {
			t.Errorf("%v, asked to be resumed %v", got, calls.after)
		}
		w.deliver(b)
		if len(w.open()) > 0 {
			t.Errorf("open %v", w.open())
		}
	})
}

// ending is a pause that somebody ends after it was asked for so often.
type ending struct {
	invalidation.Control
	asks int
}

func (e *ending) Pause(context.Context) (invalidation.Pause, error) {
	e.asks--
	return invalidation.Pause{Paused: e.asks > 0}, nil
}

// TestWithoutKnowingOfAPauseNothingIsPushed: the log has told already, and somebody may have asked for silence.
func TestWithoutKnowingOfAPauseNothingIsPushed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster(func(cfg *invalidation.Config) { cfg.Control = unreadable{} })
		w.known(b)
		if err := b.Deliver(t.Context()); err == nil || !strings.Contains(err.Error(), "whether pushes are paused") {
			t.Errorf("got %v", err)
		}
		if len(w.pushes()) > 0 || len(w.open()) != 1 {
			t.Errorf("pushed %v, open %v", w.pushes(), w.open())
		}
	})
}

type unreadable struct{ invalidation.Control }

func (unreadable) Pause(context.Context) (invalidation.Pause, error) {
	return invalidation.Pause{}, errInjected
}
