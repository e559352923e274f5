package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// MaxTimeout is the longest that Lambda lets an invocation run
// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const MaxTimeout = 15 * time.Minute

// Timeouts says how long functions may run.
type Timeouts interface {
	// Timeout returns a function's timeout. The name may be an ARN and may carry a qualifier. It returns
	// invalidation.ErrNoFunction or invalidation.ErrNotPermitted, wrapped, if Lambda says so.
	Timeout(ctx context.Context, function string) (time.Duration, error)
}

// A member is a service that a change concerns: the change was for it to be delivered, or it reports that it holds the secret.
type member struct {
	service    string
	subscribed bool
	failed     bool   // a push of it failed for good
	missing    string // what has to come before it can be expected to have applied the change
	proofs     int    // deliveries whose ack proves it
	deliveries int
	functions  []string
	checkEvery time.Duration
	ttl        time.Duration
	timeout    time.Duration
	assumed    []string
}

func (m *member) proven() bool { return m.deliveries > 0 && m.proofs == m.deliveries }

// audience returns whom a change concerns, by their names, whom it was for and who is not subscribed any more, and whether its
// fan-out is under way. Whether it is, is asked first: what is closed has all its deliveries.
func (w *waiter) audience(ctx context.Context, row Row, change wire.Change, head int64) (all []*member, unsubscribed []string, open bool, err error) {
	fanouts, err := w.cfg.Store.Open(ctx)
	if err != nil {
		return nil, nil, false, err
	}
	if err := w.holds.read(ctx, w.Reader); err != nil {
		return nil, nil, false, err
	}
	open = slices.ContainsFunc(fanouts, func(f invalidation.Fanout) bool { return f.Revision == row.Revision && f.Hash == row.Hash })
	members := map[string]*member{}
	in := func(service string) *member {
		if members[service] == nil {
			members[service] = &member{service: service}
		}
		return members[service]
	}
	for d, err := range w.cfg.Store.Outcomes(ctx, row.Revision, "") {
		if err != nil {
			return nil, nil, false, err
		}
		switch {
		case d.Hash != row.Hash:
		case w.holds.unsubscribed(d, row.Row):
			unsubscribed = append(unsubscribed, d.Subscription)
		default:
			in(d.Subscription).addDelivery(d, change)
		}
	}
	reports, err := w.cfg.Reports.All(ctx)
	if err != nil {
		return nil, nil, false, err
	}
	for _, report := range reports {
		if members[report.Service] != nil || holds(report, change.Name) {
			in(report.Service).addReport(report, environmentOf(report, change.Name, row.Revision, row.Time, head))
		}
	}
	for _, service := range slices.Sorted(maps.Keys(members)) {
		all = append(all, members[service])
	}
	w.lookAtFunctions(ctx, all)
	for _, m := range all {
		m.complete(w.timeouts)
	}
	return all, slices.Compact(unsubscribed), open, nil // those of one service stand together
}

// addDelivery takes what became of a push to one of the service's functions.
func (m *member) addDelivery(d invalidation.Delivery, change wire.Change) {
	m.subscribed = true
	m.deliveries++
	if d.Function != "" {
		m.functions = append(m.functions, d.Function)
	}
	switch outcome := outcomeIn(d.Ack, change.Name); {
	case d.Outcome == invalidation.Undelivered:
		m.failed = true
		m.missing = fmt.Sprintf("the push to %s failed: %s", d.Function, whyOf(d))
	case d.Outcome == invalidation.Pending && m.missing == "":
		m.missing = fmt.Sprintf("the push to %s is pending: %s", d.Function, cmp.Or(string(d.Reason), "it is under way"))
	case d.Outcome == invalidation.Acknowledged && outcome.Outcome == wire.Observed && m.missing == "":
		m.missing = failingObserve
	case d.Outcome == invalidation.Acknowledged && outcome.Outcome == wire.Applied && outcome.VersionID == change.VersionID:
		m.proofs++
	}
}

