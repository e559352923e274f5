package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

var errInjected = errors.New("injected fault")

// travel is one way of a request or an answer. A frozen environment sends and receives nothing. Whether a timer that ran
// out meanwhile or the answer that lies in the socket wins after a thaw is open.
func (e *environment) travel(ctx context.Context, longest time.Duration) error {
	e.underway.Add(1)
	defer e.underway.Add(-1)
	e.pass()
	t := time.NewTimer(e.upTo(longest))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		if e.roll(2) == 0 {
			e.pass()
			return ctx.Err()
		}
		<-t.C
	}
	e.pass()
	return nil
}

// travelBack is the way of an answer.
func (e *environment) travelBack(ctx context.Context, longest time.Duration) error {
	freezes := e.freezesSoFar()
	err := e.travel(ctx, longest)
	if err == nil && e.freezesSoFar() > freezes {
		e.w.count(answeredThawed)
	}
	return err
}

// logPort is the environment's way to the change log.
type logPort struct{ e *environment }

func (p logPort) Since(ctx context.Context, revision int64, limit int) (secretcache.Page, error) {
	return p.ask(ctx, func() (secretcache.Page, error) { return p.e.w.log.Since(context.Background(), revision, limit) })
}

func (p logPort) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	return p.ask(ctx, func() (secretcache.Page, error) { return p.e.w.log.Tail(context.Background(), limit) })
}

func (p logPort) ask(ctx context.Context, do func() (secretcache.Page, error)) (secretcache.Page, error) {
	e := p.e
	slow := 40 * time.Millisecond // a check that needs all its three requests is in time, unless something is wrong
	if e.w.plan.Faults && e.roll(8) == 0 && e.w.unsettled() {
		slow = 300 * time.Millisecond
	}
	if err := e.travel(ctx, slow); err != nil {
		return secretcache.Page{}, err
	}
	switch down, hangs := e.w.faults.logDown(e); {
	case down && hangs:
		e.w.count(logHung)
		<-ctx.Done()
		e.pass()
		return secretcache.Page{}, ctx.Err()
	case down:
		e.w.count(logDown)
		return secretcache.Page{}, errInjected
	}
	page, err := do()
	if err != nil {
		e.w.violate(contract, "reading the log: %v", err)
		return page, err
	}
	if n := len(page.Rows); n > 2 && e.w.faults.takeGap(e) {
		e.w.count(rowMissing)
		missing := 1 + e.roll(n-2)
		page.Rows = append(append([]wire.Row{}, page.Rows[:missing]...), page.Rows[missing+1:]...)
	}
	return page, e.travelBack(ctx, slow)
}

// secretsPort is the environment's way to Secrets Manager.
type secretsPort struct{ e *environment }

func (p secretsPort) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	e := p.e
	sent := time.Now()
	slow := 80 * time.Millisecond
	if e.roll(4) == 0 && e.w.unsettled() {
		slow = 4 * time.Second
		if e.w.plan.calm() {
			slow = 150 * time.Millisecond // all tries together take less than the two seconds that a read waits for them
		}
	}
	if err := e.travel(ctx, slow); err != nil {
		return secretcache.Fetched{}, err
	}
	if e.w.faults.secretsDown() {
		e.w.count(secretsFailed)
		return secretcache.Fetched{}, errInjected
	}
	got, err := e.w.secrets.get(e, id, versionID)
	if err == nil {
		got.Text = e.w.fetched(got.Text, got.VersionID, sent)
	}
	told := e.w.told(got.Name)
	if lost := e.travelBack(ctx, slow); lost != nil {
		return secretcache.Fetched{}, lost
	}
	if e.w.told(got.Name) > told {
		e.w.count(changedInFlight)
	}
	return got, err
}

// Pending is asked for by Try only, which no invocation of the model uses.
func (p secretsPort) Pending(context.Context, string) (secretcache.Fetched, error) {
	return secretcache.Fetched{}, fmt.Errorf("%w: AWSPENDING", secretcache.ErrNotFound)
}

// reportsPort takes reports and looks at them for what must not be there.
type reportsPort struct{ e *environment }

func (p reportsPort) Put(ctx context.Context, r wire.Report) error {
	if err := p.e.travel(ctx, 80*time.Millisecond); err != nil {
		return err
	}
	if r.Environment == "" || r.Revision == 0 && r.Counts.CheckFailures == 0 {
		p.e.w.violate(contract, "a report says nothing: %+v", r)
	}
	p.e.w.scan(fmt.Sprintf("%+v", r))
	p.e.w.reported(r)
	return nil
}
