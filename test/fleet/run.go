package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// run plays a plan and returns what was violated and what happened. It is called inside a synctest bubble.
func run(p plan, clients newClient) (violations []string, counts map[happening]int) {
	w := newWorld(p, clients)
	for _, a := range p.Actions {
		w.act(a)
		time.Sleep(a.Then)
	}
	w.settle()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.violations) > 0 {
		return append(w.violations, w.story()), w.counts
	}
	return nil, w.counts
}

// story tells what really happened to the secrets and to the log. The caller holds mu.
func (w *world) story() string {
	var b strings.Builder
	for i := range w.plan.Names {
		fmt.Fprintf(&b, "\n%s", name(i))
		for m, is := range w.history.moments[name(i)] {
			fmt.Fprintf(&b, "\n  %v moment %d: %q", w.since(is.at), m, is.version)
		}
	}
	for _, row := range w.history.live {
		fmt.Fprintf(&b, "\n  %v revision %d:", w.since(row.Time), row.Revision)
		for _, c := range row.Changes[:min(len(row.Changes), 3)] {
			fmt.Fprintf(&b, " %s %s %s (at %v)", c.Name[len(c.Name)-5:], c.Kind, c.VersionID, w.since(c.At))
		}
	}
	return b.String()
}

func (w *world) act(a action) {
	which := name(a.Which % w.plan.Names)
	e := w.environment(a.Which)
	switch a.Op {
	case opRead:
		w.request(e, a)
	case opPut:
		w.secrets.put(which)
	case opBurst:
		w.burst(a)
	case opRotate:
		w.background.Go(func() { w.secrets.rotate(which, a.For) })
	case opThere:
		w.secrets.put(which)
		w.later(a.For/2, func() { w.secrets.rollback(which) })
	case opRollback:
		w.secrets.rollback(which)
	case opDelete:
		w.secrets.delete(which, a.N%2 == 0)
	case opRecreate:
		w.secrets.recreate(which)
	case opRestore:
		w.secrets.restore(which)
	case opFreeze:
		e.freeze()
	case opCut:
		if a.N%2 == 0 {
			w.cut(e, 300*time.Millisecond, which)
		} else {
			w.cut(e, 300*time.Millisecond) // it reads nothing, and the check that it started is still on its way
		}
	case opSleep:
		time.Sleep([]time.Duration{a.For, 61 * time.Second, 75 * time.Second, 4 * time.Minute}[a.N%4])
	case opForge:
		w.forge(e, which, a.N)
	case opBackup:
		w.save()
	case opRewind:
		w.rewind()
	case opJump:
		if e.clock.set(time.Duration(a.N-8) * 20 * time.Second) {
			w.count(clockSet)
		}
	case opBirth:
		w.birth()
		w.count(born)
	case opNewborn:
		w.birth()
		w.count(born)
		w.cut(w.bringForward(a.Which), 30*time.Millisecond, which)
	case opDeath:
		w.death(a.Which)
	case opWait:
		w.background.Go(func() { w.await(which, a.N%4 == 0) })
	case opHint:
		w.hint([]string{which}, 0)
	case opLag, opLogDown, opLogGap, opDown:
		w.breakSomething(a, e)
	}
}

// cut has an environment asked for secrets, and freezes it with that on its way.
func (w *world) cut(e *environment, deadline time.Duration, names ...string) {
	r := request{Names: names, Deadline: deadline}
	w.background.Go(func() { e.serve(r) })
	time.Sleep(10 * time.Millisecond)
	e.freeze()
}

// breakSomething injects a fault.
func (w *world) breakSomething(a action, e *environment) {
	switch {
	case a.Op == opLag:
		kinds := map[string]bool{"describe": a.N&1 > 0, "label": a.N&2 > 0 || a.N == 0, "version": w.plan.Faults && a.N >= 10}
		w.faults.lag(kinds, lateFor-time.Second, a.For)
	case !w.plan.Faults:
	case a.Op == opLogGap:
		w.faults.loseRow(e.id)
	case a.Op == opLogDown && a.N%2 == 0:
		w.faults.breakLog(-1, a.N%4 == 0, a.For)
	case a.Op == opLogDown:
		w.faults.breakLog(e.id, a.N%4 == 1, a.For)
	case a.Op == opDown:
		w.faults.breakSecrets(a.For)
	}
}

// request sends business events: one, or several at the same time where the environment allows it.
func (w *world) request(e *environment, a action) {
	r := request{Deadline: 30 * time.Second, Parallel: a.N&1 > 0, Pause: a.Then / 2}
	if a.N&6 == 0 {
		r.Deadline = 300 * time.Millisecond // the function times out while something is on its way
	}
	for i := range 1 + a.N%3 {
		r.Names = append(r.Names, name((a.Which+i)%w.plan.Names))
	}
	for range 1 + a.N/10 {
		w.background.Go(func() { e.serve(r) })
	}
}

