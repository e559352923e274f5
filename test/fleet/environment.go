package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// An environment is one execution environment.
type environment struct {
	w      *world
	id     int
	client client
	clock  *clock

	mu      sync.Mutex
	random  *rand.Rand
	active  int  // invocations
	resting bool // frozen as soon as it has no invocation
	freezes int
	thawed  chan struct{} // closed while not frozen
	dead    bool
	stale   int64 // reads that only an exception excuses
	cut     int64 // reads that were answered although their deadline had passed

	stood string    // the row that it was last seen to have applied
	leapt time.Time // when it was last seen to have begun at the head

	underway atomic.Int64 // requests and answers
}

// ttl is every cached value's time to live.
const ttl = secretcache.DefaultTTL

func newEnvironment(w *world, id int) *environment {
	e := &environment{
		w: w, id: id, random: rand.New(rand.NewPCG(w.plan.Seed, uint64(1000+id))),
		thawed: make(chan struct{}),
	}
	close(e.thawed)
	e.clock = &clock{started: time.Now(), standsStill: e.random.IntN(3) == 0}
	e.clock.jumps = !e.clock.standsStill && e.random.IntN(2) == 0
	e.client = w.newClient(e, handler{e})
	return e
}

// idOf returns what a secret is asked for by: its name, or its ARN in some environments.
func (e *environment) idOf(name string) string {
	if e.id%3 == 2 {
		return "arn:aws:secretsmanager:eu-west-2:111122223333:secret:" + name // without its suffix
	}
	return name
}

// readsTheirs reports whether another account's secret of the same name is read too, now and then.
func (e *environment) readsTheirs() bool { return e.id%2 == 1 && e.roll(4) == 0 }

// roll returns a number below n.
func (e *environment) roll(n int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.random.IntN(n)
}

// upTo returns a duration below d.
func (e *environment) upTo(d time.Duration) time.Duration {
	return time.Duration(e.roll(int(d/time.Microsecond))) * time.Microsecond
}

// freeze stops an environment as soon as it has no invocation: nothing leaves it and nothing arrives any more.
func (e *environment) freeze() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.resting = true
	e.freezeIdle()
}

// freezeIdle freezes an environment that is to rest and has nothing to do. The caller holds mu.
func (e *environment) freezeIdle() {
	if !e.resting || e.active > 0 || e.dead || e.isFrozen() || !e.w.unsettled() {
		return
	}
	e.resting = false
	e.thawed = make(chan struct{})
	e.clock.freeze()
	e.freezes++
	e.w.count(frozen)
	if e.underway.Load() > 0 {
		e.w.count(frozenInFlight)
	}
	if e.clock.standsStill {
		e.w.count(clockStood)
	}
}

func (e *environment) freezesSoFar() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.freezes
}

// isFrozen reports whether the environment is frozen. The caller holds mu.
func (e *environment) isFrozen() bool {
	select {
	case <-e.thawed:
		return false
	default:
		return true
	}
}

func (e *environment) thaw() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isFrozen() {
		e.clock.thaw()
		close(e.thawed)
	}
}

// pass holds up whoever runs in a frozen environment. Who goes on first after a thaw is open.
func (e *environment) pass() {
	for {
		e.mu.Lock()
		thawed, frozen := e.thawed, e.isFrozen()
		e.mu.Unlock()
		if !frozen {
			return
		}
		<-thawed
		time.Sleep(e.upTo(100 * time.Millisecond))
	}
}

// begin takes an invocation: Lambda thaws the environment for it. It returns false if the environment is gone.
func (e *environment) begin() bool {
	e.mu.Lock()
	gone := e.dead
	if !gone {
		if e.active++; e.active > 1 {
			e.w.count(concurrent)
		}
	}
	e.mu.Unlock()
	if !gone {
		e.thaw()
	}
	return !gone
}

