package invalidation_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// manifestOf is the text of a manifest with the given services, each of which wants all.
func manifestOf(services ...string) []byte {
	text := "apiVersion: secret-broadcaster/v1\nenv: prod\ndomain: payments\nowner: payments-oncall@bank.example\nservices: ["
	for _, s := range services {
		text += `{name: ` + s + `, function: ` + s + `, secrets: ["**"]},`
	}
	return []byte(text + "]\n")
}

// deployed is what a process has that was deployed with a manifest.
func (w *world) deployed(manifest []byte) *invalidation.Subscribed {
	w.t.Helper()
	f, err := subscribers.Parse("payments.yaml", manifest, "prod", "payments")
	if err != nil {
		w.t.Fatal(err)
	}
	return invalidation.NewSubscribed("prod", "payments", w.store, invalidation.Packaged{Subscriptions: f.Subscriptions(), Text: manifest})
}

func applyOf(reason string) invalidation.Command {
	return invalidation.Command{Name: "apply", By: "arn:aws:iam::111122223333:user/" + reason, Reason: reason, At: time.Now().UTC(), RequestID: reason}
}

// apply applies a manifest in the place of another.
func (w *world) apply(s *invalidation.Subscribed, manifest, before []byte, reason string) error {
	w.t.Helper()
	_, _, err := s.Apply(w.t.Context(), invalidation.Application{Text: manifest, Replaces: subscribers.Digest(before)}, applyOf(reason), false)
	return err
}

// wantSubscribed: these services are subscribed for whoever asks.
func wantSubscribed(t *testing.T, s *invalidation.Subscribed, services ...string) {
	t.Helper()
	subscriptions, err := s.Subscriptions(t.Context())
	var got []string
	for _, sub := range subscriptions.Match([]string{neon}) {
		got = append(got, sub.Service)
	}
	if err != nil || !slices.Equal(got, services) {
		t.Errorf("%v are subscribed (%v), want %v", got, err, services)
	}
}

