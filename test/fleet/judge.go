package fleet

import (
	"fmt"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// The invariants stand here once, worded as the guarantees are. They use what callers received and what really happened,
// never the clients' own word, except to see whether an exception was counted.

// An invariant is what a violation is reported as.
type invariant string

const (
	bounded   invariant = "G1"         // bounded staleness
	noWorse   invariant = "G2"         // never worse than today
	forwards  invariant = "G3"         // never backwards
	complete  invariant = "G4"         // nothing lost
	valueless invariant = "G5"         // no secret value
	chain     invariant = "chain"      // each row of the log stands on the one before; none is rewritten, none skipped
	order     invariant = "log"        // what a row says was so, and a secret's rows come in the order of its changes
	truth     invariant = "truth"      // what is served was current once, and is current when all has come to rest
	exception invariant = "exceptions" // none is counted without an injected fault
	contract  invariant = "contract"   // what the parts owe to one another
	promises  invariant = "wait"       // who was told that a change has arrived was not told too early
)

// A reading is what a caller received.
type reading struct {
	version, text string
	err           error
	gaveUp        bool // the caller's own deadline had passed
}

// judge holds one reading against G1, G2 and G3.
func (w *world) judge(e *environment, name string, before, after observation, r reading, final bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if r.err != nil {
		w.judgeError(e, name, before, r, final, now)
		return
	}
	if r.gaveUp {
		e.cut++ // it may have been served for its deadline, and counted
	}
	h := w.history
	w.countUnseen(name, before.applied)
	served := h.latest(name, r.version)
	where := func(which invariant, format string, args ...any) {
		w.violateLocked(which, "environment %d read %s at %v: version %s is of moment %d, now is %d, log tells of %d, environment had applied %d: %s",
			e.id, name, w.since(now), r.version, served, h.current(name), h.coveredNow(name), before.applied, fmt.Sprintf(format, args...))
	}
	if served < 0 {
		where(truth, "it never was current")
		return
	}
	if final && served != h.current(name) {
		where(truth, "the run is over and it is not what is current")
	}
	// G1: never one cached longer ago than its TTL: the TTL always applies.
	if sent, ok := w.fetches[r.text]; !ok || now.Sub(sent) > ttl {
		where(bounded, "it was fetched at %v, longer ago than its TTL", w.since(sent))
	}
	excused := after.exceptions > before.exceptions
	stale := false
	// G3: once an environment has applied a change, what it replaced is not served again (but for a failed fetch).
	if served < before.applied {
		stale = true
		if !excused {
			where(forwards, "it went backwards")
		}
	}
	// G2: a deleted secret is not served once the deletion is known, exception or not, until it is known to be there again. Who
	// begins at the head has not read of a deletion of more than a minute before.
	deleted := func(applied int) bool { return applied > served && h.moments[name][applied].version == "" }
	unread := excused && e.leapt.Sub(h.toldAt(name, after.applied)) > time.Minute
	if deleted(before.applied) && deleted(after.applied) && !unread {
		where(noWorse, "its deletion was known")
	}
	// G1: a version that was current at or after now − CheckEvery − (time from the change to its append).
	if told := h.coveredThroughout(name, now.Add(-secretcache.DefaultCheckEvery), now); served < told {
		stale = true
		if !excused {
			where(bounded, "the log had told of moment %d for longer than CheckEvery", told)
		}
	}
	w.judgePromises(name, before.at, served, excused, where)
	if stale {
		// each exception is counted
		counts := e.client.counts() // as of now: others that were judged before this read may have been counted after it
		if e.stale++; e.stale > counts.Uncertain+counts.Outdated {
			where(bounded, "%d stale reads, %d exceptions counted: %+v", e.stale, counts.Uncertain+counts.Outdated, counts)
		}
	}
}

// countUnseen counts what an environment had not seen of a secret when it was read.
func (w *world) countUnseen(name string, applied int) {
	told := w.history.coveredNow(name)
	if applied < 0 || told < applied+2 {
		return
	}
	w.counts[severalUnseen]++
	if moments := w.history.moments[name]; moments[told].version == moments[applied].version {
		w.counts[thereAndBack]++
	}
}

// judgeTheirs holds a reading of another account's secret against the truth: it is no version of the own account's of its name.
func (w *world) judgeTheirs(e *environment, name string, r reading) {
	switch {
	case r.err != nil:
		w.scan(r.err.Error())
	case r.version != theirVersion:
		w.violate(truth, "environment %d read another account's %s at %v: version %s is not of that", e.id, name, w.since(time.Now()), r.version)
	default:
		w.count(readTheirs)
	}
}

// judgeError holds a failed read against G2: no request fails because of the broadcaster.
func (w *world) judgeError(e *environment, name string, before observation, r reading, final bool, now time.Time) {
	h := w.history
	first := h.moments[name][0].at
	unreadable := first.Add(lateFor).After(before.at) // at any time that Secrets Manager may still answer with
	for i, m := range h.moments[name] {
		over := i+1 < len(h.moments[name]) && h.moments[name][i+1].at.Before(before.at.Add(-lateFor))
		unreadable = unreadable || m.version == "" && !over
	}
	switch {
	case final && h.moments[name][h.current(name)].version == "":
	case r.gaveUp, !final && unreadable, w.faults.secretsFailedSince(before.at):
	default:
		w.violateLocked(noWorse, "environment %d read %s at %v: a read failed: %v", e.id, name, w.since(now), r.err)
	}
}

// lateFor is how long Secrets Manager answers with older states at the most.
const lateFor = time.Minute

// slack is how close together a change and its undoing may be without the event of the second proving the first.
const slack = 7 * time.Second

// handled holds a handled event against G4: the log tells of what it told of.
func (w *world) handled(n notice, how invalidation.Handling) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h, name := w.history, n.signal.Name
	if !w.faults.describesLaggedSince(n.began) && n.triedIn == w.epoch && !h.toldAsSeen(name, n.seen) {
		w.violateLocked(complete, "%s was handled as %s at %v, the log tells of moment %d, DescribeSecret of %d",
			name, how, w.since(time.Now()), h.coveredNow(name), n.seen)
	}
	if n.moment < 0 || n.epoch != w.epoch || !n.signal.Trusted {
		return
	}
	told := h.coveredNow(name)
	if told >= n.moment {
		return
	}
	if h.moments[name][n.moment].at.Sub(h.coverage(name).dated) < slack {
		return
	}
	from := told
	if told >= 0 && h.moments[name][told].version != "" && n.signal.Kind != events.Moved {
		// Deletions and restorations say nothing of versions: those before are for other events to tell of.
		for from = n.moment - 1; h.moments[name][from].version == ""; from-- {
		}
	}
	if told >= 0 && h.sameBetween(name, from, n.moment) {
		return
	}
	w.violateLocked(complete, "the event about moment %d of %s was handled as %s at %v, the log tells of %d", n.moment, name, how, w.since(time.Now()), told)
}