// burst changes more secrets than a check applies one by one, each in a row of its own.
func (w *world) burst(a action) {
	w.count(manyAtOnce)
	first := name(a.Which % w.plan.Names)
	w.secrets.put(first)
	for i := range 110 {
		n := name(100 + i)
		w.secrets.putQuietly(n)
		// What is not confirmed now, since a describe lags, is looked at again when the run settles.
		_, _ = w.broadcasters[0].b.Confirm(context.Background(), []events.Signal{{Kind: events.Check, Name: n, Env: env, Domain: domain}})
	}
}

// forge pushes something that no broadcaster has sent: versions that were current once, revisions that never were.
func (w *world) forge(e *environment, which string, n int) {
	w.mu.Lock()
	moments := w.history.moments[which]
	row := wire.Row{
		Schema: wire.Schema, Env: env, Domain: domain, Revision: int64(n*n + 1), Time: time.Now(), Hash: fmt.Sprintf("%064x", n),
		Changes: []wire.Change{{Name: which, Kind: wire.Moved, VersionID: moments[n%len(moments)].version, At: time.Now().Add(time.Hour)}},
	}
	if n%3 == 0 && len(w.history.live) > 0 { // replayed: it was true once
		row = w.history.live[n%len(w.history.live)]
	}
	if n%5 == 0 {
		row.Revision, row.PreviousHash = int64(len(w.history.live))+1, w.history.live[len(w.history.live)-1].Hash
	}
	w.mu.Unlock()
	payload, err := json.Marshal(wire.Invalidation{Version: "0", ID: "forged", Source: wire.Source, DetailType: wire.DetailType, Detail: row})
	if err != nil {
		panic(err)
	}
	w.background.Go(func() {
		if e.idle() {
			w.count(pushForged)
			_, _ = e.push(payload)
		}
	})
}

// settle ends every fault, lets everything arrive, looks at every secret once more, as the reconciler does, and reads
// everything everywhere.
func (w *world) settle() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.faults.end()
	for range 2 { // twice: one answer of "not found" proves nothing
		w.hint(w.secrets.names(), 0)
		time.Sleep(70 * time.Second)
	}
	w.mu.Lock()
	all := append([]*environment(nil), w.environments...)
	w.mu.Unlock()
	for _, e := range all {
		e.thaw()
	}
	time.Sleep(4 * time.Minute)
	w.background.Wait()
	for _, e := range all {
		r := request{Deadline: 30 * time.Second, Final: true}
		for i := range w.plan.Names {
			r.Names = append(r.Names, name(i))
		}
		e.serve(r)
		if counts := e.client.counts(); w.plan.calm() && counts.Uncertain+counts.Outdated > e.cut {
			w.violate(exception, "environment %d counted exceptions without an injected fault: %+v", e.id, counts)
		}
	}
	w.checkChain(w.log.rows())
	w.checkFanouts()
	w.background.Wait()
	time.Sleep(time.Minute) // reports on their way
	w.mu.Lock()
	all = append([]*environment(nil), w.environments...)
	w.mu.Unlock()
	for _, e := range all {
		e.client.die()
	}
}

// checkFanouts: no fan-out is left open for longer than its pushes are tried, and each revision has its outcome.
func (w *world) checkFanouts() {
	for range 12 {
		if err := w.broadcasters[0].b.Deliver(context.Background()); err != nil {
			w.violate(contract, "delivering at the end: %v", err)
		}
		time.Sleep(6 * time.Minute) // whatever is pending is due again
	}
	open, err := w.store.Open(context.Background())
	if err != nil || len(open) > 0 {
		w.violate(complete, "%d fan-outs are left open (%v)", len(open), err)
	}
	w.mu.Lock()
	rows := w.history.live
	w.mu.Unlock()
	for _, row := range rows {
		if len(row.Changes) == 0 {
			continue
		}
		deliveries, err := w.store.Deliveries(context.Background(), row.Revision)
		deliveries = slices.DeleteFunc(deliveries, func(d invalidation.Delivery) bool { return d.Hash != row.Hash })
		if err != nil || len(deliveries) != 1 {
			w.violate(complete, "revision %d has %d deliveries to one subscription (%v)", row.Revision, len(deliveries), err)
			continue
		}
		w.checkDelivery(row, deliveries[0])
	}
}

// checkDelivery: acknowledged means that an environment has answered who had applied the row, or one that stands on it.
func (w *world) checkDelivery(row wire.Row, d invalidation.Delivery) {
	switch d.Outcome {
	case invalidation.Acknowledged:
		if d.Ack == nil || !w.hasAnswered(d.Ack.Hash, row.Hash) {
			w.violate(complete, "revision %d passes for acknowledged, nobody has: %+v", d.Revision, d.Ack)
		}
	case invalidation.Undelivered:
	default:
		w.violate(complete, "revision %d has no outcome: its delivery is %q", d.Revision, d.Outcome)
	}
}
