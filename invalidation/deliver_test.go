package invalidation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// pushing is a function in the place of the one that answers every push as it should.
type pushing func(ctx context.Context, function string, inv wire.Invalidation) ([]byte, error)

func (p pushing) Push(ctx context.Context, function string, payload []byte) ([]byte, error) {
	inv, ours, err := wire.ParseInvalidation(payload)
	if !ours || err != nil {
		return nil, fmt.Errorf("no invalidation: %w", err)
	}
	return p(ctx, function, inv)
}

func pushedTo(function pushing) func(*invalidation.Config) {
	return func(cfg *invalidation.Config) { cfg.Pusher = function }
}

// ackOf is the answer of an environment that has read the log up to a row.
func ackOf(row wire.Row) wire.Ack {
	return wire.Ack{
		Schema: wire.Schema, Client: "test/1", Service: "payments-api", Environment: "environment-1", Revision: row.Revision, Hash: row.Hash,
	}
}

func encoded(t *testing.T, message any) []byte {
	t.Helper()
	text, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestTheHeadIsPushed: the payload is the newest row in EventBridge's envelope.
func TestTheHeadIsPushed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		head := w.rows()[0]
		w.deliver(b)
		want := []wire.Invalidation{{
			Version: "0", ID: head.Hash, Source: "secret-broadcaster", DetailType: "Secret Changed",
			Account: "111122223333", Region: "eu-west-2", Time: head.Time, Resources: []string{}, Detail: head,
		}}
		if diff := cmp.Diff(want, w.pushed); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		w.deliver(b)
		if got := w.pushes(); len(got) != 1 {
			t.Errorf("pushed %v, want once", got)
		}
	})
}

// TestWhatAnAnswerProves: what becomes of a delivery whose function answers the same every time.
func TestWhatAnAnswerProves(t *testing.T) {
	ack := func(edit func(*wire.Ack)) func(t *testing.T, inv wire.Invalidation) ([]byte, error) {
		return func(t *testing.T, inv wire.Invalidation) ([]byte, error) {
			a := ackOf(inv.Detail)
			edit(&a)
			return encoded(t, a), nil
		}
	}
	text := func(answer string) func(*testing.T, wire.Invalidation) ([]byte, error) {
		return func(*testing.T, wire.Invalidation) ([]byte, error) { return []byte(answer), nil }
	}
	const unwrapped = "the function answered with no ack: its handler is not wrapped"
	for name, c := range map[string]struct {
		answer   func(t *testing.T, inv wire.Invalidation) ([]byte, error)
		want     invalidation.Outcome
		attempts int
		err      string
	}{
		"an ack of the head":  {ack(func(*wire.Ack) {}), invalidation.Acknowledged, 1, ""},
		"nothing was cached":  {ack(outcome(wire.NotCached, "")), invalidation.Acknowledged, 1, ""},
		"observed only":       {ack(outcome(wire.Observed, "")), invalidation.Acknowledged, 1, ""},
		"an ack of a failure": {ack(outcome(wire.Failed, wire.ReasonRefused)), invalidation.Undelivered, 1, "could not apply " + neon + ": " + wire.ReasonRefused},
		"an ack of another hash": {
			ack(func(a *wire.Ack) { a.Hash = strings.Repeat("0", 64) }), invalidation.Pending, 3, "the ack's hash is not the log's",
		},
		"an ack without a hash":     {ack(func(a *wire.Ack) { a.Hash = "" }), invalidation.Pending, 3, "the ack's hash is not the log's"},
		"an ack from behind":        {ack(func(a *wire.Ack) { a.Revision-- }), invalidation.Pending, 3, "the environment is at revision 0"},
		"an ack of what is not yet": {ack(func(a *wire.Ack) { a.Revision++ }), invalidation.Pending, 3, "the ack's hash is not the log's"},
		"the log could not be read": {ack(func(a *wire.Ack) { a.Problem = wire.ProblemLog }), invalidation.Pending, 3, wire.ProblemLog},
		"a business answer":         {text(`{"statusCode":200}`), invalidation.Undelivered, 1, unwrapped},
		"an ack of no environment":  {ack(func(a *wire.Ack) { a.Environment = "" }), invalidation.Undelivered, 1, unwrapped},
		"null":                      {text(`null`), invalidation.Undelivered, 1, unwrapped},
		"a string":                  {text(`"done"`), invalidation.Undelivered, 1, unwrapped},
		"nothing":                   {text(``), invalidation.Undelivered, 1, unwrapped},
		"an error": {
			func(*testing.T, wire.Invalidation) ([]byte, error) { return nil, errInjected },
			invalidation.Pending, 3, errInjected.Error(),
		},
		"an error for good": {
			func(*testing.T, wire.Invalidation) ([]byte, error) {
				return nil, fmt.Errorf("%w: no such function", invalidation.ErrPermanent)
			},
			invalidation.Undelivered, 1, "not worth trying again: no such function",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := w.broadcaster(pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
					return c.answer(t, inv)
				}))
				w.known(b)
				w.deliver(b)
				d := w.onlyDelivery(1)
				if d.Outcome != c.want || d.Attempts != c.attempts || !strings.Contains(d.Error, c.err) || (d.Error == "") != (c.err == "") {
					t.Errorf("got %s after %d attempts: %q; want %s after %d: %q", d.Outcome, d.Attempts, d.Error, c.want, c.attempts, c.err)
				}
				if d.Subscription != "payments-api" || d.Function != "payments-api" || !d.Time.Equal(time.Now()) {
					t.Errorf("got %+v, want payments-api's, dated now", d)
				}
				if isOpen := len(w.open()) > 0; isOpen != (c.want == invalidation.Pending) {
					t.Errorf("with %s, open: %t", c.want, isOpen)
				}
			})
		})
	}
}

