package invalidation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

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

// settleDebt brings one function's open deliveries as far as one push with its quick retries can.
func (b *Broadcaster) settleDebt(ctx context.Context, d *debt, payload []byte, head wire.Row) {
	if ctx.Err() != nil {
		return // the time is over: this was no attempt
	}
	result := Delivery{Outcome: d.outcome, Reason: d.reason}
	switch {
	case d.outcome == Pending && d.reason == "":
		result = b.push(ctx, d.function, payload, head)
	case d.outcome == Pending:
		result.Attempts = 1
	}
	for i := range d.deliveries {
		delivery := &d.deliveries[i]
		delivery.Outcome, delivery.Reason, delivery.Error, delivery.Ack = result.Outcome, result.Reason, result.Error, result.Ack
		delivery.Attempts += result.Attempts
		delivery.Time = b.cfg.Now().UTC()
		if delivery.Outcome == Pending && delivery.Attempts >= b.cfg.MaxAttempts {
			delivery.Outcome = Undelivered
		}
		if delivery.Outcome == Undelivered {
			b.cfg.Logger.Error("a push failed", "subscription", delivery.Subscription, "function", delivery.Function,
				"revision", delivery.Revision, "attempts", delivery.Attempts, "reason", delivery.Reason, "error", delivery.Error)
		}
	}
}

// push invokes one function, with quick retries. The result is Acknowledged, Undelivered, or Pending if it is worth
// trying again later.
func (b *Broadcaster) push(ctx context.Context, function string, payload []byte, head wire.Row) Delivery {
	var result Delivery
	for attempt := 1; ; attempt++ {
		result = b.pushOnce(ctx, function, payload, head)
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
	result := Delivery{Outcome: Pending, Reason: reasonOf(err), Error: err.Error()}
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

// judgeAck says what an answer proves: an ack counts only if the row it stands on is the log's.
func (b *Broadcaster) judgeAck(ctx context.Context, answer []byte, head wire.Row) Delivery {
	var ack wire.Ack
	if err := json.Unmarshal(answer, &ack); err != nil || ack.Schema < 1 || ack.Environment == "" {
		return Delivery{Outcome: Undelivered, Reason: NoAck, Error: "the function answered with no ack: its handler is not wrapped"}
	}
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
			return Delivery{Outcome: Pending, Reason: Unreachable, Error: err.Error(), Ack: &ack}
		}
	}
	if stands.Hash != ack.Hash {
		return Delivery{Outcome: Pending, Reason: OtherLog, Error: "the ack's hash is not the log's", Ack: &ack}
	}
	return Delivery{Outcome: Acknowledged, Ack: &ack}
}
