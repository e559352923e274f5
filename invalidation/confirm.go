package invalidation

import (
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// An answer is one DescribeSecret: what it said, or that there is no such secret, and when it was asked for.
type answer struct {
	Description
	found bool
	asked time.Time
	err   error // it could not be asked; then the rest is void
}

// A verdict is what confirming a signal came to.
type verdict struct {
	change *wire.Change // to be appended, or nil
	row    *SecretRow   // to be written with the change, or alone; nil if it is as it should be
	again  bool         // Secrets Manager's answer may be of before the event: look again
}

// confirm compares what Secrets Manager says of a secret with what the store knows. It is a pure function: the signal
// says only whether to look again, never what is true.
func confirm(known SecretRow, is answer, s events.Signal, late time.Duration) verdict {
	switch {
	case !is.found:
		return confirmMissing(known, is, s, late)
	case is.LastChanged.Before(known.LastChanged):
		return verdict{again: true} // an older answer than one already acted upon is never appended
	case is.LastChanged.Equal(known.LastChanged) && !known.says(is) && is.asked.Sub(is.LastChanged) < late:
		return verdict{again: true} // two answers of one date: which of them is newer shows when they have settled
	}
	next := known.with(is)
	v := verdict{again: behind(is, s, late)}
	if next.differs(known) {
		v.row = &next
	}
	if kind, changed := changeOf(known, is); changed {
		v.change = &wire.Change{Name: known.Name, Kind: kind, At: is.LastChanged.UTC()}
		if kind != wire.Deleted {
			v.change.VersionID = is.Current
		}
		v.row = &next
	}
	return v
}

// confirmMissing handles "not found". Secrets Manager is eventually consistent, so one such answer proves nothing; two
// that are a lag apart do. The deletion is dated by when the first was asked for.
func confirmMissing(known SecretRow, is answer, s events.Signal, late time.Duration) verdict {
	switch {
	case known.Sequence == 0:
		return verdict{again: is.asked.Sub(s.Time) < late && s.Trusted}
	case known.State == Deleted:
		return verdict{}
	}
	next := known
	if known.MissingSince.IsZero() {
		next.MissingSince = is.asked.UTC()
		return verdict{row: &next, again: true}
	}
	if is.asked.Sub(known.MissingSince) < late {
		return verdict{again: true}
	}
	next.State, next.MissingSince, next.Current, next.Previous = Deleted, time.Time{}, "", ""
	return verdict{row: &next, change: &wire.Change{Name: known.Name, Kind: wire.Deleted, At: known.MissingSince}}
}

// changeOf returns what happened to AWSCURRENT between what is known and what is.
func changeOf(known SecretRow, is answer) (wire.Kind, bool) {
	switch {
	case is.Deleted:
		return wire.Deleted, known.State != Deleted
	case is.Current == "":
		return "", false
	case known.State == Deleted:
		return wire.Restored, true
	case is.Current != known.Current:
		return wire.Moved, true
	default:
		// Another AWSPREVIOUS under the same AWSCURRENT: it was elsewhere in between, and so may caches be.
		return wire.Refresh, is.Previous != known.Previous
	}
}

// behind reports whether the answer may be of before the event: then the event's version is not current in it and it was
// last changed before the event. A hint's version and time are anybody's, so they are not compared.
func behind(is answer, s events.Signal, late time.Duration) bool {
	if !s.Trusted || !is.LastChanged.Before(s.Time) || is.asked.Sub(s.Time) > late {
		return false
	}
	switch s.Kind {
	case events.Moved:
		return s.VersionID != "" && s.VersionID != is.Current
	case events.Deleted:
		return !is.Deleted
	case events.Restored:
		return is.Deleted
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
	r.ARN, r.Current, r.Previous, r.LastChanged = is.ARN, is.Current, is.Previous, is.LastChanged.UTC()
	r.State, r.MissingSince = stateOf(is), time.Time{}
	return r
}

// differs reports whether writing r in the place of other would change anything.
func (r SecretRow) differs(other SecretRow) bool {
	return other.Sequence == 0 || r.ARN != other.ARN || r.Current != other.Current || r.Previous != other.Previous ||
		!r.LastChanged.Equal(other.LastChanged) || r.State != other.State || !r.MissingSince.Equal(other.MissingSince)
}
