package invalidation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// Outcome says how a delivery stands.
type Outcome string

// The outcomes of a Delivery.
const (
	Pending      Outcome = "pending"      // tried, to be tried again
	Acknowledged Outcome = "acknowledged" // answered with this revision or a later one, and no failure
	Undelivered  Outcome = "failed"       // given up, or answered with a failure
	Skipped      Outcome = "skipped"      // not pushed to: its clients read the log
)

// Reason says in a word why a delivery is not acknowledged.
type Reason string

// The reasons of a Delivery.
const (
	Pull         Reason = "pull"           // skipped: the subscription wants no push
	Untagged     Reason = "untagged"       // skipped: the function lacks the tags, or they are of another env or domain
	NoReport     Reason = "no-report"      // skipped: no environment has reported a client that takes invalidations, since it was last modified
	NotPermitted Reason = "not-permitted"  // skipped if the function may not be looked at, failed if it may not be invoked
	NoFunction   Reason = "no-function"    // failed: it does not exist
	NoAck        Reason = "no-ack"         // failed: it answered with something else than an ack
	NotApplied   Reason = "not-applied"    // failed: the environment, or its OnChange, could not use the new version
	Invalid      Reason = "invalid"        // failed: Lambda refuses the request
	FunctionFail Reason = "function-error" // the function ended with an error
	Throttled    Reason = "throttled"      // Lambda had no room for it
	TimedOut     Reason = "timed-out"      // no answer in time
	Unreachable  Reason = "unreachable"    // the call, or what had to be asked before it, ended with another error
	LogUnread    Reason = "log-unread"     // the environment could not read the log, or refused the invalidation
	Behind       Reason = "behind"         // the environment's ack is of an older revision
	OtherLog     Reason = "other-log"      // the environment's ack is of a row that is not in the log
	Paused       Reason = "paused"         // pending: somebody has pushes held back
)

// Delivery is one invalidation to one function of a subscription.
type Delivery struct {
	Revision int64 `json:"revision"`
	// Hash is the revision's: a delivery of a row that a restore took away says nothing of the one in its place.
	Hash string `json:"hash"`
	// EventIDs are the events that made the revision.
	EventIDs     []string  `json:"eventIds,omitempty"`
	Subscription string    `json:"subscription"` // the service's name
	Function     string    `json:"function"`     // empty if it is the reporting ones, and none has reported
	Outcome      Outcome   `json:"outcome"`
	Reason       Reason    `json:"reason,omitempty"` // why it is not acknowledged
	Attempts     int       `json:"attempts"`
	Error        string    `json:"error,omitempty"` // more about the reason; never a payload
	Ack          *wire.Ack `json:"ack,omitempty"`   // the last one
	Time         time.Time `json:"time"`
	// NotBefore is when a pending delivery is due again; zero: at once.
	NotBefore time.Time `json:"notBefore,omitzero"`
}

func (d Delivery) final() bool { return d.Outcome != Pending }

// Fanout is a revision that is not yet delivered to everybody.
type Fanout struct {
	Position
	Names []string `json:"names"`
	// EventIDs are the events that made the revision, and Appended is when it was appended.
	EventIDs []string  `json:"eventIds,omitempty"`
	Appended time.Time `json:"appended,omitzero"`
	// Reopened is another text each time that failed deliveries became pending again; empty if none did.
	Reopened string `json:"reopened,omitempty"`
}

// Fanouts keeps what is still to be delivered and what became of it.
type Fanouts interface {
	// Open returns the open fan-outs, oldest first.
	Open(ctx context.Context) ([]Fanout, error)
	// Deliveries returns those of a revision, also of another row that had it before the table was restored: their hashes differ.
	Deliveries(ctx context.Context, revision int64) ([]Delivery, error)
	// Record writes deliveries in the place of those before, but a pending one never in the place of an outcome.
	Record(ctx context.Context, deliveries []Delivery) error
	// Close ends a fan-out if it is still as it was read: the one with this hash, and not reopened since.
	Close(ctx context.Context, f Fanout) error
}

// Pusher invokes functions.
type Pusher interface {
	// Push invokes the function with the payload and returns its answer. An error that wraps ErrPermanent will not go
	// away by itself.
	Push(ctx context.Context, function string, payload []byte) (answer []byte, err error)
}

