package secretcache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	// maxBehind is how many rows a check applies one by one. Further behind, everything cached is refetched instead.
	maxBehind = 100
	// lateFor is how long Secrets Manager may answer with what was before a change. It is eventually consistent and gives
	// no bound (https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html); a minute is assumed.
	lateFor = time.Minute
)

var (
	errEmptyLog = errors.New("the change log is empty")
	errGap      = errors.New("the change log has a gap")
)

// A check is one look at the log on its way. All who need one share it.
type check struct {
	done    chan struct{}
	begun   instant
	awaited bool  // a fetch waits for it, and sees to the report then; Cache.mu guards it
	err     error // set before done is closed
}

// A logRead is one of the at most two reads of a check.
type logRead struct {
	from cursor
	sent instant // what it finds counts from here: what was appended later may be missing from the answer
}

// beginRead begins a read of the log. The caller holds mu.
func (c *Cache) beginRead(now instant) logRead {
	c.reads++
	return logRead{c.cursor, now}
}

// certain reports whether what is served now has a check behind it that is young enough.
func (c *Cache) certain(now instant) bool {
	checked := c.checked.Load()
	return checked != nil && now.since(*checked) <= c.cfg.CheckEvery
}

// ensureChecked checks the log unless the newest check is young enough. The caller may have started one already. It
// returns false if the log could not be read, or not in time: then the TTL alone applies.
func (c *Cache) ensureChecked(ctx context.Context, k *check) bool {
	// An answer may come so late that it is too old at once, above all one that was sent before a freeze: ask again.
	for range 2 {
		if k == nil {
			now := c.now()
			if c.certain(now) {
				return true
			}
			k = c.startCheck(now, false)
		}
		if k == nil || !k.wait(ctx) {
			return false
		}
		k = nil
	}
	return c.certain(c.now())
}

// checkSince checks the log unless a check begun at or after the given instant has answered. It ignores the breaker.
func (c *Cache) checkSince(ctx context.Context, begun instant) bool {
	for range 2 {
		k := c.startCheck(c.now(), true)
		if !k.wait(ctx) {
			return false
		}
		if !k.begun.before(begun) {
			return true
		}
	}
	return false
}

// wait returns whether the check succeeded before ctx ended.
func (k *check) wait(ctx context.Context) bool {
	select {
	case <-k.done:
		return k.err == nil
	case <-ctx.Done():
		return false
	}
}

// startCheck returns the check on its way, or starts one: unless it is forced, only if the newest is not young enough. It
// returns nil while the breaker is open.
func (c *Cache) startCheck(now instant, force bool) *check {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.check != nil {
		return c.check
	}
	k := &check{done: make(chan struct{}), begun: now}
	if !force && c.certain(c.now()) { // one has ended since the caller looked
		close(k.done)
		return k
	}
	if !force && c.breaker.open(now) {
		return nil
	}
	c.check = k
	go c.runCheck(k, c.beginRead(now)) // begun here: whatever the caller fetches now is sent after it
	return k
}

func (c *Cache) runCheck(k *check, first logRead) {
	defer close(k.done)
	if k.err = c.readLog(first); k.err != nil {
		c.mu.Lock()
		second := c.beginRead(c.now())
		c.mu.Unlock()
		k.err = c.readLog(second) // on a fresh connection
	}
	now := c.now()
	c.mu.Lock()
	c.check = nil
	awaited := k.awaited
	message := c.breaker.note(k.err, now)
	if k.err != nil {
		c.counts.CheckFailures++
		c.report.due = c.report.due || c.breaker.failures >= breakerAfter
	} else {
		c.counts.Checks++
	}
	c.mu.Unlock()
	switch {
	case message == "":
	case k.err != nil:
		c.cfg.Logger.Warn(message, "error", k.err)
	default:
		c.cfg.Logger.Info(message)
	}
	if !awaited {
		c.startReport()
	}
}