// TestThePackagedManifestHoldsUntilOneIsApplied: after that, deployments change nothing.
func TestThePackagedManifestHoldsUntilOneIsApplied(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		one, two, applied := manifestOf("one"), manifestOf("two"), manifestOf("applied")
		first, second := w.deployed(one), w.deployed(two)
		wantSubscribed(t, first, "one")
		for _, s := range []*invalidation.Subscribed{first, first, second} {
			if err := s.Publish(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		h, err := w.store.Holding(t.Context())
		if err != nil || h.Digest != subscribers.Digest(two) || h.Previous != subscribers.Digest(one) || !h.Packaged || h.Sequence != 2 {
			t.Errorf("published: %+v, %v", h, err)
		}
		if text, err := w.store.Manifest(t.Context(), h.Digest); err != nil || string(text) != string(two) {
			t.Errorf("published: %s, %v", text, err)
		}
		wantSubscribed(t, first, "one") // its own, not what another deployment brings
		if err := w.apply(second, applied, two, "reviewed"); err != nil {
			t.Fatal(err)
		}
		third := w.deployed(manifestOf("three"))
		if err := third.Publish(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*invalidation.Subscribed{first, second, third} {
			wantSubscribed(t, s, "applied")
		}
		if text, err := w.store.Manifest(t.Context(), subscribers.Digest(one)); err != nil || string(text) != string(one) {
			t.Errorf("what held before is not kept: %s, %v", text, err)
		}
	})
}

// TestApplyDoesWhatWasPlannedOrNothing.
func TestApplyDoesWhatWasPlannedOrNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		packaged, one, two := manifestOf("packaged"), manifestOf("one"), manifestOf("two")
		s := w.deployed(packaged)
		dry := invalidation.Application{Text: one, Replaces: subscribers.Digest(packaged)}
		_, _, err := s.Apply(t.Context(), dry, applyOf("dry"), true)
		if h, problem := w.store.Holding(t.Context()); !errors.Is(err, invalidation.ErrMoved) || problem != nil || h != (invalidation.Holding{}) {
			t.Errorf("a dry run before the process has begun ends with %v, and then %+v, %v", err, h, problem)
		}
		if err := w.apply(s, one, nil, "planned against nothing"); !errors.Is(err, invalidation.ErrMoved) || !strings.Contains(err.Error(), "a deployment brought another manifest: plan again") {
			t.Errorf("planned against nothing: %v", err)
		}
		was, is, err := s.Apply(t.Context(), dry, applyOf("dry"), true)
		if err != nil || was.Digest != dry.Replaces || is.Digest != subscribers.Digest(one) || is.Reason != "dry" {
			t.Errorf("dry run: %+v, %+v, %v", was, is, err)
		}
		if _, err := w.store.Manifest(t.Context(), is.Digest); err == nil {
			t.Error("a dry run keeps the manifest")
		}
		wantSubscribed(t, s, "packaged")

		if err := w.apply(s, one, packaged, "first"); err != nil {
			t.Fatal(err)
		}
		if err := w.apply(s, two, packaged, "late"); !errors.Is(err, invalidation.ErrMoved) || !strings.Contains(err.Error(), "user/first applied another manifest at ") || !strings.Contains(err.Error(), "(first): plan again") {
			t.Errorf("planned before another's apply: %v", err)
		}
		if err := w.apply(s, one, packaged, "again"); err != nil {
			t.Errorf("the same again: %v", err)
		}
		if err := w.apply(s, []byte("services: []\n"), one, "wrong"); err == nil || !strings.Contains(err.Error(), "manifest:1:1: env: is missing") {
			t.Errorf("a manifest that is none: %v", err)
		}
		wantSubscribed(t, s, "one")
		records, err := w.store.Commands(t.Context())
		var got []string
		for _, r := range records {
			got = append(got, r.Reason+" "+r.About)
		}
		if diff := cmp.Diff([]string{"first " + subscribers.Digest(one)}, got); err != nil || diff != "" {
			t.Errorf("records: %v (-want +got)\n%s", err, diff)
		}
	})
}

// TestApplyingWhatIsPackagedMakesItStay: the next deployment does not take its place any more.
func TestApplyingWhatIsPackagedMakesItStay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		packaged := manifestOf("packaged")
		if err := w.apply(w.deployed(packaged), packaged, packaged, "keep it"); err != nil {
			t.Fatal(err)
		}
		wantSubscribed(t, w.deployed(manifestOf("next")), "packaged")
	})
}

// A meeting is where all have read what holds before one writes.
type meeting struct {
	*dynamodb.Store
	ready *sync.WaitGroup
}

// Keep implements invalidation.Manifests.
func (m meeting) Keep(ctx context.Context, text []byte) error {
	m.ready.Done()
	m.ready.Wait()
	return m.Store.Keep(ctx, text)
}

