package invalidation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// missing are services of which two take pushes.
func missing() []subscribers.Service {
	return []subscribers.Service{
		{Name: "payments-api", Secrets: []string{"**"}},
		{Name: "payments-batch", Secrets: []string{"**"}},
		{Name: "payments-report", Secrets: []string{"**"}, Deliver: "pull"},
	}
}

// outage has revisions 2 and 3 fail at both functions, and returns those deliveries.
func (w *world) outage() []invalidation.Missed {
	w.t.Helper()
	down := w.broadcaster(w.subscribing(), pushedTo(func(context.Context, string, wire.Invalidation) ([]byte, error) {
		return nil, errors.Join(invalidation.ErrThrottled, invalidation.ErrPermanent)
	}))
	w.known(w.broadcaster(w.subscribing()))
	w.deliver(w.broadcaster(w.subscribing()))
	var missed []invalidation.Missed
	for v := 3; v <= 4; v++ {
		w.put(neon)
		w.confirm(down, invalidation.Appended, w.event(events.Moved, neon, version(v)))
		w.deliver(down)
		revision := int64(v - 1)
		want := []string{"payments-api failed throttled", "payments-batch failed throttled", "payments-report skipped pull"}
		if diff := cmp.Diff(want, w.standing(revision)); diff != "" {
			w.t.Fatalf("revision %d (-want +got)\n%s", revision, diff)
		}
		for _, service := range []string{"payments-api", "payments-batch"} {
			missed = append(missed, invalidation.Missed{Revision: revision, Subscription: service, Function: service})
		}
	}
	w.mu.Lock()
	w.pushed = nil
	w.mu.Unlock()
	return missed
}

func (w *world) subscribing() func(*invalidation.Config) {
	return func(cfg *invalidation.Config) { cfg.Subscribed = w.packaged(subscribed(w.t, missing()...)) }
}

// wantReplayed: each function has what is current, from one push of the head, and nothing is left.
func (w *world) wantReplayed(when string) {
	w.t.Helper()
	for _, revision := range []int64{2, 3} {
		want := []string{"payments-api acknowledged", "payments-batch acknowledged", "payments-report skipped pull"}
		if diff := cmp.Diff(want, w.standing(revision)); diff != "" {
			w.t.Errorf("%s: revision %d (-want +got)\n%s", when, revision, diff)
		}
	}
	if open := w.open(); len(open) > 0 {
		w.t.Errorf("%s: open %v", when, open)
	}
	for _, revision := range w.pushes() {
		if revision != 3 {
			w.t.Errorf("%s: revision %d was pushed, which is not current", when, revision)
		}
	}
}

func TestReplay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		missed := w.outage()
		b := w.broadcaster(w.subscribing())
		before := w.standing(2)
		would, err := b.WouldReplay(t.Context(), missed)
		if err != nil || len(would) != 4 || len(w.open())+len(w.commands())+len(w.pushes()) > 0 || !slices.Equal(before, w.standing(2)) {
			t.Errorf("a dry run: %+v, %v, and it wrote", would, err)
		}
		is, err := b.Replay(t.Context(), append(missed, missed[0]), ordered("replay", "request-1")) // one of them twice
		if diff := cmp.Diff(would, is); err != nil || diff != "" {
			t.Errorf("%v, a dry run said otherwise (-would +is)\n%s", err, diff)
		}
		for _, r := range is {
			if r.Left != "" || r.Outcome != invalidation.Pending || r.Attempts != 0 || len(r.EventIDs) != 1 {
				t.Errorf("replayed %+v", r)
			}
		}
		w.deliver(b)
		w.wantReplayed("replayed")
		if pushes := w.pushes(); len(pushes) != 2 {
			t.Errorf("pushed %v, want the head once to each of two functions", pushes)
		}
		for _, d := range w.deliveries(2)[:2] {
			if d.Attempts != 1 || len(d.EventIDs) != 1 {
				t.Errorf("attempts do not begin anew: %+v", d)
			}
		}
		if r := w.commands(); len(r) != 1 || r[0].Reason != "INC-4711" || r[0].About != "payments-api: 2, 3; payments-batch: 2, 3" {
			t.Errorf("recorded %+v", r)
		}
	})
}

