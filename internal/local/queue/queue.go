package queue

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says how a [Queue] and its event source mapping behave. Only Invoke is required.
type Config struct {
	// Invoke hands an event to the function and returns its answer, or, if the function failed, a functionError that is
	// not "". An err means that it is not known what became of the event. It is called concurrently; its context is Run's.
	Invoke func(ctx context.Context, payload []byte) (answer []byte, functionError string, err error)
	// QueueARN names the queue; "" means arn:aws:sqs:eu-west-2:111122223333:secret-events.
	QueueARN string
	// BatchSize is how many messages an event holds at most; 0 means 10.
	BatchSize int
	// Window is how long a batch that is not full waits for more messages; 0 means not at all.
	Window time.Duration
	// VisibilityTimeout is how long a message that was handed over stays hidden unless it is deleted before; it then
	// comes again, also while the function still works on it. 0 means 30 s, as on AWS.
	VisibilityTimeout time.Duration
	// MaxReceives is how often a message is handed over before it goes to the dead letters; 0 means 5.
	MaxReceives int
	// Concurrency is how many batches may be with the function at once; 0 means 5, with which Lambda begins
	// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
	Concurrency int
	// Now is what the times in the messages' attributes are taken from; nil means time.Now. Delays, windows and timeouts
	// run on the machine's clock.
	Now func() time.Time
}

// Queue holds messages and, while [Queue.Run] runs, hands them over. Its methods may be called concurrently.
type Queue struct {
	config                Config
	region, account, name string

	mu       sync.Mutex // guards what follows
	messages []*message
	dead     []Message
	handed   int           // batches with the function
	sent     int           // messages ever
	changed  chan struct{} // closed, and replaced, at each change
}

// message is a message that is neither deleted nor dead.
type message struct {
	id, body string
	order    int
	receives int
	receipt  string    // of the last receive
	visible  time.Time // from when it can be received

	sent, firstReceive time.Time // by Config.Now
}

// Message is a message as it lies among the dead letters.
type Message struct {
	ID   string
	Body string
	// Receives is how often it was handed over.
	Receives int
}

// New returns an empty queue. Nothing is handed over before [Queue.Run].
func New(config Config) *Queue {
	config.QueueARN = cmp.Or(config.QueueARN, "arn:aws:sqs:eu-west-2:111122223333:secret-events")
	config.BatchSize = cmp.Or(config.BatchSize, 10)
	config.VisibilityTimeout = cmp.Or(config.VisibilityTimeout, 30*time.Second)
	config.MaxReceives = cmp.Or(config.MaxReceives, 5)
	config.Concurrency = cmp.Or(config.Concurrency, 5)
	if config.Now == nil {
		config.Now = time.Now
	}
	q := &Queue{config: config, changed: make(chan struct{})}
	if parts := strings.Split(config.QueueARN, ":"); len(parts) == 6 {
		q.region, q.account, q.name = parts[3], parts[4], parts[5]
	}
	return q
}

// SendOption changes how one message is delivered.
type SendOption func(*sending)

type sending struct {
	delay      time.Duration
	duplicates []time.Duration
}

// Delay hides the message for a time after it was sent.
func Delay(d time.Duration) SendOption { return func(s *sending) { s.delay = d } }

// Duplicate delivers the message once more, under the same message id, the given time after the first delivery became
// possible, whatever became of that. It is counted as a message of its own. SQS does so now and then: it delivers at least once
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/standard-queues-at-least-once-delivery.html).
func Duplicate(after time.Duration) SendOption {
	return func(s *sending) { s.duplicates = append(s.duplicates, after) }
}

// Send puts a message into the queue and returns its id.
func (q *Queue) Send(body string, options ...SendOption) (messageID string) {
	var s sending
	for _, option := range options {
		option(&s)
	}
	id := newID()
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, after := range append([]time.Duration{0}, s.duplicates...) {
		q.sent++
		q.messages = append(q.messages, &message{
			id: id, body: body, order: q.sent, visible: now.Add(s.delay + after), sent: q.config.Now(),
		})
	}
	q.change()
	return id
}

// Depth is how many messages are left to be handled: waiting, hidden or delayed, but not dead.
func (q *Queue) Depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages)
}

// Dead returns the messages that were handed over MaxReceives times in vain, in the order in which they were given up.
// A message goes there when it would have been handed over once more, so after its visibility timeout.
func (q *Queue) Dead() []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.dead)
}

// Wait returns when no message is left: each was handled or is dead. It returns ctx's error when that ends first.
func (q *Queue) Wait(ctx context.Context) error {
	for {
		q.mu.Lock()
		left, changed := len(q.messages), q.changed
		q.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d messages: %w", left, context.Cause(ctx))
		}
	}
}

// change requires q.mu.
func (q *Queue) change() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// newID returns a random id in the form of a UUID, as message ids have it.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func newReceipt() string {
	var b [48]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}
