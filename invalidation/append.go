package invalidation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// Handling is how handling a signal ended.
type Handling string

// The ways handling a signal ends.
const (
	Appended  Handling = "appended"
	Duplicate Handling = "duplicate" // the log already says so
	Unchanged Handling = "unchanged" // nothing that a cache would notice
	Misrouted Handling = "misrouted" // another domain's secret: the rule that sent it is wrong
	Failed    Handling = "failed"    // not confirmed in time: it comes back
)

const (
	// perRound is how many secrets are described, all at once, before what changed is appended: what is done stays done when
	// the time is over, and what is described mostly fits into one row.
	perRound = 20
	// looks is how often a secret is described for one batch when the answer may be of before the event. What is still
	// behind then comes back with its message.
	looks = 2
	// maxPerRow keeps a transaction far below DynamoDB's 100 items.
	maxPerRow = 40
	// auditHashBytes is what the store adds to a row: the hash of its audit record.
	auditHashBytes = len(`"auditHash":"",`) + 64
)

// Confirm makes the log say what is current now for the signals' secrets. The result has one Handling per signal, in
// order. It returns after ConfirmWithin at the latest; err says why any of them is Failed.
func (b *Broadcaster) Confirm(ctx context.Context, signals []events.Signal) ([]Handling, error) {
	received := b.cfg.Now()
	ctx, cancel := context.WithTimeout(ctx, b.cfg.ConfirmWithin)
	defer cancel()
	handled := make([]Handling, len(signals))
	pending := map[string][]int{} // signals by secret: several about one secret are one question
	var problems []error
	for i, s := range signals {
		name, how, err := b.nameOf(ctx, s)
		if how == "" {
			pending[name] = append(pending[name], i)
		}
		handled[i] = how
		if err != nil {
			problems = append(problems, err)
		}
	}
	batch := &batch{b: b, signals: signals, handled: handled, pending: pending, looked: map[string]int{}, received: received, problems: problems}
	batch.run(ctx)
	return handled, errors.Join(batch.problems...)
}

// nameOf returns the name of a signal's secret, or how handling it ends without one.
func (b *Broadcaster) nameOf(ctx context.Context, s events.Signal) (name string, how Handling, err error) {
	if b.elsewhere(s) {
		b.cfg.Logger.Error("an event of another domain, account or Region arrived: the rule that sent it is wrong",
			"eventId", s.EventID, "env", s.Env, "domain", s.Domain, "account", s.Account, "region", s.Region)
		return "", Misrouted, nil
	}
	if s.Name != "" {
		return s.Name, "", nil
	}
	is, err := b.cfg.Secrets.Describe(ctx, s.ARN)
	switch {
	case errors.Is(err, ErrNotFound) && b.cfg.Now().Sub(s.Time) > b.cfg.Late+time.Second:
		return "", Unchanged, nil // what that ARN named is gone; if its name is in use, its own events tell of it
	case err != nil:
		return "", Failed, fmt.Errorf("asking whose ARN event %s has: %w", s.EventID, err)
	case !strings.HasPrefix(is.Name, wire.NamePrefix(s.Env, s.Domain)):
		return "", Failed, fmt.Errorf("asking whose ARN event %s has: the name is of another domain", s.EventID)
	}
	return is.Name, "", nil
}

// elsewhere reports whether a signal is about a secret of another domain, account or Region.
func (b *Broadcaster) elsewhere(s events.Signal) bool {
	return s.Env != b.cfg.Env || s.Domain != b.cfg.Domain || s.Account != "" && s.Account != b.cfg.Account || s.Region != "" && s.Region != b.cfg.Region
}

// A batch is what Confirm was given and how far it has come.
type batch struct {
	b        *Broadcaster
	signals  []events.Signal
	handled  []Handling
	pending  map[string][]int // signals by secret
	looked   map[string]int   // how often a secret was described without an end
	received time.Time
	problems []error
	seen     map[string]bool // which secrets have a row; nil if nobody asks
	// news: a secret that is not known yet is announced unless it changed earlier. Zero: always.
	news time.Time
	// announce: somebody wants the secrets announced although nothing may have changed.
	announce bool
	// subscriptions are those that hold, once something depends on them.
	subscriptions *subscribers.Subscriptions
}