// TestWhatIsNotReplayed is left as it is, and why is said.
func TestWhatIsNotReplayed(t *testing.T) {
	for name, c := range map[string]struct {
		before func(w *world)
		missed invalidation.Missed
		want   string
	}{
		"it was acknowledged":    {nil, invalidation.Missed{Revision: 1, Subscription: "payments-api", Function: "payments-api"}, "it is acknowledged"},
		"it is not pushed to":    {nil, invalidation.Missed{Revision: 2, Subscription: "payments-report", Function: "payments-report"}, "it is skipped"},
		"no such revision":       {nil, invalidation.Missed{Revision: 9, Subscription: "payments-api", Function: "payments-api"}, "the log has no such delivery"},
		"no such function":       {nil, invalidation.Missed{Revision: 2, Subscription: "payments-api", Function: "kyc-api"}, "the log has no such delivery"},
		"its row was taken away": {func(w *world) { w.rehash(2) }, invalidation.Missed{Revision: 2, Subscription: "payments-api", Function: "payments-api"}, "the log has no such delivery"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.outage()
				if c.before != nil {
					c.before(w)
				}
				before := w.standing(c.missed.Revision)
				is, err := w.broadcaster(w.subscribing()).Replay(t.Context(), []invalidation.Missed{c.missed}, ordered("replay", "request-1"))
				if err != nil || len(is) != 1 || is[0].Left != c.want {
					t.Errorf("got %+v, %v; want %s", is, err, c.want)
				}
				if open := w.open(); len(open) > 0 || !slices.Equal(before, w.standing(c.missed.Revision)) {
					t.Errorf("something was written: open %v", open)
				}
			})
		})
	}
	inWorld(t, func(t *testing.T, w *world) {
		missed := w.outage()
		is, err := w.broadcaster().Replay(t.Context(), missed[1:2], ordered("replay", "request-1")) // payments-batch is not subscribed there
		if err != nil || len(is) != 1 || is[0].Left != "the service is not subscribed any more" || len(w.open()) > 0 {
			t.Errorf("got %+v, %v", is, err)
		}
	})
}

