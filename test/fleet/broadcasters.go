package fleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A broadcaster is the real one with its own, perhaps stale, view of Secrets Manager. Several share one store.
type broadcaster struct {
	w  *world
	id int
	b  *invalidation.Broadcaster

	mu     sync.Mutex
	random *rand.Rand
}

func newBroadcaster(w *world, id int) *broadcaster {
	b := &broadcaster{w: w, id: id, random: rand.New(rand.NewPCG(w.plan.Seed, uint64(10+id)))}
	subs, err := subscribers.New(subscribers.Manifest{
		APIVersion: subscribers.APIVersion, Env: env, Domain: domain,
		Owner: "payments-oncall@bank.example", Services: []subscribers.Service{{Name: "api", Function: "api", Secrets: []string{"**"}}},
	}, env, domain)
	if err != nil {
		panic(err)
	}
	b.b, err = invalidation.New(invalidation.Config{
		Account: "111122223333", Region: "eu-west-2", Env: env, Domain: domain,
		Secrets: describePort{b}, Log: appendPort{w.store, w}, Fanouts: w.store, Pusher: pushPort{b}, Logger: w.logger,
		Subscribed: invalidation.NewSubscribed(env, domain, w.store, invalidation.Packaged{Subscriptions: subs}),
		Audience:   invalidation.NewAudience(env, domain, willing{}, willing{}, nil), Lister: listPort{b}, Sweeps: w.store, Control: w.store,
	})
	if err != nil {
		panic(err)
	}
	return b
}

// willing is a function that takes invalidations, whoever of its environments has reported.
type willing struct{}

const willingARN = "arn:aws:lambda:eu-west-2:111122223333:function:api"

func (willing) Look(context.Context, string) (invalidation.FunctionState, error) {
	return invalidation.FunctionState{
		ARN: willingARN, Versions: []invalidation.FunctionVersion{{Version: "1"}},
		Tags: map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: env, invalidation.DomainTag: domain},
	}, nil
}

func (willing) Of(context.Context, string) ([]wire.Report, error) {
	return []wire.Report{{TakesInvalidations: true, Function: willingARN, Version: "1", Started: time.Unix(1, 0)}}, nil
}

func (willing) All(context.Context) ([]wire.Report, error) { return nil, nil }

func (b *broadcaster) roll(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.random.IntN(n)
}

// A notice is an event on its way and what really happened.
type notice struct {
	signal events.Signal
	moment int // the secret's moment it tells of; -1 for a hint
	epoch  int // how often the tables had been restored when it was sent

	// Of the try under way:
	seen    int // which moment was current when it began
	began   time.Time
	triedIn int // epoch
}

// handle receives events as the queue delivers them: what is not handled comes back, to any broadcaster, for three minutes.
func (w *world) handle(batch []notice, by int) {
	for began := time.Now(); len(batch) > 0 && time.Since(began) < 3*time.Minute; by++ {
		batch = w.broadcasters[by%len(w.broadcasters)].try(batch)
		time.Sleep(5 * time.Second)
	}
}

// try handles a batch and returns what has to come back. The process may be killed once it has appended, or while it
// delivers: then everything comes back, and what is not delivered is the next one's.
func (b *broadcaster) try(batch []notice) (again []notice) {
	w := b.w
	signals := make([]events.Signal, len(batch))
	for i := range batch {
		batch[i].seen, batch[i].began, batch[i].triedIn = w.look(batch[i].signal.Name)
		signals[i] = batch[i].signal
	}
	handled, _ := b.b.Confirm(context.Background(), signals)
	for i, how := range handled {
		if how != invalidation.Failed {
			w.handled(batch[i], how)
		}
	}
	ctx, cancel := context.Background(), func() {}
	if w.unsettled() {
		switch b.roll(10) {
		case 0:
			w.count(crashedBeforeDelivery)
			return batch
		case 1:
			ctx, cancel = context.WithTimeout(ctx, time.Duration(b.roll(600))*time.Millisecond)
		}
	}
	defer cancel()
	if err := b.b.Deliver(ctx); ctx.Err() != nil {
		w.count(crashedInDelivery)
		return batch
	} else if err != nil {
		w.violate(contract, "delivering: %v", err)
	}
	for i, how := range handled {
		if how == invalidation.Failed {
			again = append(again, batch[i])
		}
	}
	return again
}

// describePort is a broadcaster's way to DescribeSecret.
type describePort struct{ b *broadcaster }

func (p describePort) Describe(_ context.Context, name string) (invalidation.Description, error) {
	time.Sleep(time.Duration(p.b.roll(40)) * time.Millisecond)
	lag := time.Duration(0)
	if most := p.b.w.faults.lagOf("describe"); most > 0 && (p.b.id == 0 || p.b.roll(2) == 0) {
		lag = time.Duration(p.b.roll(int(most/time.Millisecond))) * time.Millisecond
		p.b.w.count(describedLate)
	}
	d, err := p.b.w.secrets.describe(name, lag)
	time.Sleep(time.Duration(p.b.roll(40)) * time.Millisecond)
	return d, err
}

// appendPort tells the history what was really committed, in the order in which it was.
type appendPort struct {
	invalidation.Log
	w *world
}

func (p appendPort) Append(ctx context.Context, a invalidation.Append) (wire.Row, error) {
	p.w.committing.Lock()
	defer p.w.committing.Unlock()
	row, err := p.Log.Append(ctx, a)
	if errors.Is(err, invalidation.ErrConflict) {
		p.w.count(appendsMet)
	}
	if err == nil {
		p.w.appended(row)
	} else if !errors.Is(err, invalidation.ErrConflict) && ctx.Err() == nil {
		p.w.violate(contract, "appending: %v", err)
	}
	return row, err
}

// pushPort loses, doubles and delays pushes, and hands the others to one environment of many.
type pushPort struct{ b *broadcaster }

func (p pushPort) Push(_ context.Context, _ string, payload []byte) ([]byte, error) {
	w := p.b.w
	w.scan(string(payload))
	switch p.b.roll(10) {
	case 0, 1, 2:
		w.count(pushLost)
		return nil, errInjected
	case 3: // it arrives, but much later, and nobody hears the answer
		w.count(pushLate)
		w.later(time.Duration(p.b.roll(90_000))*time.Millisecond, func() { _, _ = w.pushOne(p.b.roll(64), payload) })
		return nil, errInjected
	case 4:
		w.count(pushDoubled)
		if _, err := w.pushOne(p.b.roll(64), payload); err != nil {
			return nil, err
		}
	}
	return w.pushOne(p.b.roll(64), payload)
}