// Errors of a Pusher, beside ErrNoFunction and ErrNotPermitted.
var (
	// ErrPermanent marks a push that is not worth trying again.
	ErrPermanent = errors.New("not worth trying again")
	// ErrFunction: the function ended with an error.
	ErrFunction = errors.New("the function ended with an error")
	// ErrThrottled: Lambda had no room for it.
	ErrThrottled = errors.New("throttled")
)

// A Resumer has the broadcaster invoked once more.
type Resumer interface {
	// Resume asks for an invocation after a while.
	Resume(ctx context.Context, after time.Duration) error
}

// Deliver pushes the head of the log to every subscription that an open fan-out still owes something, and closes the
// fan-outs that owe nothing any more. One push tells all: the client reads the log. What it cannot do stays open, and the
// next call resumes it, in this process or another; if there is a Resumer, it is asked for that call, for which Deliver may
// take 400 ms more than ctx has.
func (b *Broadcaster) Deliver(ctx context.Context) error {
	open, err := b.cfg.Fanouts.Open(ctx)
	if err != nil {
		return fmt.Errorf("reading the open fan-outs: %w", err)
	}
	if len(open) == 0 {
		return nil
	}
	head, err := b.cfg.Log.Row(ctx, 0)
	if err != nil {
		return b.resume(ctx, nil, fmt.Errorf("reading the head: %w", err))
	}
	owed, err := b.owed(ctx, open)
	if err != nil {
		return b.resume(ctx, nil, err)
	}
	payload, err := json.Marshal(b.invalidation(head))
	if err != nil {
		return fmt.Errorf("encoding the invalidation of revision %d: %w", head.Revision, err)
	}
	hold := &hold{control: b.cfg.Control, now: b.cfg.Now}
	if _, err := hold.on(ctx, pauseFor); err != nil { // not to push only delays what the log has told already
		return b.resume(ctx, nil, err)
	}
	if err := b.pushAll(ctx, owed, fanOut{payload, head, hold}); err != nil {
		return b.resume(ctx, owed, err) // what is not recorded is not closed either, or nobody would see it
	}
	var problem error
	for _, f := range open {
		if !owed.unfinished(f.Revision) {
			problem = errors.Join(problem, b.cfg.Fanouts.Close(ctx, f))
		}
	}
	if paused, err := hold.on(ctx, 0); err == nil && paused { // asked anew: whoever ended it may have looked before we appended
		return problem // whoever ends the pause has this resumed; until then nobody need come back
	}
	return b.resume(ctx, owed, problem)
}

// A fanOut is what one Deliver pushes.
type fanOut struct {
	payload []byte
	head    wire.Row
	hold    *hold
}

const (
	// dueSoonest is how long after a push and its quick retries a pending delivery is due again; each time twice as long.
	dueSoonest = 5 * time.Second
	dueLatest  = 5 * time.Minute
	// resumeProblem is when to try again after what is no function's fault.
	resumeProblem = 30 * time.Second
	// resumeWithin is how long asking to be resumed may go on after Deliver's own time: the caller keeps that much.
	resumeWithin = 400 * time.Millisecond
)

// resume asks for another call when the first pending delivery is due, or some time after a problem, which it returns. It
// asks only if nobody has asked for an earlier one: calls must not multiply.
func (b *Broadcaster) resume(ctx context.Context, owed debts, problem error) error {
	if b.cfg.Resumer == nil {
		return problem
	}
	now := b.cfg.Now()
	due := owed.due(now)
	switch {
	case ctx.Err() != nil:
		due = now.Add(dueSoonest) // the time was over
	case problem != nil:
		due = now.Add(resumeProblem)
	case due.IsZero():
		return problem
	}
	ctx, cancel := outliving(ctx)
	defer cancel()
	ours, err := b.cfg.Sweeps.ClaimResume(ctx, now, due)
	if err == nil && ours {
		err = b.cfg.Resumer.Resume(ctx, due.Sub(now))
	}
	if err != nil {
		return errors.Join(problem, fmt.Errorf("asking to be resumed: %w", err))
	}
	return problem
}

// outliving returns a context that ends resumeWithin after ctx does.
func outliving(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(context.WithoutCancel(ctx))
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end.Add(resumeWithin))
}