// readLog reads what is newer than the cursor and applies it.
func (c *Cache) readLog(r logRead) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.CheckTimeout)
	defer cancel()
	from, sent := r.from, r.sent
	if from.revision > 0 {
		page, err := c.cfg.Log.Since(ctx, from.revision, maxBehind+2)
		if err == nil {
			err = c.mustBeOurs(page)
		}
		if err != nil {
			return err
		}
		known := len(page.Rows) > 0 && cursorOf(page.Rows[0]) == from
		if known && len(page.Rows) <= maxBehind+1 {
			return c.apply(page, from, sent)
		}
		// The table was restored or compacted, or too much has happened since.
	}
	page, err := c.tail(ctx)
	if err != nil {
		return err
	}
	return c.startAtHead(page, sent)
}

// tail reads the newest rows, at least all that are young enough for late answers to be expected.
func (c *Cache) tail(ctx context.Context) (Page, error) {
	for limit := maxBehind; ; limit *= 10 {
		page, err := c.cfg.Log.Tail(ctx, limit)
		if err == nil {
			err = c.mustBeOurs(page)
		}
		switch {
		case err != nil:
			return Page{}, err
		case len(page.Rows) == 0:
			return Page{}, errEmptyLog
		case len(page.Rows) < limit, page.Date.IsZero(), page.since(page.Rows[0].Time) > lateFor:
			return page, nil
		}
	}
}

// mustBeOurs returns an error if a page is of another domain's log. That says nothing of this function's secrets: to follow
// it would be to follow nothing, unnoticed.
func (c *Cache) mustBeOurs(page Page) error {
	if len(page.Rows) == 0 || page.Rows[0].Env == c.cfg.Env && page.Rows[0].Domain == c.cfg.Domain {
		return nil
	}
	return fmt.Errorf("the change log is of %s/%s, this function is configured for %s/%s: "+
		"correct SECRET_BROADCAST_TABLE, or SECRET_BROADCAST_ENV and SECRET_BROADCAST_DOMAIN",
		page.Rows[0].Env, page.Rows[0].Domain, c.cfg.Env, c.cfg.Domain)
}

// apply marks what the rows after the cursor changed, then moves the cursor. On a gap it does not move.
func (c *Cache) apply(page Page, from cursor, sent instant) error {
	landed := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	last := from
	for _, row := range page.Rows[1:] {
		if err := last.followedBy(row); err != nil {
			return err
		}
		c.applyRow(row, page, landed)
		last = cursorOf(row)
	}
	c.moveTo(last, page, sent, landed)
	return nil
}

// followedBy returns errGap, wrapped, if a row is not the next one.
func (at cursor) followedBy(row wire.Row) error {
	if row.Revision != at.revision+1 || row.PreviousHash != at.hash {
		return fmt.Errorf("%w after revision %d", errGap, at.revision)
	}
	return nil
}

// startAtHead marks whatever is cached, since nobody knows what it has missed, and begins at the newest row. A fetch that
// was sent after this read of the log has missed nothing that the rows do not tell, and goes on.
func (c *Cache) startAtHead(page Page, sent instant) error {
	landed := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	beside := c.fetchesBeside()
	if c.cfg.Mode == On || c.cursor.revision > 0 { // who observes reads beside its first check, and has missed nothing by that
		c.markAll()
	}
	for i, row := range page.Rows {
		if i > 0 {
			if err := cursorOf(page.Rows[i-1]).followedBy(row); err != nil {
				return err
			}
		}
		c.applyRow(row, page, landed) // a deletion leaves nothing to fall back to
	}
	if page.tellsAllSince(landed.since(sent)) {
		c.letGoOn(beside)
	}
	c.moveTo(cursorOf(page.Rows[len(page.Rows)-1]), page, sent, landed)
	return nil
}

func (c *Cache) markAll() {
	for _, e := range c.entries {
		if e.tracked {
			c.invalidate(e)
		}
	}
}

// moveTo is the last step of a check that succeeded: the marks are made. What is known is dated again by the log's clock,
// which no freeze stops: else a minute could be long over and a change still pass for young. The caller holds mu.
func (c *Cache) moveTo(to cursor, page Page, sent, landed instant) {
	if to != c.cursor {
		c.cursor = to
		c.report.due = true
	}
	for name, known := range c.known {
		if known.appended.IsZero() {
			known.appended = page.Date // what a rejection has told: the log's clock counts from here
		}
		known.age, known.anchor = max(known.ageAt(landed), page.since(known.appended)), landed
		c.known[name] = known
		if e := c.entries[name]; e != nil && e.fetch != nil {
			e.fetch.known = &known // which judges its answer also if it is forgotten before that comes
		}
		if known.age > lateFor {
			delete(c.known, name)
			c.marks++ // a fetch of an ARN on its way may have been to be judged by it
		}
	}
	c.checked.Store(&sent)
}

