package invalidation_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const apiARN = "arn:aws:lambda:eu-west-2:111122223333:function:payments-api"

// A registry is what Lambda says of functions, and what environments have reported.
type registry struct {
	mu      sync.Mutex                            // held while it is asked
	states  map[string]invalidation.FunctionState // by the name that is asked for
	lookErr error
	reports []wire.Report
	readErr error

	looks, reads int
}

func (r *registry) Look(_ context.Context, function string) (invalidation.FunctionState, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	if r.lookErr != nil {
		return invalidation.FunctionState{}, r.lookErr
	}
	state, ok := r.states[function]
	if !ok {
		return state, fmt.Errorf("%w: %s", invalidation.ErrNoFunction, function)
	}
	return state, nil
}

func (r *registry) Of(_ context.Context, service string) ([]wire.Report, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	var all []wire.Report
	for _, report := range r.reports {
		if report.Service == service {
			all = append(all, report)
		}
	}
	return all, r.readErr
}

func (r *registry) All(context.Context) ([]wire.Report, error) {
	return r.reports, r.readErr
}

// ready is a function payments-api:live whose version 7 runs the client, and payments-api whose $LATEST does.
func ready() *registry {
	modified := time.Now().Add(-time.Hour)
	tags := map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: "prod", invalidation.DomainTag: "payments", "team": "payments"}
	report := wire.Report{Service: "payments-api", TakesInvalidations: true, Function: apiARN + ":live", Version: "7", Environment: "e1", Started: modified.Add(time.Second)}
	latest := report
	latest.Function, latest.Version, latest.Environment, latest.Started = apiARN, "$LATEST", "e2", modified.Add(2*time.Minute)
	return &registry{
		states: map[string]invalidation.FunctionState{
			"payments-api:live":  {ARN: apiARN, Tags: tags, Versions: []invalidation.FunctionVersion{{Version: "7", Modified: modified}}},
			apiARN + ":live":     {ARN: apiARN, Tags: tags, Versions: []invalidation.FunctionVersion{{Version: "7", Modified: modified}}},
			"payments-api":       {ARN: apiARN, Tags: tags, Versions: []invalidation.FunctionVersion{{Version: "$LATEST", Modified: modified}}},
			apiARN:               {ARN: apiARN, Tags: tags, Versions: []invalidation.FunctionVersion{{Version: "$LATEST", Modified: modified}}},
			"payments-api:shift": {ARN: apiARN, Tags: tags, Versions: []invalidation.FunctionVersion{{Version: "7", Modified: modified}, {Version: "8", Modified: modified}}},
		},
		reports: []wire.Report{report, latest},
	}
}

// willing is a function that takes invalidations, by whatever name it is looked at.
type willing struct{}

const willingARN = "arn:aws:lambda:eu-west-2:111122223333:function:willing"

func (willing) Look(context.Context, string) (invalidation.FunctionState, error) {
	return invalidation.FunctionState{
		ARN: willingARN, Versions: []invalidation.FunctionVersion{{Version: "1"}},
		Tags: map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: "prod", invalidation.DomainTag: "payments"},
	}, nil
}

func (willing) Of(context.Context, string) ([]wire.Report, error) {
	return []wire.Report{{TakesInvalidations: true, Function: willingARN, Version: "1", Started: time.Unix(1, 0)}}, nil
}

func (willing) All(context.Context) ([]wire.Report, error) { return nil, nil }

func everybody() *invalidation.Audience {
	return invalidation.NewAudience("prod", "payments", willing{}, willing{}, nil)
}

// heard returns a broadcaster whose functions are the registry's.
func (w *world) heard(r *registry, services ...subscribers.Service) *invalidation.Broadcaster {
	w.t.Helper()
	m := subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: "prod", Domain: "payments", Owner: "payments-oncall@bank.example", Services: services}
	s, err := subscribers.New(m, "prod", "payments")
	if err != nil {
		w.t.Fatal(err)
	}
	audience := invalidation.NewAudience("prod", "payments", r, r, nil)
	return w.broadcaster(func(cfg *invalidation.Config) { cfg.Subscribed, cfg.Audience = w.packaged(s), audience })
}

