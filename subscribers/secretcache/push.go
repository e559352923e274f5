package secretcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	// lingerFor is how long a handler's return waits for a report or a check on its way: what is unfinished then is frozen
	// with the environment.
	lingerFor = 50 * time.Millisecond
	// pushRefetchEvery bounds how often pushes can cause a refetch while the log cannot be read: anybody may forge one.
	pushRefetchEvery = 10 * time.Second
)

// Handler is what aws-lambda-go calls lambda.Handler.
type Handler interface {
	Invoke(ctx context.Context, payload []byte) ([]byte, error)
}

// Wrap returns a handler that answers invalidations itself with an Ack and gives everything else to h. It starts the
// check of the log when an invocation starts, so that the first read finds it done, and sends reports beside h.
func (c *Cache) Wrap(h Handler) Handler {
	c.mu.Lock()
	c.report.takesInvalidations = true
	c.mu.Unlock()
	return &wrapped{c, h}
}

type wrapped struct {
	cache *Cache
	next  Handler
}

// Invoke implements Handler.
func (w *wrapped) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	c := w.cache
	defer c.enter(ctx)()
	defer c.Linger(ctx)
	inv, ours, err := wire.ParseInvalidation(payload)
	if ours {
		return json.Marshal(c.answer(ctx, inv, err))
	}
	c.start()
	return w.next.Invoke(ctx, payload)
}

// Begin says that somebody is at work until end is called: for a program that is no handler and has none to Wrap. It
// starts the check of the log and the report as Wrap does when an invocation starts. Between two who are at work the
// environment may be frozen, so that a fetch which failed meanwhile is not the fault of who reads next.
func (c *Cache) Begin(ctx context.Context) (end func()) {
	end = c.enter(ctx)
	c.start()
	return end
}

func (c *Cache) enter(ctx context.Context) (leave func()) {
	c.noteInvocation(ctx)
	if c.invocations.Add(1) == 1 {
		c.rests.Add(1)
	}
	return func() {
		if c.invocations.Add(-1) == 0 {
			c.rests.Add(1)
		}
	}
}

// start sends what an invocation sends at its beginning, and waits for nothing.
func (c *Cache) start() {
	if now := c.now(); c.cfg.Mode != Off && !c.certain(now) {
		c.startCheck(now, false)
	}
	c.startReport()
}

// noteInvocation keeps the ARN under which this function is invoked, for acks and reports.
func (c *Cache) noteInvocation(ctx context.Context) {
	if c.cfg.InvokedARN == nil {
		return
	}
	if arn := c.cfg.InvokedARN(ctx); arn != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.report.due = c.report.due || c.report.function == "" // it has been read, and reported, before the first invocation
		c.report.function = arn
	}
}

// Linger waits a little for the check and the report on their way: once who is at work has ended the environment may be
// frozen. Wrap does so before it returns what the handler did.
func (c *Cache) Linger(ctx context.Context) {
	c.startReport()
	k, reported := c.underWay()
	if k == nil && reported == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lingerFor)
	defer cancel()
	if k != nil {
		k.wait(ctx)
		c.startReport() // unless it ended with one
		_, reported = c.underWay()
	}
	if reported != nil {
		select {
		case <-reported:
		case <-ctx.Done():
		}
	}
}

// underWay returns the check on its way, and what is closed when the report on its way has been written; nil without one.
func (c *Cache) underWay() (*check, chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.check, c.report.sending
}

// answer handles an invalidation: it reads the log, refetches what changed and is cached, and says what became of it.
// Nothing in the invalidation itself is applied.
func (c *Cache) answer(ctx context.Context, inv wire.Invalidation, err error) wire.Ack {
	ack := c.newAck()
	switch {
	case err != nil:
		ack.Problem = err.Error()
		c.cfg.Logger.Warn("an invalidation was refused", "error", err)
		return ack
	case c.cfg.Mode == Off:
		ack.Problem = wire.ProblemOff
		return ack
	case inv.Detail.Env != c.cfg.Env || inv.Detail.Domain != c.cfg.Domain:
		ack.Problem = fmt.Sprintf("an invalidation of %s/%s was sent to a function of %s/%s", inv.Detail.Env, inv.Detail.Domain, c.cfg.Env, c.cfg.Domain)
		c.cfg.Logger.Error(ack.Problem)
		return ack
	}
	if !c.checkSince(ctx, c.now()) {
		ack.Problem = wire.ProblemLog
		c.refetchPushed(inv.Detail.Changes)
	}
	ack.Revision, ack.Hash = c.Position()
	if c.isInLog(cursorOf(inv.Detail)) {
		ack.Secrets = c.settleAll(ctx, inv.Detail.Changes)
	}
	return ack
}

// settleAll brings changed secrets up to date, all at the same time.
func (c *Cache) settleAll(ctx context.Context, changes []wire.Change) []wire.SecretOutcome {
	outcomes := make([]wire.SecretOutcome, len(changes))
	var settling sync.WaitGroup
	for i, change := range changes {
		settling.Go(func() { outcomes[i] = c.settle(ctx, change) })
	}
	settling.Wait()
	return outcomes
}

// settle brings a changed secret up to date if it is cached.
func (c *Cache) settle(ctx context.Context, change wire.Change) wire.SecretOutcome {
	out := wire.SecretOutcome{Name: change.Name, Outcome: wire.NotCached}
	c.mu.Lock()
	e := c.entries[change.Name]
	cached := e != nil && e.tracked && e.lastID != "" && (e.held != nil || change.Kind == wire.Deleted)
	evicted := cached && e.held == nil
	c.mu.Unlock()
	switch {
	case !cached:
		return out
	case c.cfg.Mode == Observe:
		out.Outcome = wire.Observed
		return out
	case evicted:
		out.Outcome = wire.Applied
		return out
	}
	if _, err := c.Secret(change.Name).Get(ctx); err != nil {
		out.Outcome, out.Reason = wire.Failed, reasonOf(err)
		return out
	}
	c.waitTold(ctx, e)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outcomeOf(e, change.Name)
}

// outcomeOf says how an entry that held something stands. The caller holds mu.
func (c *Cache) outcomeOf(e *entry, name string) wire.SecretOutcome {
	out := wire.SecretOutcome{Name: name, Outcome: wire.Applied}
	if e.held != nil {
		out.VersionID = e.held.id
		out.Verified = e.verified == e.held.id
	}
	switch {
	case e.held != nil && e.fresh.Load() == nil:
		out.Outcome, out.Reason = wire.Failed, wire.ReasonNotFetched
	case e.refused != "":
		out.Outcome, out.Reason = wire.Failed, e.refused
	}
	return out
}

// reasonOf classes an error; its text is not passed on.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, ErrDeleted):
		return wire.ReasonDeleted
	case errors.Is(err, ErrNotFound):
		return wire.ReasonNotFound
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return wire.ReasonTooLate
	default:
		return wire.ReasonNotFetched
	}
}

// refetchPushed marks what a push names while the log cannot be read. The refetch reads AWSCURRENT, never a version that
// the push claims, and the cursor stays.
func (c *Cache) refetchPushed(changes []wire.Change) {
	if c.cfg.Mode != On {
		return
	}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range changes {
		e := c.entries[change.Name]
		if e == nil || !e.tracked || e.held == nil || e.pushed != nil && now.since(*e.pushed) < pushRefetchEvery {
			continue
		}
		e.pushed = &now
		c.mark(e)
	}
}

// isInLog reports whether a row with this revision and hash was read from the log.
func (c *Cache) isInLog(at cursor) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, seen := range c.recent {
		if seen == at {
			return true
		}
	}
	return false
}
