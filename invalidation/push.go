package invalidation

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
	// recordEvery is how many pushes' results are written at once.
	recordEvery = 25
	// maxRecords caps how many such writes are under way at once: enough that they take no longer than the pushes.
	maxRecords = 4
)

// pushAll pushes to every subscription, at most MaxPushes at once, and records the results as they come.
func (b *Broadcaster) pushAll(ctx context.Context, owed debts, f fanOut) error {
	var (
		work    = make(chan *debt)
		results = make(chan []Delivery, len(owed))
		wg      sync.WaitGroup
	)
	for range min(b.cfg.MaxPushes, len(owed)) {
		wg.Go(func() {
			for d := range work {
				results <- b.settleDebt(ctx, d, f)
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

// settleDebt brings one function's open deliveries as far as one push with its quick retries can, and returns what is to be
// recorded.
func (b *Broadcaster) settleDebt(ctx context.Context, d *debt, f fanOut) []Delivery {
	if ctx.Err() != nil || len(d.deliveries) == 0 {
		return d.deliveries // the time is over, or nothing is due: this was no attempt
	}
	result := Delivery{Outcome: d.outcome, Reason: d.reason}
	switch {
	case d.outcome == Pending && d.reason == "":
		switch held, err := f.hold.on(ctx, pauseFor); {
		case err != nil:
			return d.deliveries // as if the time were over
		case held:
			news := d.heldBack(b.cfg.Now().UTC())
			for _, delivery := range news {
				b.tell(delivery)
			}
			return news
		}
		result = b.push(ctx, d, f.payload, f.head)
	case d.outcome == Pending:
		result.Attempts = 1
	}
	now := b.cfg.Now().UTC()
	for i := range d.deliveries {
		d.deliveries[i] = d.deliveries[i].after(result, now, b.cfg)
		b.tell(d.deliveries[i])
	}
	if result.Outcome == Acknowledged {
		for _, delivery := range d.waiting {
			delivery = delivery.after(result, now, b.cfg)
			d.deliveries = append(d.deliveries, delivery)
			b.tell(delivery)
		}
		d.waiting = nil
	}
	return d.deliveries
}

// after returns a delivery as it stands after a push and its quick retries.
func (d Delivery) after(result Delivery, now time.Time, cfg Config) Delivery {
	d.Outcome, d.Reason, d.Error, d.Ack = result.Outcome, result.Reason, result.Error, result.Ack
	d.Attempts += result.Attempts
	d.Time, d.NotBefore = now, time.Time{}
	switch {
	case d.Outcome != Pending:
	case d.Attempts >= cfg.MaxAttempts:
		d.Outcome = Undelivered
	default:
		wait := dueSoonest
		for tried := len(cfg.Retries) + 1; tried < d.Attempts && wait < dueLatest; tried += len(cfg.Retries) + 1 {
			wait *= 2
		}
		d.NotBefore = now.Add(min(wait, dueLatest))
	}
	return d
}

// tell logs how a delivery stands, with the events that it goes back to: what somebody should hear of as a warning or an
// error. The log alone serves a function that is not pushed to, but its team meant a push.
func (b *Broadcaster) tell(d Delivery) {
	line := []any{"eventIds", d.EventIDs, "revision", d.Revision, "hash", d.Hash, "subscription", d.Subscription, "function", d.Function, "attempts", d.Attempts}
	if d.Outcome != Acknowledged {
		line = append(line, "reason", d.Reason)
	}
	if d.Ack != nil { // where the function's own log lines are
		line = append(line, "environment", d.Ack.Environment, "logStream", d.Ack.LogStream)
	}
	switch {
	case d.Outcome == Acknowledged:
		b.cfg.Logger.Info("a push was acknowledged", line...)
	case d.Outcome == Pending:
		b.cfg.Logger.Info("a push is pending", append(line, "error", d.Error)...)
	case d.Outcome == Undelivered:
		b.cfg.Logger.Error("a push failed", append(line, "error", d.Error)...)
	case d.Reason != Pull:
		b.cfg.Logger.Warn("a function is not pushed to", line...)
	}
}

// push invokes one function, with quick retries. The result is Acknowledged, Undelivered, Skipped, or Pending if it is
// worth trying again later. Whether the function takes invalidations is asked again before each attempt: a fan-out may take
// long enough for a deployment.
func (b *Broadcaster) push(ctx context.Context, d *debt, payload []byte, head wire.Row) Delivery {
	var result Delivery
	for attempt := 1; ; attempt++ {
		t, err := b.cfg.Audience.judge(ctx, d.function, d.subscription.Service)
		switch {
		case err != nil:
			result = Delivery{Outcome: Pending, Reason: Unreachable, Error: cut(err.Error())}
		case t.outcome != Pending:
			return Delivery{Outcome: t.outcome, Reason: t.reason, Attempts: attempt - 1}
		default:
			result = b.pushOnce(ctx, d.function, payload, head)
		}
		result.Attempts = attempt
		if result.final() || attempt > len(b.cfg.Retries) || !pause(ctx, b.cfg.Retries[attempt-1]) {
			return result
		}
	}
}

func (b *Broadcaster) pushOnce(ctx context.Context, function string, payload []byte, head wire.Row) Delivery {
	within, cancel := context.WithTimeout(ctx, b.cfg.PushTimeout)
	defer cancel()
	answer, err := b.cfg.Pusher.Push(within, function, payload)
	if err == nil {
		return b.judgeAck(ctx, answer, head)
	}
	result := Delivery{Outcome: Pending, Reason: reasonOf(err), Error: cut(err.Error())}
	if errors.Is(err, ErrPermanent) {
		result.Outcome = Undelivered
	}
	return result
}

// reasonOf classes the error of a push.
func reasonOf(err error) Reason {
	for _, class := range []struct {
		err    error
		reason Reason
	}{
		{ErrNoFunction, NoFunction},
		{ErrNotPermitted, NotPermitted},
		{ErrFunction, FunctionFail},
		{ErrThrottled, Throttled},
		{ErrPermanent, Invalid},
		{context.DeadlineExceeded, TimedOut},
	} {
		if errors.Is(err, class.err) {
			return class.reason
		}
	}
	return Unreachable
}

// maxAnswer is more than any ack has: one for each change of a row.
const maxAnswer = 64 << 10

// judgeAck says what an answer proves: an ack counts only if the row it stands on is the log's. What a function says in
// words of its own is neither logged nor kept: it may quote anything.
func (b *Broadcaster) judgeAck(ctx context.Context, answer []byte, head wire.Row) Delivery {
	var ack wire.Ack
	if len(answer) > maxAnswer {
		return Delivery{Outcome: Undelivered, Reason: NoAck, Error: "the function's answer is too large for an ack"}
	}
	if err := json.Unmarshal(answer, &ack); err != nil || ack.Schema < 1 || ack.Environment == "" {
		return Delivery{Outcome: Undelivered, Reason: NoAck, Error: "the function answered with no ack: its handler is not wrapped"}
	}
	ack = ack.Plain(head)
	for _, s := range ack.Secrets {
		if s.Outcome == wire.Failed {
			return Delivery{Outcome: Undelivered, Reason: NotApplied, Error: fmt.Sprintf("the environment could not apply %s: %s", s.Name, s.Reason), Ack: &ack}
		}
	}
	switch {
	case ack.Problem != "":
		return Delivery{Outcome: Pending, Reason: LogUnread, Error: ack.Problem, Ack: &ack}
	case ack.Revision < head.Revision:
		return Delivery{Outcome: Pending, Reason: Behind, Error: fmt.Sprintf("the environment is at revision %d", ack.Revision), Ack: &ack}
	}
	stands := head
	if ack.Revision > head.Revision { // somebody appended meanwhile
		var err error
		if stands, err = b.cfg.Log.Row(ctx, ack.Revision); err != nil {
			return Delivery{Outcome: Pending, Reason: Unreachable, Error: cut(err.Error()), Ack: &ack}
		}
	}
	if stands.Hash != ack.Hash {
		return Delivery{Outcome: Pending, Reason: OtherLog, Error: "the ack's hash is not the log's", Ack: &ack}
	}
	return Delivery{Outcome: Acknowledged, Ack: &ack}
}