// applyRow marks what one row changed. The caller holds mu.
func (c *Cache) applyRow(row wire.Row, page Page, landed instant) {
	c.remember(cursorOf(row))
	if row.Schema > wire.Schema {
		c.markAll() // it says something this client cannot read
		return
	}
	for _, change := range row.Changes {
		c.learn(change, row, page, landed)
		c.applyTo(change)
	}
}

// applyTo marks the entry of a changed secret unless what it holds is what the change made current, or newer. The caller
// holds mu.
func (c *Cache) applyTo(change wire.Change) {
	e := c.entries[change.Name]
	cached := e != nil && e.tracked
	kept := cached && e.keeps(change)
	c.markNameless(change)
	switch {
	case c.cfg.Mode != On:
		if cached && !kept {
			c.invalidate(e) // which counts only
		}
	case !cached:
		c.marks++ // it may be of an ARN whose name is not known yet: a fetch of that on its way must not land
	case kept:
		c.supersedeFetch(e) // but a fetch sent before the change must not replace it
	default:
		c.invalidate(e)
		if change.Kind == wire.Deleted {
			e.held = nil
		}
	}
}

// keeps reports whether what an entry holds is what the change made current, or newer. The caller holds mu.
func (e *entry) keeps(change wire.Change) bool {
	current := e.fresh.Load()
	return e.held != nil && e.held.created.After(change.At) ||
		change.Kind != wire.Refresh && current != nil && current.id == change.VersionID
}

// invalidate marks an entry, and counts it if it held something that would have been served; in observe mode it counts only.
func (c *Cache) invalidate(e *entry) {
	if v := e.fresh.Load(); v != nil && c.now().since(v.sent) <= e.ttl.get() {
		c.counts.Invalidated++
	}
	if c.cfg.Mode == On {
		c.mark(e)
	}
}

// remember keeps the positions of the last rows, so that a push can be told from a forgery. The caller holds mu.
func (c *Cache) remember(at cursor) {
	c.recent = append(c.recent, at)
	if len(c.recent) > maxBehind {
		c.recent = append(c.recent[:0], c.recent[len(c.recent)-maxBehind:]...)
	}
}

// A knownChange is the newest change of a name, and how old its row is.
type knownChange struct {
	wire.Change
	appended time.Time     // by the broadcaster's clock; zero until a check dates what no row has told
	age      time.Duration // of the row at anchor, at least
	anchor   instant       // when the newest answer of the log landed here
}

// learn keeps a change to judge fetches by. A restored table may lack what is already known here, and be appended to
// from an answer that is older than it: the later change wins, whatever its revision.
func (c *Cache) learn(change wire.Change, row wire.Row, page Page, landed instant) {
	if c.cfg.Mode != On {
		return // who observes serves what Secrets Manager answers
	}
	if known, ok := c.known[change.Name]; ok && change.At.Before(known.At) {
		return
	}
	age := page.since(row.Time)
	if age > lateFor {
		delete(c.known, change.Name) // what AWSCURRENT reads is the truth
		return
	}
	c.known[change.Name] = knownChange{change, row.Time, age, landed}
}

// ageAt returns how old the row was at an instant, at least: a late answer must not pass for a current one because a
// clock jumped. It is negative for an instant before the row.
func (k knownChange) ageAt(i instant) time.Duration {
	if i.before(k.anchor) {
		return k.age - k.anchor.since(i)
	}
	return k.age + i.atLeastSince(k.anchor)
}

// since returns how long before the page landed something was appended, at least. Without a date of the log it is new.
func (p Page) since(appended time.Time) time.Duration {
	if p.Date.IsZero() {
		return 0
	}
	return p.Date.Sub(appended)
}
