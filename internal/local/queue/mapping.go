package queue

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Run hands messages to the function until ctx ends, and returns when the batches under way have ended too. It does what
// an event source mapping with ReportBatchItemFailures does, but for scaling: at most Config.Concurrency batches at once
// (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).
//
// A batch holds what is visible, up to BatchSize messages and 6 MB; it is handed over when it is full or its oldest
// message has waited for Window. Its messages count as received, and are hidden, from then on.
func (q *Queue) Run(ctx context.Context) {
	var batches sync.WaitGroup
	defer batches.Wait()
	for ctx.Err() == nil {
		q.mu.Lock()
		batch, wait := q.next(time.Now())
		changed := q.changed
		q.mu.Unlock()
		if len(batch) > 0 {
			batches.Go(func() { q.hand(ctx, batch) })
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// never is a wait that a change ends.
const never = time.Hour

// next returns a batch to hand over, or how long there will be none unless something changes. It requires q.mu.
func (q *Queue) next(now time.Time) ([]*delivery, time.Duration) {
	q.bury(now)
	if q.handed >= q.config.Concurrency {
		return nil, never
	}
	slices.SortFunc(q.messages, func(a, b *message) int {
		return cmp.Or(a.visible.Compare(b.visible), cmp.Compare(a.order, b.order))
	})
	visible := 0
	for visible < len(q.messages) && !q.messages[visible].visible.After(now) {
		visible++
	}
	wait := never
	if visible < len(q.messages) {
		wait = q.messages[visible].visible.Sub(now)
	}
	if visible == 0 {
		return nil, wait
	}
	if open := q.messages[0].visible.Add(q.config.Window).Sub(now); open > 0 && visible < q.config.BatchSize {
		return nil, min(wait, open)
	}
	batch := q.receive(q.messages[:min(visible, q.config.BatchSize)], now)
	q.handed++
	q.change()
	return batch, 0
}

// bury gives up the messages that come back for the last time. It requires q.mu.
func (q *Queue) bury(now time.Time) {
	before := len(q.messages)
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool {
		if m.receives < q.config.MaxReceives || m.visible.After(now) {
			return false
		}
		q.dead = append(q.dead, Message{ID: m.id, Body: m.body, Receives: m.receives})
		return true
	})
	if len(q.messages) != before {
		q.change()
	}
}

// receive hides the messages and returns them as they are now. It requires q.mu.
func (q *Queue) receive(messages []*message, now time.Time) []*delivery {
	var batch []*delivery
	size := 0
	for _, m := range messages {
		size += len(m.body) + recordOverhead
		if size > payloadLimit && len(batch) > 0 {
			break
		}
		if m.receives++; m.receives == 1 {
			m.firstReceive = q.config.Now()
		}
		m.receipt = newReceipt()
		m.visible = now.Add(q.config.VisibilityTimeout)
		batch = append(batch, &delivery{message: *m})
	}
	return batch
}

// delivery is a message as it was when it was handed over.
type delivery struct{ message }

// hand hands a batch over and deletes what the function has handled.
func (q *Queue) hand(ctx context.Context, batch []*delivery) {
	answer, functionError, err := q.config.Invoke(ctx, q.event(batch))
	handled := map[string]bool{} // by receipt
	if err == nil && functionError == "" {
		failed, ok := failures(answer, batch)
		for _, d := range batch {
			handled[d.receipt] = ok && !failed[d.id]
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	// A message that became visible and was received again meanwhile has another receipt, and an old one deletes nothing
	// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html: it "might not").
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool { return handled[m.receipt] })
	q.handed--
	q.change()
}