// rehash puts another row in the place of one, as a restore and an append after it do.
func (w *world) rehash(revision int64) {
	w.t.Helper()
	row, err := w.store.Row(w.t.Context(), revision)
	if err != nil {
		w.t.Fatal(err)
	}
	row.Time = row.Time.Add(time.Hour)
	body, err := row.Seal()
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.client.PutItem(w.t.Context(), &awsdynamodb.PutItemInput{TableName: aws.String(changesTable), Item: map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: wire.LogPartition}, "sk": &types.AttributeValueMemberS{Value: wire.RevisionKey(revision)},
		"detail": &types.AttributeValueMemberS{Value: string(body)}, "hash": &types.AttributeValueMemberS{Value: row.Hash},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestAFaultAtEveryStepOfAReplay: a delivery is failed, or pending in an open fan-out, whenever it dies. Whoever comes next
// delivers it, and whoever repeats the replay has all of it done.
func TestAFaultAtEveryStepOfAReplay(t *testing.T) {
	for how, k := range kindsOfFault() {
		t.Run(how, func(t *testing.T) {
			for step, last := 1, false; !last && !t.Failed(); step++ {
				inWorld(t, func(t *testing.T, w *world) {
					missed := w.outage()
					struck, ctx := k.at(t.Context(), step)
					first := w.broadcaster(w.subscribing(), w.behind(struck).configure)
					if _, err := first.Replay(ctx, missed, ordered("replay", "request-1")); err == nil {
						_ = first.Deliver(ctx)
					}
					open := w.open()
					for _, revision := range []int64{2, 3} {
						for _, d := range w.deliveries(revision) {
							if d.Outcome == invalidation.Pending && !slices.Contains(open, revision) {
								t.Errorf("step %d: revision %d to %s is pending, and nobody will come back to it", step, revision, d.Subscription)
							}
						}
					}
					second := w.broadcaster(w.subscribing())
					if _, err := second.Replay(t.Context(), missed, ordered("replay", "request-2")); err != nil {
						t.Errorf("step %d: the second ends with %v", step, err)
					}
					w.deliver(second)
					time.Sleep(10 * time.Second) // what the first had tried is due
					w.deliver(second)
					w.wantReplayed(fmt.Sprint("step ", step))
					if last = struck.calls < step; last && step < 15 {
						t.Errorf("a run without a fault has %d steps", struck.calls)
					}
				})
			}
		})
	}
}

// TestTwoWhoReplayAtOnce do no harm: whatever one finds, the other is doing.
func TestTwoWhoReplayAtOnce(t *testing.T) {
	for range 20 {
		inWorld(t, func(t *testing.T, w *world) {
			missed := w.outage()
			var wg sync.WaitGroup
			for _, id := range []string{"request-1", "request-2"} {
				wg.Go(func() {
					b := w.broadcaster(w.subscribing())
					if _, err := b.Replay(t.Context(), missed, ordered("replay", id)); err != nil {
						t.Error(err)
					}
					if err := b.Deliver(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			w.deliver(w.broadcaster(w.subscribing()))
			w.wantReplayed("both")
			if r := w.commands(); len(r) != 2 {
				t.Errorf("%d records", len(r))
			}
		})
	}
}

// TestAReplayMeetsADelivery: whoever is about to close the fan-out has not seen what is pending again.
func TestAReplayMeetsADelivery(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		missed := w.outage()
		b := w.broadcaster(w.subscribing())
		if _, err := b.Replay(t.Context(), missed[:1], ordered("replay", "request-1")); err != nil { // payments-api's of revision 2
			t.Fatal(err)
		}
		delivering := w.broadcaster(w.subscribing(), pushedTo(func(_ context.Context, _ string, inv wire.Invalidation) ([]byte, error) {
			if len(w.commands()) == 1 {
				if _, err := b.Replay(t.Context(), missed[1:2], ordered("replay", "request-2")); err != nil { // payments-batch's of the same
					t.Error(err)
				}
			}
			return encoded(t, ackOf(inv.Detail)), nil
		}))
		w.deliver(delivering)
		if diff := cmp.Diff([]string{"payments-api acknowledged", "payments-batch pending", "payments-report skipped pull"}, w.standing(2)); diff != "" || len(w.open()) != 1 {
			t.Fatalf("open %v (-want +got)\n%s", w.open(), diff)
		}
		w.deliver(b)
		if diff := cmp.Diff([]string{"payments-api acknowledged", "payments-batch acknowledged", "payments-report skipped pull"}, w.standing(2)); diff != "" || len(w.open()) != 0 {
			t.Errorf("open %v (-want +got)\n%s", w.open(), diff)
		}
	})
}

// TestAReplayWhilePaused waits, and is seen to.
func TestAReplayWhilePaused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		missed := w.outage()
		w.setPause(true)
		b := w.broadcaster(w.subscribing())
		if _, err := b.Replay(t.Context(), missed, ordered("replay", "request-2")); err != nil {
			t.Fatal(err)
		}
		w.deliver(b)
		if got := w.standing(3)[0]; got != "payments-api pending paused" || len(w.pushes()) != 0 {
			t.Errorf("got %s, pushed %v", got, w.pushes())
		}
		time.Sleep(time.Minute)
		w.setPause(false)
		w.deliver(b)
		w.wantReplayed("resumed")
	})
}

// TestARecordIsBounded whatever was selected.
func TestARecordIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var missed []invalidation.Missed
		for i := range int64(invalidation.MaxReplayed) {
			missed = append(missed, invalidation.Missed{Revision: 1e18 + i, Subscription: "payments-api", Function: "payments-api"})
		}
		if _, err := w.broadcaster().Replay(t.Context(), missed, ordered("replay", "request-1")); err != nil {
			t.Fatal(err)
		}
		if about := w.commands()[0].About; len(about) > 1<<10+len("…") || !strings.HasPrefix(about, "payments-api: 1000000000000000000, ") {
			t.Errorf("%d bytes: %s", len(about), about)
		}
	})
}