func (t *batch) settle(name string, h Handling) {
	for _, i := range t.pending[name] {
		t.handled[i] = h
	}
	delete(t.pending, name)
}

// lookAgain leaves a secret for the next round, or, if it was looked at often enough, for its message's return.
func (t *batch) lookAgain(name string, why error) {
	if t.looked[name]++; t.looked[name] >= looks {
		t.settle(name, Failed)
		t.problems = append(t.problems, why)
	}
}

// run confirms until nothing is pending or ctx ends. What is pending then has failed.
func (t *batch) run(ctx context.Context) {
	for round := 0; len(t.pending) > 0; round++ {
		if round > 0 && !pause(ctx, time.Duration(1+rand.IntN(min(20*round, 200)))*time.Millisecond) { //nolint:gosec // spreads load, guards nothing
			t.problems = append(t.problems, fmt.Errorf("confirming %d secrets: %w", len(t.pending), ctx.Err()))
			break
		}
		if err := t.round(ctx); err != nil && !errors.Is(err, ErrConflict) {
			t.problems = append(t.problems, err)
			break
		}
	}
	for name := range t.pending {
		t.settle(name, Failed)
	}
}

// pause returns false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// undescribed: Secrets Manager did not say how a secret is.
type undescribed struct {
	name string
	err  error
}

func (e undescribed) Error() string { return "describing " + e.name + ": " + e.err.Error() }
func (e undescribed) Unwrap() error { return e.err }

// errBehind: Secrets Manager's answer may be of before the event.
var errBehind = errors.New("what Secrets Manager answers is of before the event")

// round goes once through head, secrets' rows, DescribeSecret, append: in this order, so that whoever came in between
// makes the append fail. It settles what is done.
func (t *batch) round(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(t.pending))
	names = names[:min(len(names), perRound)]
	snapshot, err := t.b.cfg.Log.Load(ctx, names)
	if err != nil {
		return fmt.Errorf("loading the head and %d secrets: %w", len(names), err)
	}
	answers := t.b.describe(ctx, names)
	a := t.b.newAppend(snapshot.Head)
	again := map[string]bool{} // of what goes into the row: whether it has to be looked at again
	var notes []note
	for _, name := range names {
		is := answers[name]
		if t.seen != nil && snapshot.Secrets[name].Sequence > 0 {
			t.seen[name] = true
		}
		if is.err != nil {
			t.lookAgain(name, is.err)
			continue
		}
		known := snapshot.Secrets[name]
		known.Name = name
		newest := newestOf(t.signals, t.pending[name])
		v, err := t.decide(ctx, known, is, newest, snapshot.Head)
		if err != nil {
			t.lookAgain(name, fmt.Errorf("confirming %s: %w", name, err))
			continue
		}
		switch {
		case v.change != nil:
			if t.add(&a, v, name) { // what does not fit waits for the next row
				again[name] = v.again
			}
		case v.row != nil:
			notes = append(notes, note{v, unchangedOr(newest, known)})
		default:
			t.end(name, v.again, unchangedOr(newest, known))
		}
	}
	if err := t.note(ctx, notes); err != nil {
		return err
	}
	if len(a.Row.Changes) == 0 {
		return nil
	}
	if err := t.b.append(ctx, a); err != nil {
		return err
	}
	for name, again := range again {
		t.end(name, again, Appended)
	}
	return nil
}

// end settles a secret, or leaves it to be looked at again.
func (t *batch) end(name string, again bool, how Handling) {
	if again {
		t.lookAgain(name, fmt.Errorf("confirming %s: %w", name, errBehind))
		return
	}
	t.settle(name, how)
}

// A note is a row to be written without a revision, and how its secret's signals end then.
type note struct {
	verdict
	how Handling
}

// note writes rows side by side. A row that has moved on since it was read leaves its secret pending.
func (t *batch) note(ctx context.Context, notes []note) error {
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(notes))
	)
	for i, n := range notes {
		wg.Go(func() { errs[i] = t.b.cfg.Log.Note(ctx, *n.row) })
	}
	wg.Wait()
	for i, n := range notes {
		switch {
		case errs[i] == nil:
			t.end(n.row.Name, n.again, n.how)
		case errors.Is(errs[i], ErrConflict):
			errs[i] = nil
		default:
			errs[i] = fmt.Errorf("noting %s: %w", n.row.Name, errs[i])
		}
	}
	return errors.Join(errs...)
}

