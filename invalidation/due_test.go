package invalidation_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// TestOtherOccasionsUseUpNoAttempts: a function that is throttled for half a minute gets its push, whatever else is going on.
func TestOtherOccasionsUseUpNoAttempts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		until := time.Now().Add(time.Hour)
		b := w.broadcaster(pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
			if time.Now().Before(until) {
				return nil, invalidation.ErrThrottled
			}
			return encoded(t, ackOf(inv.Detail)), nil
		}))
		w.known(b)
		until = time.Now().Add(30 * time.Second)
		for range 600 { // a call every tenth of a second
			w.deliver(b)
			time.Sleep(100 * time.Millisecond)
		}
		if d := w.onlyDelivery(1); d.Outcome != invalidation.Acknowledged || d.Attempts > 12 {
			t.Errorf("got %+v", d)
		}
	})
}

// TestANewChangeIsPushedAtOnce, also to a function whose older delivery waits. If it gets through, it settles that as well;
// if not, it uses up no attempt of it.
func TestANewChangeIsPushedAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		throttled := true
		b := w.broadcaster(pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
			if throttled {
				return nil, invalidation.ErrThrottled
			}
			return encoded(t, ackOf(inv.Detail)), nil
		}))
		change := func(v int) {
			w.put(neon)
			w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(v)))
		}
		w.known(b)
		change(3) // takes ten seconds
		w.deliver(b)
		w.confirm(b, invalidation.Appended, func() events.Signal { w.create(stripe); return hint(stripe) }())
		time.Sleep(-10*time.Second + 11*time.Second)
		first := w.onlyDelivery(1)
		w.deliver(b)
		if d := w.onlyDelivery(1); d.Attempts > first.Attempts+3 {
			t.Errorf("revision 1 was tried %d times, then %d", first.Attempts, d.Attempts)
		}
		throttled = false
		change(5)
		w.deliver(b)
		for revision := int64(1); revision <= 4; revision++ {
			if d := w.onlyDelivery(revision); d.Outcome != invalidation.Acknowledged {
				t.Errorf("revision %d: %+v", revision, d)
			}
		}
		if len(w.open()) > 0 {
			t.Errorf("open: %v", w.open())
		}
	})
}

// TestMessagesToOurselvesDoNotMultiply: whatever is wrong, and however many calls find it.
func TestMessagesToOurselvesDoNotMultiply(t *testing.T) {
	for name, edit := range map[string]func(*invalidation.Config){
		"a push that fails":                pushedTo(func(context.Context, string, wire.Invalidation) ([]byte, error) { return nil, errInjected }),
		"outcomes that cannot be recorded": func(cfg *invalidation.Config) { cfg.Fanouts = unrecorded{cfg.Fanouts} },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var messages []time.Time // when each arrives
				arriving := resuming(func(after time.Duration) { messages = append(messages, time.Now().Add(after)) })
				b := w.broadcaster(func(cfg *invalidation.Config) { cfg.Resumer = arriving }, edit)
				w.known(b)
				began := time.Now()
				calls := 0
				for time.Since(began) < 10*time.Minute {
					for range 10 { // other events, at the same time
						_ = b.Deliver(t.Context())
					}
					time.Sleep(time.Second)
					for len(messages) > 0 && !messages[0].After(time.Now()) {
						messages = messages[1:]
						calls++
						_ = b.Deliver(t.Context())
					}
				}
				if calls == 0 || calls > 40 {
					t.Errorf("%d messages in ten minutes", calls)
				}
			})
		})
	}
}

type resuming func(after time.Duration)

func (r resuming) Resume(_ context.Context, after time.Duration) error { r(after); return nil }

// unrecorded cannot record outcomes.
type unrecorded struct{ invalidation.Fanouts }

func (unrecorded) Record(context.Context, []invalidation.Delivery) error { return errInjected }