// TestWhoIsPushedTo: a push goes where a client takes it, and nowhere else.
func TestWhoIsPushedTo(t *testing.T) {
	type is = invalidation.FunctionState
	edit := func(r *registry, function string, change func(*is)) {
		state := r.states[function]
		tags := map[string]string{}
		for k, v := range state.Tags {
			tags[k] = v
		}
		state.Tags = tags
		change(&state)
		r.states[function] = state
	}
	for name, c := range map[string]struct {
		function string // of the manifest
		deliver  string
		change   func(r *registry)
		want     string // function, outcome and reason of each delivery
	}{
		"an alias whose version runs the client": {"payments-api:live", "", nil, "payments-api:live acknowledged "},
		"$LATEST that runs the client":           {"payments-api", "", nil, "payments-api acknowledged "},
		"the subscription wants no push":         {"payments-api:live", "pull", nil, "payments-api:live skipped pull"},
		"no tag to push":                         {"payments-api", "", func(r *registry) { edit(r, "payments-api", func(s *is) { delete(s.Tags, invalidation.PushTag) }) }, "payments-api skipped untagged"},
		"a tag to push that says no":             {"payments-api", "", func(r *registry) { edit(r, "payments-api", func(s *is) { s.Tags[invalidation.PushTag] = "false" }) }, "payments-api skipped untagged"},
		"tagged for another domain": {"payments-api", "", func(r *registry) {
			edit(r, "payments-api", func(s *is) { s.Tags[invalidation.DomainTag] = "payments-archive" })
		}, "payments-api skipped untagged"},
		"tagged for another env":                      {"payments-api", "", func(r *registry) { edit(r, "payments-api", func(s *is) { s.Tags[invalidation.EnvTag] = "test" }) }, "payments-api skipped untagged"},
		"nobody has reported":                         {"payments-api", "", func(r *registry) { r.reports = nil }, "payments-api skipped no-report"},
		"only a client without a wrapped handler has": {"payments-api", "", func(r *registry) { r.reports[1].TakesInvalidations = false }, "payments-api skipped no-report"},
		"only another function of the service has":    {"payments-api", "", func(r *registry) { r.reports[1].Function = apiARN + "-batch" }, "payments-api skipped no-report"},
		"only another version has":                    {"payments-api:live", "", func(r *registry) { r.reports[0].Version = "6" }, "payments-api:live skipped no-report"},
		"only another service has":                    {"payments-api", "", func(r *registry) { r.reports[1].Service = "payments-batch" }, "payments-api skipped no-report"},
		"deployed anew since":                         {"payments-api", "", func(r *registry) { edit(r, "payments-api", func(s *is) { s.Versions[0].Modified = time.Now() }) }, "payments-api skipped no-report"},
		"started while $LATEST was being deployed": {"payments-api", "", func(r *registry) {
			r.reports[1].Started = r.states["payments-api"].Versions[0].Modified.Add(time.Minute)
		}, "payments-api skipped no-report"},
		"an alias that shifts to a version nobody knows": {"payments-api:shift", "", nil, "payments-api:shift skipped no-report"},
		"an alias that shifts to one that is known": {"payments-api:shift", "", func(r *registry) {
			next := r.reports[0]
			next.Version, next.Environment = "8", "e3"
			r.reports = append(r.reports, next)
		}, "payments-api:shift acknowledged "},
		"no such function":            {"payments-old", "", nil, "payments-old failed no-function"},
		"not to be looked at":         {"payments-api", "", func(r *registry) { r.lookErr = fmt.Errorf("%w: by IAM", invalidation.ErrNotPermitted) }, "payments-api skipped not-permitted"},
		"Lambda does not say":         {"payments-api", "", func(r *registry) { r.lookErr = errInjected }, "payments-api pending unreachable"},
		"no reports can be had":       {"payments-api", "", func(r *registry) { r.readErr = errInjected }, "payments-api pending unreachable"},
		"whoever reports the service": {"", "", nil, apiARN + " acknowledged |" + apiARN + ":live acknowledged "},
		"whoever reports it, once per version": {"", "", func(r *registry) {
			byName := r.reports[0]
			byName.Function, byName.Environment = apiARN+":7", "e3"
			r.states[apiARN+":7"] = r.states[apiARN+":live"]
			r.reports = append(r.reports, byName)
		}, apiARN + " acknowledged |" + apiARN + ":7 acknowledged "},
		"nobody reports the service":       {"", "", func(r *registry) { r.reports = nil }, " skipped no-report"},
		"who reports it cannot be had now": {"", "", func(r *registry) { r.readErr = errInjected }, " pending unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				r := ready()
				if c.change != nil {
					c.change(r)
				}
				b := w.heard(r, subscribers.Service{Name: "payments-api", Function: c.function, Secrets: []string{"neon/*"}, Deliver: c.deliver})
				w.known(b)
				w.deliver(b)
				got := ""
				for i, d := range w.deliveries(1) {
					if i > 0 {
						got += "|"
					}
					got += fmt.Sprintf("%s %s %s", d.Function, d.Outcome, d.Reason)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("deliveries (-want +got):\n%s", diff)
				}
				acknowledged := 0
				for _, d := range w.deliveries(1) {
					if d.Outcome == invalidation.Acknowledged {
						acknowledged++
					}
				}
				if pushed := len(w.pushes()); pushed != acknowledged {
					t.Errorf("%d pushes, %d were to be", pushed, acknowledged)
				}
			})
		})
	}
}