// TestOfAppliesAtOnceOneWins: the loser is told who it was.
func TestOfAppliesAtOnceOneWins(t *testing.T) {
	for range 20 {
		inWorld(t, func(t *testing.T, w *world) {
			packaged := manifestOf("packaged")
			if err := w.deployed(packaged).Publish(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
			var (
				wg, ready sync.WaitGroup
				errs      = map[string]error{}
				mu        sync.Mutex
			)
			ready.Add(3)
			for _, who := range []string{"alice", "bob", "carol"} {
				s := invalidation.NewSubscribed("prod", "payments", meeting{w.store, &ready}, invalidation.Packaged{})
				wg.Go(func() {
					err := w.apply(s, manifestOf(who), packaged, who)
					mu.Lock()
					defer mu.Unlock()
					errs[who] = err
				})
			}
			wg.Wait()
			var won []string
			for who, err := range errs {
				if err == nil {
					won = append(won, who)
				}
			}
			if len(won) != 1 {
				t.Fatalf("%v won: %v", won, errs)
			}
			wantSubscribed(t, w.deployed(packaged), won...)
			for who, err := range errs {
				if who != won[0] && (!errors.Is(err, invalidation.ErrMoved) || !strings.Contains(err.Error(), "user/"+won[0]+" applied")) {
					t.Errorf("%s is told %v", who, err)
				}
			}
			if records, err := w.store.Commands(t.Context()); err != nil || len(records) != 1 || records[0].Reason != won[0] {
				t.Errorf("records %+v, %v", records, err)
			}
		})
	}
}

// TestAnApplyIsFollowedWithoutARestart: by the next fan-out, and by whoever asks what a deletion comes to.
func TestAnApplyIsFollowedWithoutARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := w.deployed(manifestOf("payments-api"))
		b := w.broadcaster(func(cfg *invalidation.Config) { cfg.Subscribed = s })
		w.known(b)
		w.deliver(b)
		if err := w.apply(w.deployed(manifestOf("payments-api")), append(manifestOf("payments-new"), "onDelete: ttl\n"...), manifestOf("payments-api"), "by another process"); err != nil {
			t.Fatal(err)
		}
		w.put(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(3)))
		w.deliver(b)
		for revision, want := range map[int64]string{1: "payments-api acknowledged", 2: "payments-new acknowledged"} {
			if got := w.standing(revision); len(got) != 1 || got[0] != want {
				t.Errorf("revision %d: %v, want %s", revision, got, want)
			}
		}
		w.delete(neon)
		w.confirm(b, invalidation.Unchanged, w.event(events.Deleted, neon, ""))
		ttl := append(manifestOf("payments-new"), "onDelete: ttl\n"...)
		if err := w.apply(s, manifestOf("payments-next"), ttl, "the next"); err != nil {
			t.Fatal(err)
		}
		wantSubscribed(t, s, "payments-next")
	})
}

// TestWithoutKnowingWhoIsSubscribedNobodyIsForgotten: changes are appended, their fan-outs wait, a deletion comes back.
func TestWithoutKnowingWhoIsSubscribedNobodyIsForgotten(t *testing.T) {
	for name, breaks := range map[string]func(w *world, dark *forgetful){
		"which manifest holds cannot be read": func(_ *world, dark *forgetful) { dark.holding = true },
		"the manifest that holds is lost":     func(_ *world, dark *forgetful) { dark.manifest = true },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				packaged := manifestOf("payments-api")
				if err := w.apply(w.deployed(packaged), manifestOf("payments-new"), packaged, "reviewed"); err != nil {
					t.Fatal(err)
				}
				w.create(neon)
				w.create(stripe)
				w.confirm(w.broadcaster(), invalidation.Appended, w.event(events.Moved, neon, version(1)), w.event(events.Moved, stripe, version(2)))
				dark := &forgetful{Store: w.store}
				breaks(w, dark)
				b := w.broadcaster(func(cfg *invalidation.Config) {
					cfg.Subscribed = invalidation.NewSubscribed("prod", "payments", dark, invalidation.Packaged{Subscriptions: subscribed(t)})
				})
				w.put(neon)
				w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(3)))
				if err := b.Deliver(t.Context()); !errors.Is(err, errInjected) || len(w.pushes()) > 0 {
					t.Errorf("delivering ends with %v, %d pushes", err, len(w.pushes()))
				}
				w.delete(stripe)
				w.confirm(b, invalidation.Failed, w.event(events.Deleted, stripe, ""))
				time.Sleep(10 * time.Minute)
				w.put(neon)
				if r, err := b.Reconcile(t.Context()); r.Found != 1 { // the one that is no deletion
					t.Errorf("reconciling: %+v, %v", r, err)
				}
				*dark = forgetful{Store: w.store}
				w.confirm(b, invalidation.Appended, w.event(events.Deleted, stripe, ""))
				w.deliver(b)
				if open := w.open(); len(open) > 0 {
					t.Errorf("open: %v", open)
				}
				for revision := range int64(4) {
					if got := w.standing(revision + 1); len(got) != 1 || got[0] != "payments-new acknowledged" {
						t.Errorf("revision %d: %v", revision+1, got)
					}
				}
			})
		})
	}
}

