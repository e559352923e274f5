package secretcache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// errSuperseded: the entry was marked while the fetch was on its way.
var errSuperseded = errors.New("a change was announced while the secret was fetched")

// errLate: the version wanted could not be had in time.
var errLate = errors.New("the changed version cannot be fetched yet")

// errDeletedLate: the log says so, Secrets Manager not yet.
var errDeletedLate = fmt.Errorf("%w: the log says so, and Secrets Manager still answers with what was before", ErrDeleted)

// lateRetries are the pauses before the next try when Secrets Manager answers with what was before a known change. The
// first tries read AWSCURRENT, those after labelTries the version that the change named: a read by version id is not
// held up by a label that still reads old.
var lateRetries = [...]time.Duration{50 * time.Millisecond, 0, 100 * time.Millisecond, 300 * time.Millisecond} //nolint:gochecknoglobals // a table, never written

const (
	labelTries = 2
	lastTry    = len(lateRetries)
)

// A fetch is one refill of an entry on its way. All who read the entry meanwhile share it.
type fetch struct {
	id         string // what is asked for: a name, or the ARN a handle was made with
	name, arn  string // the secret's; empty until the first answer to an ARN has told them
	generation uint64 // the entry's when it began
	marks      uint64 // the cache's when it began: for an entry whose name is not known yet
	done       chan struct{}
	rests      int64  // the cache's when it began
	inVain     *int64 // the cache's when a read began that did not wait for it to end; nil before that

	// Of the try on its way:
	sent   instant
	reads  uint64       // the cache's when it was sent, or before
	beside *check       // the check on its way then, or nil
	known  *knownChange // the newest change when it was sent, or when a check landed after that
	late   *version     // the last answer that was of before a known change, while it is better than none

	version *version // set before done is closed, as is err
	err     error
}

// startFetch returns the fetch on its way for the entry's generation, or starts one. The caller holds mu.
func (c *Cache) startFetch(e *entry, id string) *fetch {
	if e.fetch == nil {
		e.fetch = &fetch{id: e.nameOr(id), name: e.name, generation: e.generation, marks: c.marks, reads: c.reads, rests: c.rests.Load(), done: make(chan struct{})}
		go c.runFetch(e, e.fetch)
	}
	return e.fetch
}

func (c *Cache) runFetch(e *entry, f *fetch) {
	defer c.startReport() // after the reads that wait have been told
	defer close(f.done)
	for try := 0; ; try++ {
		late, changed := c.tryFetch(e, f, try)
		switch {
		case changed != nil:
			c.tellChange(changed, f.version)
			return
		case !late:
			return
		case try < lastTry:
			time.Sleep(lateRetries[try])
		case c.stillLate(e, f):
			c.mu.Lock()
			c.giveUp(e, f, errLate)
			c.mu.Unlock()
			return
		}
	}
}

// stillLate reports whether late answers are still to be expected for a fetch that got nothing else. A freeze or a clock
// that was set may have come in between, and then only the log's own clock tells how old the change is. If its time is
// over, what was answered before says nothing any more, and what AWSCURRENT reads now is the truth: so that is asked for.
func (c *Cache) stillLate(e *entry, f *fetch) bool {
	if e.follows {
		c.ensureChecked(context.Background(), nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.knownOf(f.name) != nil
}

// tryFetch asks Secrets Manager once and lands the answer. late asks for another try; changed is the entry whose
// OnChange is to be told.
func (c *Cache) tryFetch(e *entry, f *fetch, try int) (late bool, changed *entry) {
	c.mu.Lock()
	f.known = c.knownOf(f.name)
	c.mu.Unlock()
	versionID := ""
	if try >= labelTries && f.known != nil {
		versionID = f.known.VersionID
	}
	got, err := c.get(e, f, versionID)
	if f.beside != nil {
		<-f.beside.done // the answer is judged by what it finds
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Fetches++
	if c.isSuperseded(e, f) {
		f.err = errSuperseded
		c.endFetch(e, f)
		return false, nil
	}
	if err == nil && e.tracked {
		f.name, f.arn = got.Name, got.ARN
	}
	known := c.knownOf(f.name)
	if known == nil {
		known = f.known // it was young enough to judge by when the request was sent
	}
	gone := errors.Is(err, ErrNotFound) || errors.Is(err, ErrDeleted)
	switch {
	case err != nil && !gone && f.late != nil:
		c.giveUp(e, f, err)
		return false, nil
	case err != nil && !gone:
		c.fail(e, f, err)
		return false, nil
	case known != nil && known.makesLate(got, err, f.sent) && !(gone && try >= lastTry && f.late == nil):
		c.counts.LateAnswers++
		if err == nil && !known.forbidsLate(c.now()) {
			f.late = newVersion(got, f.sent)
		}
		return true, nil
	case gone:
		f.late = nil
		e.held = nil // Secrets Manager's word about what is current now, however it was asked; never cached
		e.fresh.Store(nil)
		c.fail(e, f, err)
		return false, nil
	}
	return false, c.install(e, f, got)
}

// overdue is how much later than its time-out a request must end for the process not to have run meanwhile: that may be noticed
// before the invocation that the environment was thawed for.
const overdue = 100 * time.Millisecond

// get asks Secrets Manager, and again if that failed and the environment may have been frozen meanwhile: whoever reads
// after the thaw waits for this fetch, and what had become of it before is not their fault. There is no rest while anybody
// waits, so they wait for one such failure and one answer at the most.
func (c *Cache) get(e *entry, f *fetch, versionID string) (Fetched, error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), c.cfg.FetchTimeout)
		rests, began := c.rests.Load(), time.Now()
		c.noteSent(e, f)
		got, err := c.request(ctx, e, f, versionID)
		cancel()
		if err == nil || c.rests.Load() == rests && time.Since(began) <= c.cfg.FetchTimeout+overdue {
			return got, err
		}
	}
}

