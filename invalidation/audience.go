package invalidation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// The tags that a team sets with the wrapped handler. IAM lets the broadcaster invoke nothing without them; the
// broadcaster asks for them itself all the same.
const (
	PushTag   = "secret-broadcaster:push" // "true"
	EnvTag    = "secret-broadcaster:env"
	DomainTag = "secret-broadcaster:domain"
)

const (
	// settling is how long after a function's modification an environment of $LATEST may still run the code of before
	// (https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html): its report proves nothing. A published version
	// is never modified.
	settling = time.Minute
	// looksFor is how long a look at a function counts. A team that takes its client out within it may get one push more.
	looksFor = 10 * time.Second

	latest = "$LATEST"
)

// Errors of Functions and of a Pusher.
var (
	// ErrNoFunction: there is no such function, version or alias.
	ErrNoFunction = errors.New("the function does not exist")
	// ErrNotPermitted: the broadcaster's role may not do this to the function, as if it lacks the tags.
	ErrNotPermitted = errors.New("not permitted")
)

// FunctionState is what Lambda says of a function.
type FunctionState struct {
	// ARN is without a qualifier.
	ARN  string
	Tags map[string]string
	// Versions are those that an invocation may run: one, or two while an alias shifts its traffic.
	Versions []FunctionVersion
}

// FunctionVersion is one version of a function.
type FunctionVersion struct {
	Version  string // $LATEST or a number
	Modified time.Time
}

// Functions looks at functions.
type Functions interface {
	// Look returns how the function stands. The name may be an ARN and may carry a qualifier. It returns ErrNoFunction or
	// ErrNotPermitted, wrapped, if Lambda says so.
	Look(ctx context.Context, function string) (FunctionState, error)
}

// Reports reads what environments have reported.
type Reports interface {
	// Of returns the newest report of each environment of a service.
	Of(ctx context.Context, service string) ([]wire.Report, error)
	// All returns the newest report of each environment of the domain.
	All(ctx context.Context) ([]wire.Report, error)
}

// An Audience says which functions a push may be sent to, so that a push never runs business code: a function without
// the client would take an invalidation for an event of its own. It keeps what it has learned for as long as it counts,
// so there is one for the life of a process. It is safe for concurrent use.
type Audience struct {
	env, domain string
	functions   Functions
	reports     Reports
	now         func() time.Time

	mu     sync.Mutex
	states map[string]kept[FunctionState] // by the function's name in the manifest
	told   map[string]kept[[]wire.Report] // by service
	proven map[provenVersion]bool
	shifts map[string]shift // by the function's name in the manifest
}

// A shift is which versions a function's invocations ran when it was looked at last, and when that was seen to change.
type shift struct {
	versions string
	at       time.Time
}

// kept is an answer that counts for looksFor.
type kept[T any] struct {
	answer T
	err    error
	at     time.Time
}

// A provenVersion is known to run the client: for as long as it is not modified.
type provenVersion struct {
	arn, version string
	modified     time.Time
}

// NewAudience returns an Audience of the functions of one domain. now is time.Now if nil.
func NewAudience(env, domain string, functions Functions, reports Reports, now func() time.Time) *Audience {
	if now == nil {
		now = time.Now
	}
	return &Audience{
		env: env, domain: domain, functions: functions, reports: reports, now: now,
		states: map[string]kept[FunctionState]{}, told: map[string]kept[[]wire.Report]{}, proven: map[provenVersion]bool{},
		shifts: map[string]shift{},
	}
}

// A target is a function to push to, or why it is not.
type target struct {
	function string
	// outcome is Pending if it is to be pushed to; else it is final, and reason says why.
	outcome Outcome
	reason  Reason
}

