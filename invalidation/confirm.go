package invalidation

import (
	"context"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// An answer is one DescribeSecret: what it said, or that there is no such secret.
type answer struct {
	Description
	found           bool
	asked, answered time.Time
	err             error // it could not be asked; then the rest is void
}

// A verdict is what confirming a signal came to.
type verdict struct {
	change *wire.Change // to be appended, or nil
	row    *SecretRow   // to be written with the change, or alone; nil if it is as it should be
	again  bool         // Secrets Manager's answer may be of before the event: look again
}

// confirm compares what Secrets Manager says of a secret with what the store knows. It is a pure function: the newest
// signal says only whether to look again, and all that was told whether AWSCURRENT was elsewhere, never what is true.
func confirm(known SecretRow, is answer, s events.Signal, told []events.Signal, late time.Duration) verdict {
	switch {
	case !is.found:
		return confirmMissing(known, is, s, late)
	case is.LastChanged.Before(known.LastChanged):
		return verdict{again: true} // an older answer than one already acted upon is never appended
	case is.LastChanged.Equal(known.LastChanged) && !known.says(is) && is.asked.Sub(is.LastChanged) < late:
		return verdict{again: true} // two answers of one date: which of them is newer shows when they have settled
	case is.LastChanged.Before(known.MissingSince) && is.asked.Sub(known.MissingSince) < late:
		return verdict{again: true} // it was not found, now it is there as before: the same
	}
	next := known.with(is)
	v := verdict{again: behind(is, s, late)}
	if next.differs(known) {
		v.row = &next
	}
	kind, changed := changeOf(known, is)
	elsewhere := func(s events.Signal) bool { return wasElsewhere(known, is, s) }
	if !changed && !v.again && slices.ContainsFunc(told, elsewhere) {
		kind, changed = wire.Refresh, true
	}
	if changed {
		next.Changed = next.LastChanged
		v.change = &wire.Change{Name: known.Name, Kind: kind, At: is.LastChanged.UTC()}
		if kind != wire.Deleted {
			v.change.VersionID = is.Current
		}
		v.row = &next
	}
	return v
}

// confirmMissing handles "not found". Secrets Manager is eventually consistent, so such an answer may be of before the
// secret was there: it counts a lag after what is known to have been. A second one a lag later shows that it did not come
// back, and the deletion is dated by the first. A secret known as deleted is deleted anew if an event proves that it was
// there in between: a cache may hold what it was then.
func confirmMissing(known SecretRow, is answer, s events.Signal, late time.Duration) verdict {
	there := known.LastChanged
	if provesThere(s) && s.Time.After(there) {
		there = s.Time.Add(time.Second) // events are dated to the second
	}
	switch {
	case known.State == Deleted && known.MissingSince.IsZero() && !thereSince(known.Changed, s):
		created := s.Trusted && s.Kind != events.Deleted && s.Time.Add(time.Second).After(known.Changed)
		return verdict{again: created && is.asked.Sub(s.Time) <= late+time.Second} // its name is in use again, but not yet seen
	case known.Sequence == 0 && !s.Trusted:
		return verdict{} // anybody may send a hint about a name that never was
	case is.asked.Sub(there) < late:
		return verdict{again: true}
	}
	next := known
	if next.State == "" {
		next.State = Empty // AWS told of it, so it was there, and may be cached
	}
	if !known.MissingSince.After(there) || thereSince(known.MissingSince, s) {
		next.MissingSince = is.answered.UTC()
		return verdict{row: &next, again: true}
	}
	if is.asked.Sub(known.MissingSince) < late {
		return verdict{again: true}
	}
	next.State, next.LastChanged, next.Changed = Deleted, known.MissingSince, known.MissingSince
	next.MissingSince, next.Current, next.Previous = time.Time{}, "", ""
	return verdict{row: &next, change: &wire.Change{Name: known.Name, Kind: wire.Deleted, At: known.MissingSince}}
}

// provesThere reports whether an event proves that its secret was there when it happened.
func provesThere(s events.Signal) bool {
	return s.Trusted && (s.Kind == events.Moved || s.Kind == events.Restored)
}

// thereSince reports whether an event proves that its secret was there once more after a time.
func thereSince(t time.Time, s events.Signal) bool {
	return (provesThere(s) || s.Trusted && s.Kind == events.Deleted) && s.Time.After(t.Add(slack))
}

// changeOf returns what happened to AWSCURRENT between what is known and what is.
func changeOf(known SecretRow, is answer) (wire.Kind, bool) {
	switch {
	case is.Deleted:
		// A deleted secret can only be restored, so a later date means that it was there once more in between.
		return wire.Deleted, known.State != Deleted || is.LastChanged.After(known.Changed)
	case is.Current == "":
		return "", false
	case known.State == Deleted:
		return wire.Restored, true
	case is.Current != known.Current:
		return wire.Moved, true
	default:
		// Another AWSPREVIOUS under the same AWSCURRENT: it was elsewhere in between, and so may caches be.
		// Another ARN is another secret of the same name, whose version may have the same id.
		return wire.Refresh, is.Previous != known.Previous || known.ARN != "" && is.ARN != known.ARN
	}
}

// slack is how much later than LastChangedDate an event about that change may be dated: events are dated to the second,
// and several tell of one change.
const slack = 5 * time.Second

// wasElsewhere reports whether an event proves that AWSCURRENT named another version since the row was written, although
// it is now back and AWSPREVIOUS shows nothing: caches may hold what it named in between.
func wasElsewhere(known SecretRow, is answer, s events.Signal) bool {
	switch {
	case !s.Trusted || s.Kind != events.Moved || s.VersionID == "" || stateOf(is) != Active || known.State != Active:
		return false
	case s.VersionID != is.Current:
		return s.Time.Add(time.Second).After(known.Changed)
	default:
		return s.Time.After(known.Changed.Add(slack)) && is.LastChanged.After(known.Changed)
	}
}

// behind reports whether the answer may be of before the event: then it was last changed before the event, and the
// event's state does not show in it, or did so long before the event already. A hint's version and time are anybody's, so they are not compared.
func behind(is answer, s events.Signal, late time.Duration) bool {
	// Events are dated to the second: what changed in that second may be of before.
	if !s.Trusted || !is.LastChanged.Before(s.Time.Add(time.Second)) || is.asked.Sub(s.Time) > late+time.Second {
		return false
	}
	before := is.LastChanged.Add(slack).Before(s.Time)
	switch s.Kind {
	case events.Moved:
		return before || s.VersionID != "" && s.VersionID != is.Current
	case events.Deleted:
		return before || !is.Deleted
	case events.Restored:
		return before || is.Deleted
	default:
		return false
	}
}

// stateOf returns the state an answer shows.
func stateOf(is answer) State {
	switch {
	case is.Deleted:
		return Deleted
	case is.Current == "":
		return Empty
	default:
		return Active
	}
}

// says reports whether a row already says what an answer says, its date aside.
func (r SecretRow) says(is answer) bool {
	return r.State == stateOf(is) && r.Current == is.Current && r.Previous == is.Previous
}

// with returns the row as the answer has it.
func (r SecretRow) with(is answer) SecretRow {
	if r.Sequence == 0 {
		r.Changed = is.LastChanged.UTC()
	}
	r.ARN, r.Current, r.Previous, r.LastChanged = is.ARN, is.Current, is.Previous, is.LastChanged.UTC()
	r.State, r.MissingSince = stateOf(is), time.Time{}
	return r
}

// differs reports whether writing r in the place of other would change anything.
func (r SecretRow) differs(other SecretRow) bool {
	return other.Sequence == 0 || r.ARN != other.ARN || r.Current != other.Current || r.Previous != other.Previous ||
		!r.LastChanged.Equal(other.LastChanged) || r.State != other.State || !r.MissingSince.Equal(other.MissingSince)
}

// toldAgain is the verdict on a secret whose newest change the log lacks: it was restored to before it. Clients that read the
// log anew have to hear of it.
func toldAgain(known SecretRow, is answer) verdict {
	next := known
	if is.found {
		next = known.with(is)
	}
	next.Changed = next.LastChanged
	c := &wire.Change{Name: known.Name, Kind: wire.Refresh, VersionID: next.Current, At: next.LastChanged.UTC()}
	if next.State == Deleted {
		c.Kind, c.VersionID = wire.Deleted, ""
	}
	return verdict{change: c, row: &next}
}

// decide says what becomes of a secret: what confirming it came to, but that what the log lacks, or somebody wants announced, is
// told again, and that some changes are written down only.
func (t *batch) decide(ctx context.Context, known SecretRow, is answer, newest events.Signal, head Position) (verdict, error) {
	v := confirm(known, is, newest, t.evidence(known.Name), t.b.cfg.Late)
	lacking := known.Revision > head.Revision
	wanted := t.announce && is.found && stateOf(is) == Active
	if v.change == nil && !v.again && (lacking || wanted) {
		v = toldAgain(known, is)
	}
	quiet, err := t.quiet(ctx, known, v.change)
	if quiet {
		v.change = nil // written down, not announced
	}
	return v, err
}

// quiet reports whether a change, if there is one, goes without a revision: the domain wants no deletions, or the secret is
// new to us and changed before anybody looked.
func (t *batch) quiet(ctx context.Context, known SecretRow, c *wire.Change) (bool, error) {
	switch {
	case c == nil:
		return false, nil
	case known.Sequence == 0 && c.At.Before(t.news):
		return true, nil
	case c.Kind != wire.Deleted:
		return false, nil
	}
	if t.subscriptions == nil {
		subscriptions, err := t.b.cfg.Subscribed.Subscriptions(ctx)
		if err != nil {
			return false, err
		}
		t.subscriptions = subscriptions
	}
	return t.subscriptions.IgnoreDeletions, nil
}