// noteSent notes when a request is sent, and beside which check.
func (c *Cache) noteSent(e *entry, f *fetch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.sent, f.reads, f.beside = c.now(), c.reads, nil // a value's age counts from before it was asked for
	if e.follows && c.check != nil {
		f.beside = c.check
		f.beside.awaited = true
	}
}

// nameOr returns what to ask for: the name once it is known, since after delete and recreate the old ARN misleads. The
// caller holds mu.
func (e *entry) nameOr(id string) string {
	if e.name != "" {
		return e.name
	}
	return id
}

func newVersion(got Fetched, sent instant) *version {
	return &version{
		id: got.VersionID, arn: got.ARN, text: got.Text, name: got.Name, labels: got.Labels, binary: got.Binary,
		created: got.Created, sent: sent,
	}
}

// giveUp ends a fetch that got late answers only, and perhaps an error at last. Where nothing is held, or nothing that may
// still be served, the last answer is better than nothing: it is what a client without the log would serve. The caller holds mu.
func (c *Cache) giveUp(e *entry, f *fetch, err error) {
	if c.isSuperseded(e, f) {
		f.err = errSuperseded
		c.endFetch(e, f)
		return
	}
	c.endFetch(e, f)
	e = c.resolve(e, f.name, f.arn) // where the log's changes reach it
	known := c.knownOf(f.name)
	if known == nil {
		known = f.known
	}
	if known.forbidsLate(c.now()) {
		f.late = nil
		c.fail(e, f, errDeletedLate)
		return
	}
	if f.late != nil && !c.heldIsBetter(e.held, f.late) {
		e.held = f.late
	}
	c.fail(e, f, err)
}

// heldIsBetter reports whether what is held is better to fall back to than a late answer. The caller holds mu.
func (c *Cache) heldIsBetter(held, late *version) bool {
	return held != nil && held.id != late.id && c.now().since(held.sent) <= c.cfg.TTL
}

// makesLate reports whether an answer, asked for at sent, is of before the change.
func (k *knownChange) makesLate(got Fetched, err error, sent instant) bool {
	switch {
	case k.ageAt(sent) > lateFor:
		return false
	case err != nil:
		return k.Kind != wire.Deleted
	case got.VersionID == k.VersionID:
		return false
	default:
		return !got.Created.After(k.At)
	}
}

// forbidsLate reports whether a late answer must not be fallen back to: the secret is deleted. Where one clock says that
// such answers are over, and the log cannot be asked which clock is right, that much is not known.
func (k *knownChange) forbidsLate(now instant) bool {
	return k != nil && k.Kind == wire.Deleted && k.age+min(now.since(k.anchor), 2*lateFor) <= lateFor
}

// knownOf returns the newest change of a name, or nil. The caller holds mu.
func (c *Cache) knownOf(name string) *knownChange {
	if k, ok := c.known[name]; ok {
		return &k
	}
	return nil
}

// install puts a fetched version into its entry and returns the entry if its OnChange is to be told. The caller holds mu.
func (c *Cache) install(e *entry, f *fetch, got Fetched) *entry {
	c.endFetch(e, f)
	f.version = newVersion(got, f.sent)
	if c.entries[e.key] != e {
		return nil // it was forgotten meanwhile: no change would be told to it any more
	}
	e = c.resolve(e, got.Name, got.ARN)
	e.held = f.version
	e.failed = nil
	e.fresh.Store(f.version)
	c.replaced(e, f.version)
	if e.lastID == "" {
		e.lastID, e.verified = got.VersionID, got.VersionID
	}
	if e.lastID == got.VersionID || !e.toTell(f.version) {
		return nil
	}
	return e
}

// resolve has the entry by name take the place of an ARN's, if that is of the own account, and returns the entry that has
// it. One that was forgotten stays alone. The caller holds mu.
func (c *Cache) resolve(e *entry, name, arn string) *entry {
	if e.name != "" || !c.isOwn(arn) || c.entries[e.key] != e {
		return e
	}
	byName := c.entryFor(name)
	c.replace(e, byName)
	return byName
}

// isSuperseded reports whether an entry was marked while a fetch of it was on its way, or may have been as far as is known
// of its name. The caller holds mu.
func (c *Cache) isSuperseded(e *entry, f *fetch) bool {
	return e.generation != f.generation || e.tracked && e.name == "" && c.marks != f.marks
}

// fail ends a fetch that gave no usable value. The caller holds mu.
func (c *Cache) fail(e *entry, f *fetch, err error) {
	f.err = err
	c.counts.FetchFailures++
	now := c.now()
	e.failed = &now
	c.endFetch(e, f)
}

// hasEnded reports whether it is known what became of a fetch. The caller holds mu.
func (f *fetch) hasEnded() bool { return f.version != nil || f.err != nil }

func (c *Cache) endFetch(e *entry, f *fetch) {
	if e.fetch == f {
		e.fetch = nil
	}
}