func (e *environment) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.active--
	e.resting = e.resting || e.random.IntN(3) == 0 // Lambda freezes at once, whatever is on its way
	e.freezeIdle()
}

func (e *environment) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.active == 0 && !e.dead
}

// push hands an invalidation to the environment, as an Invoke does.
func (e *environment) push(payload []byte) ([]byte, error) {
	if !e.begin() {
		return nil, errors.New("the environment is gone")
	}
	defer e.end()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return e.client.invoke(ctx, payload)
}

// A request is a business event: which secrets its handler reads, some of them at the same time.
type request struct {
	Names    []string
	Parallel bool
	Deadline time.Duration
	Pause    time.Duration
	Final    bool // the run is over and nothing is wrong any more: the truth is wanted
}

// serve runs one business invocation.
func (e *environment) serve(r request) {
	payload, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	if !e.begin() {
		return
	}
	defer e.end()
	ctx, cancel := context.WithTimeout(context.Background(), r.Deadline)
	defer cancel()
	if _, err := e.client.invoke(ctx, payload); err != nil {
		e.w.violate(contract, "a business event did not reach the handler: %v", err)
	}
}

// handler is the function's own code.
type handler struct{ e *environment }

func (h handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	if _, ours, _ := wire.ParseInvalidation(payload); ours {
		h.e.w.violate(contract, "an invalidation reached the function's own code")
		return nil, nil
	}
	var r request
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("decoding the request: %w", err)
	}
	in := h.e.w.invoked()
	defer h.e.w.ended(in)
	var wg sync.WaitGroup
	for _, name := range r.Names {
		wg.Go(func() { h.e.read(ctx, in, name, r.Final) })
		if !r.Parallel {
			wg.Wait()
			time.Sleep(r.Pause)
		}
	}
	wg.Wait()
	return []byte(`{}`), nil
}

// read reads one secret in an invocation and holds the answer against what really happened.
func (e *environment) read(ctx context.Context, in *invocation, name string, final bool) {
	if e.readsTheirs() {
		e.client.get(ctx, theirs+name, func(r reading) { e.w.judgeTheirs(e, name, r) })
	}
	before := e.observe(name)
	e.client.get(ctx, e.idOf(name), func(r reading) {
		if r.err != nil {
			e.w.scan(r.err.Error())
		}
		after := e.observe(name)
		e.w.judge(e, name, before, after, r, final)
		e.w.used(in, name, r, after.exceptions > before.exceptions)
	})
}

// An observation is what is known of an environment from outside before it answers, or after.
type observation struct {
	at         time.Time
	applied    int // how far the environment has applied the secret's changes
	exceptions int64
}

func (e *environment) observe(name string) observation {
	hash, counts := e.client.appliedHash(), e.client.counts()
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.w.history.leaps(e.stood, hash) {
		e.leapt = time.Now()
	}
	e.stood = hash
	return observation{time.Now(), e.w.history.appliedBy(hash, name), counts.Uncertain + counts.Outdated}
}

// A clock is an environment's two clocks. One of them may stand still while the environment is frozen, or be set; never
// both, since then nobody could tell the time.
type clock struct {
	standsStill, jumps bool

	mu       sync.Mutex
	started  time.Time
	frozenAt time.Time
	frozen   time.Duration // in all
	offset   time.Duration // of the wall clock
}

// Now implements secretcache.Clock.
func (c *clock) Now() (time.Duration, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	monotonic := now.Sub(c.started)
	if c.standsStill {
		monotonic -= c.frozen
		if !c.frozenAt.IsZero() {
			monotonic -= now.Sub(c.frozenAt)
		}
	}
	return monotonic, now.Add(c.offset).Round(0)
}

func (c *clock) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozenAt = time.Now()
}

func (c *clock) thaw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen += time.Since(c.frozenAt)
	c.frozenAt = time.Time{}
}

func (c *clock) set(by time.Duration) (jumped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jumps {
		c.offset += by
	}
	return c.jumps
}
