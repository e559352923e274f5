package invalidation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// Outcome says how a delivery stands.
type Outcome string

// The outcomes of a Delivery.
const (
	Pending      Outcome = "pending"      // tried, to be tried again
	Acknowledged Outcome = "acknowledged" // answered with this revision or a later one, and no failure
	Undelivered  Outcome = "failed"       // given up, or answered with a failure
	Skipped      Outcome = "skipped"      // the subscription has no push: its clients read the log
)

// Delivery is one invalidation to one subscription.
type Delivery struct {
	Revision int64 `json:"revision"`
	// Hash is the revision's: a delivery of a row that a restore took away says nothing of the one in its place.
	Hash         string    `json:"hash"`
	Subscription string    `json:"subscription"` // the service's name
	Function     string    `json:"function"`
	Outcome      Outcome   `json:"outcome"`
	Attempts     int       `json:"attempts"`
	Error        string    `json:"error,omitempty"` // why it is not acknowledged; never a payload
	Ack          *wire.Ack `json:"ack,omitempty"`   // the last one
	Time         time.Time `json:"time"`
}

func (d Delivery) final() bool { return d.Outcome != Pending }

// Fanout is a revision that is not yet delivered to everybody.
type Fanout struct {
	Position
	Names []string `json:"names"`
}

// Fanouts keeps what is still to be delivered and what became of it.
type Fanouts interface {
	// Open returns the open fan-outs, oldest first.
	Open(ctx context.Context) ([]Fanout, error)
	// Deliveries returns those of a revision.
	Deliveries(ctx context.Context, revision int64) ([]Delivery, error)
	// Record writes deliveries in the place of those before.
	Record(ctx context.Context, deliveries []Delivery) error
	// Close ends a fan-out if it is still the one with this hash.
	Close(ctx context.Context, f Fanout) error
}

// Pusher invokes functions.
type Pusher interface {
	// Push invokes the function with the payload and returns its answer. An error that wraps ErrPermanent will not go
	// away by itself.
	Push(ctx context.Context, function string, payload []byte) (answer []byte, err error)
}

// ErrPermanent marks a push that is not worth trying again: the function is missing, or may not be invoked.
var ErrPermanent = errors.New("not worth trying again")

// Deliver pushes the head of the log to every subscription that an open fan-out still owes something, and closes the
// fan-outs that owe nothing any more. One push tells all: the client reads the log. What it cannot do stays open, and the
// next call resumes it, in this process or another.
func (b *Broadcaster) Deliver(ctx context.Context) error {
	open, err := b.cfg.Fanouts.Open(ctx)
	if err != nil {
		return fmt.Errorf("reading the open fan-outs: %w", err)
	}
	if len(open) == 0 {
		return nil
	}
	head, err := b.cfg.Log.Row(ctx, 0)
	if err != nil {
		return fmt.Errorf("reading the head: %w", err)
	}
	owed, err := b.owed(ctx, open)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(b.invalidation(head))
	if err != nil {
		return fmt.Errorf("encoding the invalidation of revision %d: %w", head.Revision, err)
	}
	if err := b.pushAll(ctx, owed, payload, head); err != nil {
		return err // what is not recorded is not closed either, or nobody would see it
	}
	var problem error
	for _, f := range open {
		if !owed.unfinished(f.Revision) {
			problem = errors.Join(problem, b.cfg.Fanouts.Close(ctx, f))
		}
	}
	return problem
}

// A debt is one subscription and the open deliveries that one push of the head settles.
type debt struct {
	subscription subscribers.Subscription
	deliveries   []Delivery
}

type debts []*debt

// unfinished reports whether a revision still owes a subscription something.
func (ds debts) unfinished(revision int64) bool {
	for _, d := range ds {
		for _, delivery := range d.deliveries {
			if delivery.Revision == revision && !delivery.final() {
				return true
			}
		}
	}
	return false
}

// owed returns what the open fan-outs owe, by subscription. The audience is the subscriptions as they stand now.
func (b *Broadcaster) owed(ctx context.Context, open []Fanout) (debts, error) {
	var (
		all    debts
		byName = map[string]*debt{}
	)
	for _, f := range open {
		before, err := b.cfg.Fanouts.Deliveries(ctx, f.Revision)
		if err != nil {
			return nil, fmt.Errorf("reading the deliveries of revision %d: %w", f.Revision, err)
		}
		done := map[string]Delivery{}
		for _, d := range before {
			if d.Hash == f.Hash {
				done[d.Subscription] = d
			}
		}
		for _, s := range b.cfg.Subscriptions.Match(f.Names) {
			delivery := done[s.Service]
			if delivery.Outcome != "" && delivery.final() {
				continue
			}
			delivery.Revision, delivery.Hash, delivery.Outcome = f.Revision, f.Hash, Pending
			delivery.Subscription, delivery.Function = s.Service, s.Function
			d := byName[s.Service]
			if d == nil {
				d = &debt{subscription: s}
				byName[s.Service] = d
				all = append(all, d)
			}
			d.deliveries = append(d.deliveries, delivery)
		}
	}
	return all, nil
}

func (b *Broadcaster) invalidation(head wire.Row) wire.Invalidation {
	return wire.Invalidation{
		Version: "0", ID: head.Hash, Source: wire.Source, DetailType: wire.DetailType,
		Account: b.cfg.Account, Region: b.cfg.Region, Time: head.Time, Resources: []string{}, Detail: head,
	}
}