// toldAsSeen reports whether the log tells of a secret what a describe has shown, at a moment or later.
func (h *history) toldAsSeen(name string, seen int) bool {
	told := h.coveredNow(name)
	for m := seen; m < len(h.moments[name]); m++ {
		is := h.moments[name][m]
		if told >= m || is.version == "" || told >= 0 && h.moments[name][told].same(is) {
			return true
		}
	}
	return false
}

// sameBetween reports whether nothing happened after one moment and up to another that could be in a cache: the secret
// was at most unreadable in between. What came after that is for other events to tell of; if it was unreadable at the
// second moment itself it must have come back as it was.
func (h *history) sameBetween(name string, from, to int) bool {
	is := h.moments[name][from].version
	for m := from + 1; m < len(h.moments[name]); m++ {
		now := h.moments[name][m].version
		switch {
		case now == is && m >= to:
			return true
		case now != is && now != "":
			return false
		}
	}
	return false
}

// judgeRow holds a row that was just committed against the log before it and against what really happened.
func (w *world) judgeRow(row wire.Row) {
	h := w.history
	head := wire.Row{}
	if n := len(h.live); n > 0 {
		head = h.live[n-1]
	}
	if row.Revision != head.Revision+1 || row.PreviousHash != head.Hash {
		w.violateLocked(chain, "revision %d was committed when the head was %d", row.Revision, head.Revision)
	}
	for _, c := range row.Changes {
		if before := h.coverage(c.Name); c.At.Before(before.dated) {
			w.violateLocked(order, "revision %d tells of %s at %v, the row before told of %v",
				row.Revision, c.Name, w.since(c.At), w.since(before.dated))
		}
		if m := h.momentOf(c); m < 0 || h.moments[c.Name][m].version != c.VersionID {
			w.violateLocked(order, "revision %d says %s %s %q at %v, which is not so", row.Revision, c.Name, c.Kind, c.VersionID, w.since(c.At))
		}
	}
}

// checkChain walks the log: one revision per append, none rewritten, none skipped.
func (w *world) checkChain(rows []wire.Row) {
	w.mu.Lock()
	defer w.mu.Unlock()
	previous := wire.Row{}
	for _, row := range rows {
		if row.Revision != previous.Revision+1 || row.PreviousHash != previous.Hash {
			w.violateLocked(chain, "the log's chain breaks at revision %d", row.Revision)
			return
		}
		previous = row
	}
	if len(rows) != len(w.history.live) {
		w.violateLocked(chain, "the log has %d rows, %d were committed", len(rows), len(w.history.live))
	}
}

// scan holds output against G5: no secret value leaves a client.
func (w *world) scan(output string) {
	if strings.Contains(output, canary) {
		w.violate(valueless, "a secret value was put out")
	}
}