// outcomeIn returns what an ack says of a secret: nothing, if it is of a push that told of a later change.
func outcomeIn(ack *wire.Ack, name string) wire.SecretOutcome {
	if ack != nil {
		for _, s := range ack.Secrets {
			if s.Name == name {
				return s
			}
		}
	}
	return wire.SecretOutcome{}
}

// addReport takes what one of the service's environments has reported.
func (m *member) addReport(report wire.Report, e Environment) {
	m.checkEvery = max(m.checkEvery, checkEveryOf(report))
	m.ttl = max(m.ttl, ttlOf(report))
	if report.Function != "" {
		m.functions = append(m.functions, versionOf(report))
	}
	switch {
	case m.missing != "":
	case e.Failing != "":
		m.missing = fmt.Sprintf("environment %s: %s", e.Environment, e.Failing)
	case e.Standing == Behind:
		m.missing = fmt.Sprintf("environment %s was behind when it reported at %s", e.Environment, e.Reported.UTC().Format(time.RFC3339))
	}
}

// versionOf returns the ARN of the version that an environment runs, whatever alias it was invoked by.
func versionOf(report wire.Report) string {
	parts := strings.Split(report.Function, ":")
	if report.Version == "" || len(parts) < 7 { // arn:partition:lambda:region:account:function:name
		return report.Function
	}
	return strings.Join(parts[:7], ":") + ":" + report.Version
}

// complete puts assumptions in the place of what nobody has told.
func (m *member) complete(timeouts map[string]timeout) {
	if m.ttl == 0 {
		m.ttl, m.checkEvery = defaultTTL, defaultCheckEvery
		m.assumed = append(m.assumed, fmt.Sprintf("no environment of %s has reported: a TTL of %v", m.service, m.ttl))
	}
	known := false
	slices.Sort(m.functions)
	for _, function := range slices.Compact(m.functions) {
		t := timeouts[function]
		switch {
		case errors.Is(t.err, invalidation.ErrNoFunction): // it is gone, or the manifest names none
		case t.err != nil:
			m.timeout, known = MaxTimeout, true
			m.assumed = append(m.assumed, fmt.Sprintf("%s cannot be looked at (%v): a timeout of %v", function, t.err, MaxTimeout))
		default:
			m.timeout, known = max(m.timeout, t.longest), true
		}
	}
	if !known {
		m.timeout = MaxTimeout
		m.assumed = append(m.assumed, fmt.Sprintf("no function of %s is known: a timeout of %v", m.service, MaxTimeout))
	}
}

// A timeout is how long a function may run, or why that is not known.
type timeout struct {
	longest time.Duration
	err     error
}

var errNotAsked = errors.New("nobody asks Lambda")

// maxLooks caps how many functions are looked at at once.
const maxLooks = 8

// lookAtFunctions asks for the timeouts of functions that were not asked for yet.
func (w *waiter) lookAtFunctions(ctx context.Context, audience []*member) {
	asked := map[string]bool{}
	for _, m := range audience {
		for _, function := range m.functions {
			if _, known := w.timeouts[function]; !known {
				asked[function] = true
			}
		}
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards w.timeouts
		slots = make(chan struct{}, maxLooks)
	)
	for function := range asked {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t := timeout{err: errNotAsked}
			if w.cfg.Timeouts != nil {
				t.longest, t.err = w.cfg.Timeouts.Timeout(ctx, function)
			}
			switch {
			case errors.Is(t.err, invalidation.ErrNoFunction):
				t.err = invalidation.ErrNoFunction
			case t.err != nil: // of ten thousand functions: what an SDK's error holds beside its text would be too much
				t.err = errors.New(t.err.Error())
			}
			mu.Lock()
			defer mu.Unlock()
			w.timeouts[function] = t
		})
	}
	wg.Wait()
}