const (
	// recordEvery is how many pushes' results are written at once.
	recordEvery = 25
	// maxRecords caps how many such writes are under way at once: enough that they take no longer than the pushes.
	maxRecords = 4
)

// pushAll pushes to every subscription, at most MaxPushes at once, and records the results as they come.
func (b *Broadcaster) pushAll(ctx context.Context, owed debts, payload []byte, head wire.Row) error {
	var (
		work    = make(chan *debt)
		results = make(chan []Delivery, len(owed))
		wg      sync.WaitGroup
	)
	for range min(b.cfg.MaxPushes, len(owed)) {
		wg.Go(func() {
			for d := range work {
				b.settleDebt(ctx, d, payload, head)
				results <- d.deliveries
			}
		})
	}
	go func() {
		for _, d := range owed {
			work <- d
		}
		close(work)
		wg.Wait()
		close(results)
	}()
	return b.recordAll(ctx, results)
}

// recordAll records deliveries until there are no more, and returns when all of them have been tried.
func (b *Broadcaster) recordAll(ctx context.Context, results <-chan []Delivery) error {
	var (
		batch   []Delivery
		slots   = make(chan struct{}, maxRecords)
		wg      sync.WaitGroup
		mu      sync.Mutex // guards problem
		problem error
	)
	record := func(batch []Delivery) {
		slots <- struct{}{}
		wg.Go(func() {
			err := b.cfg.Fanouts.Record(ctx, batch)
			mu.Lock()
			problem = errors.Join(problem, err)
			mu.Unlock()
			<-slots
		})
	}
	for deliveries := range results {
		batch = append(batch, deliveries...)
		if len(batch) >= recordEvery {
			record(batch)
			batch = nil
		}
	}
	if len(batch) > 0 {
		record(batch)
	}
	wg.Wait()
	return problem
}

// settleDebt brings one subscription's open deliveries as far as one push with its quick retries can.
func (b *Broadcaster) settleDebt(ctx context.Context, d *debt, payload []byte, head wire.Row) {
	result := Delivery{Outcome: Skipped}
	if d.subscription.Push {
		result = b.push(ctx, d.subscription.Function, payload, head)
	}
	for i := range d.deliveries {
		delivery := &d.deliveries[i]
		delivery.Outcome, delivery.Error, delivery.Ack = result.Outcome, result.Error, result.Ack
		delivery.Attempts += result.Attempts
		delivery.Time = b.cfg.Now().UTC()
		if delivery.Outcome == Pending && delivery.Attempts >= b.cfg.MaxAttempts {
			delivery.Outcome = Undelivered
		}
		if delivery.Outcome == Undelivered {
			b.cfg.Logger.Error("a push failed", "subscription", delivery.Subscription, "function", delivery.Function,
				"revision", delivery.Revision, "attempts", delivery.Attempts, "error", delivery.Error)
		}
	}
}

// push invokes one function, with quick retries. The result is Acknowledged, Undelivered, or Pending if it is worth
// trying again later.
func (b *Broadcaster) push(ctx context.Context, function string, payload []byte, head wire.Row) Delivery {
	result := Delivery{Outcome: Pending}
	for {
		result.Attempts++
		pushCtx, cancel := context.WithTimeout(ctx, b.cfg.PushTimeout)
		answer, err := b.cfg.Pusher.Push(pushCtx, function, payload)
		cancel()
		switch {
		case errors.Is(err, ErrPermanent):
			result.Outcome, result.Error = Undelivered, err.Error()
			return result
		case err != nil:
			result.Error = err.Error()
		default:
			result.Outcome, result.Error, result.Ack = b.judgeAck(ctx, answer, head)
			if result.Outcome != Pending {
				return result
			}
		}
		if result.Attempts > len(b.cfg.Retries) || !pause(ctx, b.cfg.Retries[result.Attempts-1]) {
			return result
		}
	}
}

// judgeAck says what an answer proves: an ack counts only if the row it stands on is the log's.
func (b *Broadcaster) judgeAck(ctx context.Context, answer []byte, head wire.Row) (Outcome, string, *wire.Ack) {
	var ack wire.Ack
	if err := json.Unmarshal(answer, &ack); err != nil || ack.Schema < 1 || ack.Environment == "" {
		return Undelivered, "the function answered with no ack: its handler is not wrapped", nil
	}
	for _, s := range ack.Secrets {
		if s.Outcome == wire.Failed {
			return Undelivered, fmt.Sprintf("the environment could not apply %s: %s", s.Name, s.Reason), &ack
		}
	}
	switch {
	case ack.Problem != "":
		return Pending, ack.Problem, &ack
	case ack.Revision < head.Revision:
		return Pending, fmt.Sprintf("the environment is at revision %d", ack.Revision), &ack
	}
	stands := head
	if ack.Revision > head.Revision { // somebody appended meanwhile
		var err error
		if stands, err = b.cfg.Log.Row(ctx, ack.Revision); err != nil {
			return Pending, err.Error(), &ack
		}
	}
	if stands.Hash != ack.Hash {
		return Pending, "the ack's hash is not the log's", &ack
	}
	return Acknowledged, "", &ack
}