// A debt is one function and the open deliveries that one push of the head settles.
type debt struct {
	target
	subscription subscribers.Subscription
	deliveries   []Delivery // that are due
	waiting      []Delivery // that are not: a push for the others' sake settles them only if it is acknowledged
}

type debts []*debt

// pending returns what is still owed.
func (ds debts) pending() iter.Seq[Delivery] {
	return func(yield func(Delivery) bool) {
		for _, d := range ds {
			for _, delivery := range slices.Concat(d.deliveries, d.waiting) {
				if !delivery.final() && !yield(delivery) {
					return
				}
			}
		}
	}
}

// unfinished reports whether a revision still owes a subscription something.
func (ds debts) unfinished(revision int64) bool {
	for delivery := range ds.pending() {
		if delivery.Revision == revision {
			return true
		}
	}
	return false
}

// due returns when the first pending delivery is due, not before the soonest time; zero if none is pending.
func (ds debts) due(now time.Time) time.Time {
	var first time.Time
	for delivery := range ds.pending() {
		at := delivery.NotBefore
		if at.Before(now.Add(time.Second)) {
			at = now.Add(time.Second) // it was not tried: the time was over
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// owed returns what the open fan-outs owe. The audience is the subscriptions, and what is known of their functions, as they
// stand now.
func (b *Broadcaster) owed(ctx context.Context, open []Fanout) (debts, error) {
	var (
		all    debts
		byName = map[deliveryKey]*debt{}
		of     = map[string][]target{} // by service
		now    = b.cfg.Now()
	)
	owe := func(f Fanout, s subscribers.Subscription, t target, delivery Delivery) {
		if delivery.Outcome != "" && delivery.final() {
			return
		}
		delivery.Revision, delivery.Hash, delivery.EventIDs, delivery.Outcome = f.Revision, f.Hash, f.EventIDs, Pending
		delivery.Subscription, delivery.Function = s.Service, t.function
		at := deliveryKey{s.Service, t.function}
		if byName[at] == nil {
			byName[at] = &debt{target: t, subscription: s}
			all = append(all, byName[at])
		}
		if d := byName[at]; delivery.NotBefore.After(now) {
			d.waiting = append(d.waiting, delivery)
		} else {
			d.deliveries = append(d.deliveries, delivery)
		}
	}
	subscriptions, err := b.cfg.Subscribed.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range open {
		before, err := b.cfg.Fanouts.Deliveries(ctx, f.Revision)
		if err != nil {
			return nil, fmt.Errorf("reading the deliveries of revision %d: %w", f.Revision, err)
		}
		done := map[deliveryKey]Delivery{}
		for _, d := range before {
			if d.Hash == f.Hash {
				done[deliveryKey{d.Subscription, d.Function}] = d
			}
		}
		for _, s := range subscriptions.Match(f.Names) {
			if _, known := of[s.Service]; !known {
				of[s.Service] = b.targets(ctx, s)
			}
			for _, t := range of[s.Service] {
				at := deliveryKey{s.Service, t.function}
				owe(f, s, t, done[at])
				delete(done, at)
			}
			for at, d := range done { // what is not one of its functions any more is not left pending for ever
				if at.subscription == s.Service {
					owe(f, s, target{at.function, Skipped, NoReport}, d)
				}
			}
		}
	}
	return all, nil
}

type deliveryKey struct{ subscription, function string }

// targets returns a subscription's functions. If they cannot be told now, that is an attempt that failed, and is visible as
// such.
func (b *Broadcaster) targets(ctx context.Context, s subscribers.Subscription) []target {
	targets, err := b.cfg.Audience.of(ctx, s)
	if err == nil {
		return targets
	}
	b.cfg.Logger.Warn("it cannot be told now whether a subscription takes invalidations", "subscription", s.Service, "error", err)
	function := s.Function
	if s.ByReport {
		function = ""
	}
	return []target{{function, Pending, Unreachable}}
}

func (b *Broadcaster) invalidation(head wire.Row) wire.Invalidation {
	return wire.Invalidation{
		Version: "0", ID: head.Hash, Source: wire.Source, DetailType: wire.DetailType,
		Account: b.cfg.Account, Region: b.cfg.Region, Time: head.Time, Resources: []string{}, Detail: head,
	}
}