// TestADeploymentDuringAFanOut: who lost the client meanwhile is not pushed to any more.
func TestADeploymentDuringAFanOut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := ready()
		var services []subscribers.Service
		for i := range 20 {
			services = append(services, subscribers.Service{Name: fmt.Sprintf("service-%d", i), Function: "payments-api", Secrets: []string{"neon/*"}})
			for _, report := range r.reports[:2] {
				report.Service = services[i].Name
				r.reports = append(r.reports, report)
			}
		}
		b := w.heard(r, services...)
		began := time.Now()
		slow := func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
			if time.Since(began) > 30*time.Second {
				t.Errorf("pushed %v after the deployment", time.Since(began)-20*time.Second)
			}
			time.Sleep(5 * time.Second)
			return encoded(t, ackOf(inv.Detail)), nil
		}
		w.known(b)
		audience := invalidation.NewAudience("prod", "payments", r, r, nil)
		m := subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: "prod", Domain: "payments", Owner: "x", Services: services}
		s, err := subscribers.New(m, "prod", "payments")
		if err != nil {
			t.Fatal(err)
		}
		one := w.broadcaster(func(cfg *invalidation.Config) {
			cfg.Subscribed, cfg.Audience, cfg.MaxPushes = w.packaged(s), audience, 1
		}, pushedTo(slow))
		began = time.Now()
		time.AfterFunc(20*time.Second, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			state := r.states["payments-api"]
			state.Versions = []invalidation.FunctionVersion{{Version: "$LATEST", Modified: time.Now()}}
			r.states["payments-api"] = state
		})
		w.deliver(one)
		outcomes := map[invalidation.Outcome]bool{}
		for _, d := range w.deliveries(1) {
			outcomes[d.Outcome] = true
		}
		if !outcomes[invalidation.Acknowledged] || !outcomes[invalidation.Skipped] {
			t.Errorf("got %v, want some of each", outcomes)
		}
	})
}

// TestAnAliasThatWasJustMoved: Lambda may still run the version of before.
func TestAnAliasThatWasJustMoved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := ready()
		next := r.reports[0]
		next.Version, next.Environment = "8", "e3"
		r.reports = append(r.reports, next)
		b := w.heard(r, subscribers.Service{Name: "payments-api", Function: "payments-api:live", Secrets: []string{"neon/*"}})
		w.known(b)
		w.deliver(b)
		state := r.states["payments-api:live"]
		state.Versions = []invalidation.FunctionVersion{{Version: "8", Modified: state.Versions[0].Modified}}
		r.states["payments-api:live"] = state
		for i, want := range []invalidation.Outcome{invalidation.Skipped, invalidation.Acknowledged} {
			w.put(neon) // ten seconds, so that a look is not young any more
			w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(3+i)))
			w.deliver(b)
			if d := w.onlyDelivery(int64(2 + i)); d.Outcome != want {
				t.Errorf("revision %d: got %+v, want %s", 2+i, d, want)
			}
			time.Sleep(time.Minute)
		}
	})
}

// TestWhatAFunctionSaysInItsOwnWordsIsNotKept: it may quote anything.
func TestWhatAFunctionSaysInItsOwnWordsIsNotKept(t *testing.T) {
	const canary = "canary-4711"
	for name, edit := range map[string]func(*wire.Ack){
		"in a problem":  func(a *wire.Ack) { a.Problem = "cannot log in with " + canary },
		"in a reason":   outcome(wire.Failed, "cannot log in with "+canary),
		"in a name":     func(a *wire.Ack) { a.Secrets = []wire.SecretOutcome{{Name: canary, Outcome: wire.Applied}} },
		"in an outcome": outcome(wire.Outcome(canary), ""),
		"in a service":  func(a *wire.Ack) { a.Service = "said \"" + canary + "\"" },
		"at length":     func(a *wire.Ack) { a.Problem = strings.Repeat(canary, 50_000) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				logs := new(strings.Builder)
				b := w.broadcaster(logged(logs), pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
					a := ackOf(inv.Detail)
					edit(&a)
					return encoded(t, a), nil
				}))
				w.known(b)
				w.deliver(b)
				if kept := string(encoded(t, w.deliveries(1))) + logs.String(); strings.Contains(kept, canary) {
					t.Errorf("it is in %s", kept)
				}
				if diff := cmp.Diff(1, len(w.deliveries(1))); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func logged(to *strings.Builder) func(*invalidation.Config) {
	return func(cfg *invalidation.Config) { cfg.Logger = slog.New(slog.NewJSONHandler(to, nil)) }
}