// outcome makes an ack tell of one secret.
func outcome(o wire.Outcome, reason string) func(*wire.Ack) {
	return func(a *wire.Ack) { a.Secrets = []wire.SecretOutcome{{Name: neon, Outcome: o, Reason: reason}} }
}

func (w *world) onlyDelivery(revision int64) invalidation.Delivery {
	w.t.Helper()
	all := w.deliveries(revision)
	if len(all) != 1 {
		w.t.Fatalf("revision %d has the deliveries %+v, want one", revision, all)
	}
	return all[0]
}

// TestAnAckOfARevisionThatWasAppendedMeanwhile: it is from ahead of the push, and counts if it stands on the log.
func TestAnAckOfARevisionThatWasAppendedMeanwhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster(pushedTo(func(context.Context, string, wire.Invalidation) ([]byte, error) {
			w.put(neon)
			w.confirm(w.broadcaster(), invalidation.Appended, w.event(events.Moved, neon, version(3)))
			return encoded(t, ackOf(w.rows()[1])), nil
		}))
		w.known(b)
		w.deliver(b)
		if d := w.onlyDelivery(1); d.Outcome != invalidation.Acknowledged || d.Ack.Revision != 2 {
			t.Errorf("got %+v", d)
		}
		if diff := cmp.Diff([]int64{2}, w.open()); diff != "" {
			t.Errorf("open (-want +got):\n%s", diff)
		}
	})
}

func TestQuickRetries(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var at []time.Duration
		began := time.Now()
		b := w.broadcaster(pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
			if at = append(at, time.Since(began)); len(at) < 3 {
				return nil, errInjected
			}
			return encoded(t, ackOf(inv.Detail)), nil
		}))
		w.known(b)
		began = time.Now()
		w.deliver(b)
		if want := []time.Duration{0, 100 * time.Millisecond, 500 * time.Millisecond}; !slices.Equal(at, want) {
			t.Errorf("pushed after %v, want %v", at, want)
		}
		if d := w.onlyDelivery(1); d.Outcome != invalidation.Acknowledged || d.Attempts != 3 || d.Error != "" {
			t.Errorf("got %+v", d)
		}
	})
}

// TestWhatDoesNotGetThroughIsResumedUntilItIsGivenUp: by any process, and visibly.
func TestWhatDoesNotGetThroughIsResumedUntilItIsGivenUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.known(w.broadcaster())
		for _, attempts := range []int{3, 6, 9, 12} {
			if diff := cmp.Diff([]int64{1}, w.open()); diff != "" {
				t.Fatalf("open before attempt %d (-want +got):\n%s", attempts, diff)
			}
			w.deliver(w.broadcaster(pushedTo(func(context.Context, string, wire.Invalidation) ([]byte, error) { return nil, errInjected })))
			d := w.onlyDelivery(1)
			if gaveUp := d.Outcome == invalidation.Undelivered; d.Attempts != attempts || gaveUp != (attempts == 12) {
				t.Errorf("got %s after %d attempts, want %d", d.Outcome, d.Attempts, attempts)
			}
			time.Sleep(5 * time.Minute)
		}
		if got := w.open(); len(got) > 0 {
			t.Errorf("open after it was given up: %v", got)
		}
	})
}

func TestAPushHasATimeLimit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster(pushedTo(func(ctx context.Context, _ string, _ wire.Invalidation) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		w.known(b)
		began := time.Now()
		w.deliver(b)
		if took, want := time.Since(began), 30*time.Second+500*time.Millisecond; took != want {
			t.Errorf("three pushes that hang took %v, want %v", took, want)
		}
	})
}