// evidence returns all that was told of a secret.
func (t *batch) evidence(name string) []events.Signal {
	all := make([]events.Signal, 0, len(t.pending[name]))
	for _, i := range t.pending[name] {
		all = append(all, t.signals[i])
	}
	return all
}

// unchangedOr tells a duplicate from an event about nothing that a cache would notice.
func unchangedOr(s events.Signal, known SecretRow) Handling {
	if s.Kind == events.Moved && s.VersionID == known.Current || s.Kind == events.Deleted && known.State == Deleted {
		return Duplicate
	}
	return Unchanged
}

func newestOf(signals []events.Signal, indexes []int) events.Signal {
	newest := signals[indexes[0]]
	for _, i := range indexes[1:] {
		if signals[i].Trusted && (!newest.Trusted || signals[i].Time.After(newest.Time)) {
			newest = signals[i]
		}
	}
	return newest
}

// describe asks for all names at once. An answer holds its own error.
func (b *Broadcaster) describe(ctx context.Context, names []string) map[string]answer {
	var (
		wg      sync.WaitGroup
		answers = make([]answer, len(names))
	)
	for i, name := range names {
		wg.Go(func() {
			asked := b.cfg.Now()
			d, err := b.cfg.Secrets.Describe(ctx, name)
			answers[i] = answer{Description: d, found: err == nil, asked: asked, answered: b.cfg.Now()}
			if err != nil && !errors.Is(err, ErrNotFound) {
				answers[i].err = undescribed{name, err}
			}
		})
	}
	wg.Wait()
	byName := make(map[string]answer, len(names))
	for i, name := range names {
		byName[name] = answers[i]
	}
	return byName
}

func (b *Broadcaster) newAppend(head Position) Append {
	return Append{Head: head, Row: wire.Row{
		Schema: wire.Schema, Env: b.cfg.Env, Domain: b.cfg.Domain,
		Revision: head.Revision + 1, PreviousHash: head.Hash, Time: b.cfg.Now().UTC(), Changes: []wire.Change{},
	}}
}

// append writes a row and logs its hash, where who may write the store cannot change it: package audit compares them.
func (b *Broadcaster) append(ctx context.Context, a Append) error {
	row, err := b.cfg.Log.Append(ctx, a)
	if err != nil {
		return fmt.Errorf("appending revision %d: %w", a.Row.Revision, err)
	}
	b.cfg.Logger.Info("appended", "revision", row.Revision, "hash", row.Hash, "changes", len(row.Changes), "eventIds", a.EventIDs())
	return nil
}

// add puts a change into the row if it still fits.
func (t *batch) add(a *Append, v verdict, name string) bool {
	changes := append(a.Row.Changes[:len(a.Row.Changes):len(a.Row.Changes)], *v.change)
	row := a.Row
	row.Changes = changes
	body, err := json.Marshal(row)
	if len(changes) > 1 && (len(changes) > maxPerRow || err != nil || len(body)+auditHashBytes > wire.MaxRowBytes) {
		return false
	}
	a.Row.Changes = changes
	secret := *v.row
	secret.Revision = a.Row.Revision
	a.Secrets = append(a.Secrets, secret)
	a.Causes = append(a.Causes, t.causes(name)...)
	return true
}

// Begin appends revision 1 with no changes if the log is empty, so that clients can tell a log that has nothing to say
// from one that is missing.
func (b *Broadcaster) Begin(ctx context.Context) error {
	snapshot, err := b.cfg.Log.Load(ctx, nil)
	if err != nil {
		return fmt.Errorf("loading the head: %w", err)
	}
	if snapshot.Head.Revision > 0 {
		return nil
	}
	err = b.append(ctx, b.newAppend(Position{}))
	if err != nil && !errors.Is(err, ErrConflict) { // a conflict: another began it
		return fmt.Errorf("beginning the log: %w", err)
	}
	return nil
}