// of returns the functions of a subscription. An error means that it could not be found out now.
func (a *Audience) of(ctx context.Context, s subscribers.Subscription) ([]target, error) {
	if !s.Push {
		return []target{{s.Function, Skipped, Pull}}, nil
	}
	functions := []string{s.Function}
	if s.ByReport {
		reports, err := a.reportsOf(ctx, s.Service)
		if err != nil {
			return nil, err
		}
		if functions = functionsIn(reports); len(functions) == 0 {
			return []target{{"", Skipped, NoReport}}, nil
		}
	}
	targets := make([]target, 0, len(functions))
	for _, function := range functions {
		t, err := a.judge(ctx, function, s.Service)
		switch {
		case err != nil: // of this one; another may take it
			t = target{function, Pending, Unreachable}
		case s.ByReport && t.reason == NoFunction:
			t.outcome = Skipped // it was deleted since it reported
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// A Target is a function that a subscription means.
type Target struct {
	// Function is empty if those are meant that report the service's name, and none has.
	Function string `json:"function"`
	Pushed   bool   `json:"pushed"`           // a change would be pushed to it now
	Reason   Reason `json:"reason,omitempty"` // why not
}

// Targets says which functions a subscription means, and whether a change would be pushed to them now.
func (a *Audience) Targets(ctx context.Context, s subscribers.Subscription) ([]Target, error) {
	targets, err := a.of(ctx, s)
	if err != nil {
		return nil, err
	}
	all := make([]Target, 0, len(targets))
	for _, t := range targets {
		all = append(all, Target{t.function, t.outcome == Pending && t.reason == "", t.reason})
	}
	return all, nil
}

// judge says whether a function takes invalidations: it has the tags, and of each version that an invocation may run an
// environment has reported a wrapped handler since the version was last modified.
func (a *Audience) judge(ctx context.Context, function, service string) (target, error) {
	state, err := a.look(ctx, function)
	switch {
	case errors.Is(err, ErrNoFunction):
		return target{function, Undelivered, NoFunction}, nil
	case errors.Is(err, ErrNotPermitted):
		return target{function, Skipped, NotPermitted}, nil
	case err != nil:
		return target{}, fmt.Errorf("looking at function %s: %w", function, err)
	case state.Tags[PushTag] != "true" || state.Tags[EnvTag] != a.env || state.Tags[DomainTag] != a.domain:
		return target{function, Skipped, Untagged}, nil
	}
	if a.shifting(function, state) {
		return target{function, Skipped, NoReport}, nil
	}
	for _, v := range state.Versions {
		ok, err := a.proves(ctx, provenVersion{state.ARN, v.Version, v.Modified}, service)
		if err != nil {
			return target{}, err
		}
		if !ok {
			return target{function, Skipped, NoReport}, nil
		}
	}
	return target{function: function, outcome: Pending}, nil
}

// shifting reports whether an alias was seen to move to other versions a moment ago: Lambda may still run those of before.
func (a *Audience) shifting(function string, state FunctionState) bool {
	var versions []string
	for _, v := range state.Versions {
		versions = append(versions, v.Version)
	}
	now, is := a.now(), strings.Join(versions, " ")
	a.mu.Lock()
	defer a.mu.Unlock()
	last, known := a.shifts[function]
	if !known || last.versions != is {
		last = shift{versions: is}
		if known {
			last.at = now
		}
		a.shifts[function] = last
	}
	return !last.at.IsZero() && now.Sub(last.at) < settling
}

func (a *Audience) proves(ctx context.Context, v provenVersion, service string) (bool, error) {
	a.mu.Lock()
	ok := a.proven[v]
	a.mu.Unlock()
	if ok {
		return true, nil
	}
	reports, err := a.reportsOf(ctx, service)
	if err != nil || !slices.ContainsFunc(reports, v.provenBy) {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.proven[v] = true
	return true, nil
}

// provenBy reports whether a report is of an environment that runs the version as it is now, and takes invalidations.
func (v provenVersion) provenBy(r wire.Report) bool {
	since := v.modified
	if v.version == latest {
		since = since.Add(settling)
	}
	return r.TakesInvalidations && unqualified(r.Function) == v.arn && r.Version == v.version && r.Started.After(since)
}

// functionsIn returns the functions that take invalidations by their own reports: each once, by the ARN with which it was
// invoked.
func functionsIn(reports []wire.Report) []string {
	byVersion := map[string]string{}
	for _, r := range reports {
		if !r.TakesInvalidations || r.Function == "" {
			continue
		}
		version := unqualified(r.Function) + ":" + r.Version
		if first, ok := byVersion[version]; !ok || r.Function < first {
			byVersion[version] = r.Function
		}
	}
	functions := make([]string, 0, len(byVersion))
	for _, function := range byVersion {
		functions = append(functions, function)
	}
	slices.Sort(functions)
	return slices.Compact(functions)
}

// unqualified returns a function's ARN, arn:partition:lambda:region:account:function:name, without what may follow.
func unqualified(arn string) string {
	parts := strings.Split(arn, ":")
	return strings.Join(parts[:min(7, len(parts))], ":")
}

func (a *Audience) look(ctx context.Context, function string) (FunctionState, error) {
	return keep(a, a.states, function, func() (FunctionState, error) { return a.functions.Look(ctx, function) })
}

func (a *Audience) reportsOf(ctx context.Context, service string) ([]wire.Report, error) {
	reports, err := keep(a, a.told, service, func() ([]wire.Report, error) { return a.reports.Of(ctx, service) })
	if err != nil {
		return nil, fmt.Errorf("reading the reports of service %s: %w", service, err)
	}
	return reports, nil
}

// keep returns the answer to a question, a young one if there is one. An answer that only says that it could not be asked
// is not kept.
func keep[T any](a *Audience, answers map[string]kept[T], question string, ask func() (T, error)) (T, error) {
	a.mu.Lock()
	k, ok := answers[question]
	a.mu.Unlock()
	now := a.now()
	if age := now.Sub(k.at); ok && age >= 0 && age < looksFor {
		return k.answer, k.err
	}
	k = kept[T]{at: now}
	k.answer, k.err = ask()
	if k.err == nil || errors.Is(k.err, ErrNoFunction) || errors.Is(k.err, ErrNotPermitted) {
		a.mu.Lock()
		answers[question] = k
		a.mu.Unlock()
	}
	return k.answer, k.err
}