func TestOnlySubscriptionsWithPushArePushedTo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var pushed []string
		b := w.broadcaster(pushedTo(func(_ context.Context, function string, inv wire.Invalidation) ([]byte, error) {
			pushed = append(pushed, function)
			return encoded(t, ackOf(inv.Detail)), nil
		}), func(cfg *invalidation.Config) {
			cfg.Subscribed = w.packaged(subscribed(t,
				subscribers.Service{Name: "pushed-to", Function: "payments-api:live", Secrets: []string{"neon/*"}},
				subscribers.Service{Name: "reads-the-log", Secrets: []string{"neon/*"}, Deliver: "pull"},
				subscribers.Service{Name: "wants-another", Secrets: []string{"stripe/*"}},
			))
		})
		w.known(b)
		w.deliver(b)
		if want := []string{"payments-api:live"}; !slices.Equal(pushed, want) {
			t.Errorf("pushed to %v, want %v", pushed, want)
		}
		got := map[string]invalidation.Outcome{}
		for _, d := range w.deliveries(1) {
			got[d.Subscription] = d.Outcome
		}
		want := map[string]invalidation.Outcome{"pushed-to": invalidation.Acknowledged, "reads-the-log": invalidation.Skipped}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if len(w.open()) > 0 {
			t.Error("still open")
		}
	})
}

// TestOnePushOfTheHeadClosesAllBefore: and counts for each.
func TestOnePushOfTheHeadClosesAllBefore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		for v := 3; v <= 4; v++ {
			w.put(neon)
			w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(v)))
		}
		w.deliver(b)
		if diff := cmp.Diff([]int64{3}, w.pushes()); diff != "" {
			t.Errorf("pushed revisions (-want +got):\n%s", diff)
		}
		for revision := int64(1); revision <= 3; revision++ {
			if d := w.onlyDelivery(revision); d.Outcome != invalidation.Acknowledged || d.Ack.Revision != 3 {
				t.Errorf("revision %d: got %+v", revision, d)
			}
		}
		if len(w.open()) > 0 {
			t.Errorf("open: %v", w.open())
		}
	})
}

func TestWhoHasAnsweredIsNotPushedToAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var pushed []string
		b := w.broadcaster(pushedTo(func(_ context.Context, function string, inv wire.Invalidation) ([]byte, error) {
			pushed = append(pushed, function)
			if function == "deaf" {
				return nil, errInjected
			}
			return encoded(t, ackOf(inv.Detail)), nil
		}), func(cfg *invalidation.Config) {
			cfg.MaxPushes, cfg.Retries = 1, []time.Duration{}
			cfg.Subscribed = w.packaged(subscribed(t,
				subscribers.Service{Name: "deaf", Secrets: []string{"**"}}, subscribers.Service{Name: "keen", Secrets: []string{"**"}}))
		})
		w.known(b)
		w.deliver(b)
		w.deliver(b) // nothing is due
		time.Sleep(5 * time.Second)
		w.deliver(b)
		if want := []string{"deaf", "keen", "deaf"}; !slices.Equal(pushed, want) {
			t.Errorf("pushed to %v, want %v", pushed, want)
		}
	})
}

// TestAStopBetweenLeavesTheRestOpen: what one process has begun another ends.
func TestAStopBetweenLeavesTheRestOpen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		subscriptions := func(cfg *invalidation.Config) {
			cfg.MaxPushes = 1
			cfg.Subscribed = w.packaged(subscribed(t,
				subscribers.Service{Name: "first", Secrets: []string{"**"}}, subscribers.Service{Name: "second", Secrets: []string{"**"}}))
		}
		w.known(w.broadcaster())
		ctx, stop := context.WithCancel(t.Context())
		var pushed []string
		push := func(ctx context.Context, function string, inv wire.Invalidation) ([]byte, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			pushed = append(pushed, function)
			return encoded(t, ackOf(inv.Detail)), nil
		}
		err := w.broadcaster(subscriptions, pushedTo(func(ctx context.Context, function string, inv wire.Invalidation) ([]byte, error) {
			defer stop() // after the first answer
			return push(ctx, function, inv)
		})).Deliver(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was stopped", err)
		}
		if diff := cmp.Diff([]int64{1}, w.open()); diff != "" {
			t.Errorf("open (-want +got):\n%s", diff)
		}
		w.deliver(w.broadcaster(subscriptions, pushedTo(push)))
		if !slices.Contains(pushed, "second") || len(w.open()) > 0 {
			t.Errorf("pushed to %v, open %v", pushed, w.open())
		}
	})
}