// TestALookAtAFunctionCountsForTenSeconds: not longer, or a client that was taken out would be pushed to.
func TestALookAtAFunctionCountsForTenSeconds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := ready()
		b := w.heard(r, subscribers.Service{Name: "payments-api", Function: "payments-api", Secrets: []string{"neon/*"}})
		w.known(b)
		w.deliver(b)
		change := func(after time.Duration, v int) {
			w.put(neon) // takes ten seconds
			w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(v)))
			time.Sleep(after - 10*time.Second)
			w.deliver(b)
		}
		change(10*time.Second, 3)
		if r.looks != 2 || r.reads != 1 {
			t.Errorf("%d looks and %d reads of reports, want 2, since one counts for less than ten seconds, and 1: what is proven stays so", r.looks, r.reads)
		}
		state := r.states["payments-api"]
		state.Versions = []invalidation.FunctionVersion{{Version: "$LATEST", Modified: time.Now()}}
		r.states["payments-api"] = state
		change(10*time.Second, 4)
		if d := w.onlyDelivery(3); d.Outcome != invalidation.Skipped || d.Reason != invalidation.NoReport {
			t.Errorf("after it was modified: %+v", d)
		}
	})
}

// TestWhatWasNotToBeToldIsSettledOnceItIs: no delivery is left pending for a function that is none of the service's.
func TestWhatWasNotToBeToldIsSettledOnceItIs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := ready()
		r.readErr = errInjected
		b := w.heard(r, subscribers.Service{Name: "payments-api", Secrets: []string{"neon/*"}})
		w.known(b)
		w.deliver(b)
		r.readErr = nil
		time.Sleep(5 * time.Second)
		w.deliver(b)
		got := map[string]invalidation.Outcome{}
		for _, d := range w.deliveries(1) {
			got[d.Function] = d.Outcome
		}
		want := map[string]invalidation.Outcome{"": invalidation.Skipped, apiARN: invalidation.Acknowledged, apiARN + ":live": invalidation.Acknowledged}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if len(w.open()) > 0 {
			t.Errorf("open: %v", w.open())
		}
	})
}

// asked is a Resumer that keeps what it was asked for.
type asked struct {
	after []time.Duration
	err   error
}

func (a *asked) Resume(ctx context.Context, after time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.after = append(a.after, after)
	return a.err
}

func TestWhatIsLeftPendingAsksToBeResumed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		later := &asked{}
		resumed := func(cfg *invalidation.Config) { cfg.Resumer = later }
		failing := w.broadcaster(resumed, pushedTo(func(context.Context, string, wire.Invalidation) ([]byte, error) { return nil, errInjected }))
		w.known(failing)
		for _, due := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, time.Hour} {
			for range 3 { // calls on other occasions neither push nor ask
				w.deliver(failing)
			}
			time.Sleep(due)
		}
		if diff := cmp.Diff([]time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second}, later.after); diff != "" {
			t.Errorf("later each time, and not once it has been given up (-want +got):\n%s", diff)
		}
		later.after = nil
		w.put(neon)
		w.confirm(failing, invalidation.Appended, w.event(events.Moved, neon, version(3)))
		w.deliver(w.broadcaster(resumed))
		if len(later.after) > 0 {
			t.Errorf("nothing is left, but it asked to be resumed after %v", later.after)
		}
	})
}

func TestAStopAsksToBeResumed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		later := &asked{}
		ctx, stop := context.WithCancel(t.Context())
		b := w.broadcaster(func(cfg *invalidation.Config) { cfg.Resumer = later }, pushedTo(func(ctx context.Context, _ string, _ wire.Invalidation) ([]byte, error) {
			stop()
			return nil, ctx.Err()
		}))
		w.known(b)
		if err := b.Deliver(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff([]time.Duration{5 * time.Second}, later.after); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestThatItCannotAskToBeResumedIsAnError(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster(func(cfg *invalidation.Config) { cfg.Resumer = &asked{err: errInjected} },
			pushedTo(func(context.Context, string, wire.Invalidation) ([]byte, error) { return nil, errInjected }))
		w.known(b)
		if err := b.Deliver(t.Context()); !errors.Is(err, errInjected) {
			t.Errorf("got %v", err)
		}
	})
}

// TestAnAudienceIsSafeForConcurrentUse: the invocations of a process share one on Lambda Managed Instances.
func TestAnAudienceIsSafeForConcurrentUse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.known(w.broadcaster())
		var (
			audience   = everybody()
			deliveries sync.WaitGroup
		)
		for range 8 {
			b := w.broadcaster(func(cfg *invalidation.Config) { cfg.Audience = audience })
			deliveries.Go(func() {
				if err := b.Deliver(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		deliveries.Wait()
		if d := w.onlyDelivery(1); d.Outcome != invalidation.Acknowledged {
			t.Errorf("got %+v", d)
		}
	})
}