// forgetful keeps manifests and does not give them out.
type forgetful struct {
	*dynamodb.Store
	holding, manifest bool
}

// Holding implements invalidation.Manifests.
func (u *forgetful) Holding(ctx context.Context) (invalidation.Holding, error) {
	if u.holding {
		return invalidation.Holding{}, errInjected
	}
	return u.Store.Holding(ctx)
}

// Manifest implements invalidation.Manifests.
func (u *forgetful) Manifest(ctx context.Context, digest string) ([]byte, error) {
	if u.manifest {
		return nil, errInjected
	}
	return u.Store.Manifest(ctx, digest)
}

// TestAFaultAtEveryStepOfAnApply: what holds is there, and it is what held before or what was applied; doing it again ends it.
func TestAFaultAtEveryStepOfAnApply(t *testing.T) {
	packaged, applied := manifestOf("packaged"), manifestOf("applied")
	for how, f := range kindsOfFault() {
		t.Run(how, func(t *testing.T) {
			for step, last := 1, false; !last; step++ {
				inWorld(t, func(t *testing.T, w *world) {
					if err := w.deployed(packaged).Publish(t.Context(), time.Now()); err != nil {
						t.Fatal(err)
					}
					struck, ctx := f.at(t.Context(), step)
					a := invalidation.Application{Text: applied, Replaces: subscribers.Digest(packaged)}
					first := invalidation.NewSubscribed("prod", "payments", w.behind(struck), invalidation.Packaged{})
					_, _, _ = first.Apply(ctx, a, applyOf("first"), false)
					if subscriptions, err := w.deployed(packaged).Subscriptions(t.Context()); err != nil || len(subscriptions.Match([]string{neon})) != 1 {
						t.Errorf("step %d: after the fault: %v", step, err)
					}
					if err := w.apply(w.deployed(packaged), applied, packaged, "second"); err != nil {
						t.Errorf("step %d: again: %v", step, err)
					}
					wantSubscribed(t, w.deployed(packaged), "applied")
					if records, err := w.store.Commands(t.Context()); err != nil || len(records) != 1 {
						t.Errorf("step %d: records %+v, %v", step, records, err)
					}
					if last = struck.calls < step; last && step < 5 {
						t.Errorf("a run without a fault has %d steps", struck.calls)
					}
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

// TestAManifestThatWasAlteredDoesNotHold: until it is applied again, which mends it.
func TestAManifestThatWasAlteredDoesNotHold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		packaged, applied := manifestOf("packaged"), manifestOf("applied")
		if err := w.apply(w.deployed(packaged), applied, packaged, "reviewed"); err != nil {
			t.Fatal(err)
		}
		w.write(operationsTable, "subscriptions#"+subscribers.Digest(applied), "0000", string(manifestOf("forged")))
		if _, err := w.deployed(packaged).Subscriptions(t.Context()); err == nil || !strings.Contains(err.Error(), "is not kept as it was written: apply it again") {
			t.Errorf("altered: %v", err)
		}
		if err := w.apply(w.deployed(packaged), applied, packaged, "again"); err != nil {
			t.Fatal(err)
		}
		wantSubscribed(t, w.deployed(packaged), "applied")
	})
}

// write puts a text where the store keeps its own.
func (w *world) write(table, partition, sort, data string) {
	w.t.Helper()
	s := func(text string) types.AttributeValue { return &types.AttributeValueMemberS{Value: text} }
	item := map[string]types.AttributeValue{"pk": s(partition), "sk": s(sort), "data": s(data)}
	if _, err := w.client.PutItem(w.t.Context(), &awsdynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
		w.t.Fatal(err)
	}
}
