package fleet

import (
	"fmt"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// The invariants stand here once, worded as the guarantees are. They use what callers received and what really happened,
// never the clients' own word, except to see whether an exception was counted.

// A reading is what a caller received.
type reading struct {
	version, text string
	err           error
	gaveUp        bool // the caller's own deadline had passed
}

// judge holds one reading against G1, G2 and G3.
func (w *world) judge(e *environment, name string, before observation, r reading, final bool) {
	counts := e.cache.Counts()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.reads++
	if r.err != nil {
		w.judgeError(e, name, before, r, final, now)
		return
	}
	h := w.history
	served := h.latest(name, r.version)
	where := func(format string, args ...any) {
		w.violateLocked("environment %d read %s at %v: version %s is of moment %d, now is %d, log tells of %d, environment had applied %d: %s",
			e.id, name, w.since(now), r.version, served, h.current(name), h.coveredNow(name), before.applied, fmt.Sprintf(format, args...))
	}
	if served < 0 {
		where("it never was current")
		return
	}
	if final && served != h.current(name) {
		where("the run is over and it is not what is current")
	}
	// G1: never one cached longer ago than its TTL: the TTL always applies.
	if sent, ok := w.fetches[r.text]; !ok || now.Sub(sent) > ttl {
		where("G1: it was fetched at %v, longer ago than its TTL", w.since(sent))
	}
	excused := counts.Uncertain+counts.Outdated > before.exceptions
	// G2: a deleted secret is not served once the deletion is known, exception or not.
	if before.applied > served && h.moments[name][before.applied].version == "" {
		where("G2: its deletion was known")
	}
	stale := false
	// G3: once an environment has applied a change, what it replaced is not served again (but for a failed fetch).
	if served < before.applied {
		stale = true
		if !excused {
			where("G3: it went backwards")
		}
	}
	// G1: a version that was current at or after now − CheckEvery − (time from the change to its append).
	if told := h.coveredThroughout(name, now.Add(-secretcache.DefaultCheckEvery), now); served < told {
		stale = true
		if !excused {
			where("G1: the log had told of moment %d for longer than CheckEvery", told)
		}
	}
	if stale {
		// each exception is counted
		if e.stale++; e.stale > counts.Uncertain+counts.Outdated {
			where("%d stale reads, %d exceptions counted", e.stale, counts.Uncertain+counts.Outdated)
		}
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
		w.violateLocked("environment %d read %s at %v: G2: a read failed: %v", e.id, name, w.since(now), r.err)
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
	if !w.faults.describesLaggedSince(n.began) && n.epoch == w.epoch && !h.toldAsSeen(name, n.seen) {
		w.violateLocked("G4: %s was handled as %s at %v, the log tells of moment %d, DescribeSecret of %d",
			name, how, w.since(time.Now()), h.coveredNow(name), n.seen)
	}
	if n.moment < 0 || n.epoch != w.epoch || !n.signal.Trusted {
		return
	}
	told := h.coveredNow(name)
	if told >= n.moment {
		return
	}
	if c := h.covered[name]; len(c) > 0 && h.moments[name][n.moment].at.Sub(c[len(c)-1].dated) < slack {
		return
	}
	if told >= 0 && h.sameSince(name, told) {
		return
	}
	w.violateLocked("G4: the event about moment %d of %s was handled as %s at %v, the log tells of %d", n.moment, name, how, w.since(time.Now()), told)
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

// sameSince reports whether nothing happened after a moment that could be in a cache now: it was at most unreadable in
// between.
func (h *history) sameSince(name string, from int) bool {
	is := h.moments[name][from].version
	for _, m := range h.moments[name][from+1:] {
		if m.version != is && m.version != "" {
			return false
		}
	}
	return h.moments[name][h.current(name)].version == is
}

// checkChain walks the log: one revision per append, none rewritten, none skipped.
func (w *world) checkChain(rows []wire.Row) {
	w.mu.Lock()
	defer w.mu.Unlock()
	previous := wire.Row{}
	for _, row := range rows {
		if row.Revision != previous.Revision+1 || row.PreviousHash != previous.Hash {
			w.violateLocked("the log's chain breaks at revision %d", row.Revision)
			return
		}
		previous = row
	}
	if len(rows) != len(w.history.live) {
		w.violateLocked("the log has %d rows, %d were committed", len(rows), len(w.history.live))
	}
}

// scan holds output against G5: no secret value leaves a client.
func (w *world) scan(output string) {
	if strings.Contains(output, canary) {
		w.violate("G5: a secret value was put out")
	}
}
