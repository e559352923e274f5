package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
)

// batch is one hand-over: when, since the start of the test, and what.
type batch struct {
	at  time.Duration
	ids []string
}

// function is what a queue hands its batches to.
type function struct {
	t      testing.TB
	start  time.Time
	answer func(n int, ids []string) (answer, functionError string, err error) // n counts from 1; nil means success

	mu      sync.Mutex
	batches []batch
}

func (f *function) invoke(_ context.Context, payload []byte) ([]byte, string, error) {
	var event struct{ Records []struct{ MessageID string } }
	if err := json.Unmarshal(payload, &event); err != nil {
		f.t.Error(err)
	}
	b := batch{at: time.Since(f.start)}
	for _, r := range event.Records {
		b.ids = append(b.ids, r.MessageID)
	}
	f.mu.Lock()
	f.batches = append(f.batches, b)
	n := len(f.batches)
	f.mu.Unlock()
	if f.answer == nil {
		return []byte(`{"batchItemFailures":[]}`), "", nil
	}
	answer, functionError, err := f.answer(n, b.ids)
	return []byte(answer), functionError, err
}

// at lists when batches were handed over and how many messages they held.
func (f *function) at() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, b := range f.batches {
		list = append(list, fmt.Sprintf("%v: %d", b.at, len(b.ids)))
	}
	return list
}

// run makes a queue for the function and runs it until the test ends. It must be called in a synctest bubble.
func run(t *testing.T, f *function, config queue.Config) *queue.Queue {
	t.Helper()
	f.t, f.start = t, time.Now()
	config.Invoke = f.invoke
	q := queue.New(config)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); q.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return q
}

func wait(t *testing.T, q *queue.Queue) {
	t.Helper()
	if err := q.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if q.Depth() != 0 {
		t.Errorf("depth %d of an empty queue", q.Depth())
	}
}

func check(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMessagesAreHandedOverInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{}
		q := run(t, f, queue.Config{Concurrency: 1})
		for range 25 {
			q.Send("a")
		}
		wait(t, q)
		total := 0
		for _, b := range f.batches {
			total += len(b.ids)
			if len(b.ids) > 10 || b.at != 0 {
				t.Errorf("%v", b)
			}
		}
		if total != 25 {
			t.Errorf("%d messages", total)
		}
	})
}

func TestTheWindowCollectsUntilItEndsOrTheBatchIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{}
		q := run(t, f, queue.Config{BatchSize: 3, Window: 2 * time.Second})
		q.Send("a")
		q.Send("b", queue.Delay(time.Second))
		q.Send("c", queue.Delay(3*time.Second)) // comes too late for the first window
		wait(t, q)
		check(t, f.at(), "2s: 2", "5s: 1")

		for range 4 { // three of them fill a batch
			q.Send("d")
		}
		wait(t, q)
		check(t, f.at(), "2s: 2", "5s: 1", "5s: 3", "7s: 1")
	})
}

func TestADelayedMessageIsHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{}
		q := run(t, f, queue.Config{})
		q.Send("later", queue.Delay(5*time.Second))
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		if len(f.at()) != 0 || q.Depth() != 1 {
			t.Errorf("%v, depth %d", f.at(), q.Depth())
		}
		wait(t, q)
		check(t, f.at(), "5s: 1")
	})
}

func TestADuplicateComesUnderTheSameIDAlthoughTheFirstWasHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{}
		q := run(t, f, queue.Config{})
		id := q.Send("twice", queue.Duplicate(10*time.Second))
		wait(t, q)
		check(t, f.at(), "0s: 1", "10s: 1")
		if f.batches[0].ids[0] != id || f.batches[1].ids[0] != id {
			t.Errorf("%v, sent %s", f.batches, id)
		}

		id = q.Send("twice", queue.Duplicate(0))
		wait(t, q)
		if last := f.batches[len(f.batches)-1]; !cmp.Equal(last.ids, []string{id, id}) {
			t.Errorf("at once: %v", last)
		}
	})
}

func TestOnlyTheNamedMessagesComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var named string
		f := &function{answer: func(n int, ids []string) (string, string, error) {
			if n > 1 {
				return "null", "", nil
			}
			named = ids[1]
			return fmt.Sprintf(`{"batchItemFailures":[{"itemIdentifier":%q}]}`, named), "", nil
		}}
		q := run(t, f, queue.Config{VisibilityTimeout: time.Minute, Window: time.Second})
		for range 3 {
			q.Send("a")
		}
		time.Sleep(2 * time.Second)
		if q.Depth() != 1 {
			t.Errorf("depth %d after the partial failure", q.Depth())
		}
		wait(t, q)
		// It is visible again a minute after it was received, and waits for the window once more.
		check(t, f.at(), "1s: 3", "1m2s: 1")
		if f.batches[1].ids[0] != named {
			t.Errorf("%s came back, %s was named", f.batches[1].ids[0], named)
		}
	})
}

func TestTheAnswerDecidesWhetherTheBatchComesBack(t *testing.T) {
	const first = "%s" // stands for the first message's id
	tests := map[string]struct {
		answer, functionError string
		err                   error
		comeBack              int // of two
	}{
		"an empty list":              {answer: `{"batchItemFailures":[]}`},
		"a null list":                {answer: `{"batchItemFailures":null}`},
		"an empty object":            {answer: `{}`},
		"null":                       {answer: `null`},
		"another object":             {answer: `{"statusCode":200}`},
		"one id":                     {answer: `{"batchItemFailures":[{"itemIdentifier":"` + first + `"}]}`, comeBack: 1},
		"one id twice":               {answer: `{"batchItemFailures":[{"itemIdentifier":"` + first + `"},{"itemIdentifier":"` + first + `"}]}`, comeBack: 1},
		"an unknown id":              {answer: `{"batchItemFailures":[{"itemIdentifier":"nobody"}]}`, comeBack: 2},
		"a known and an unknown id":  {answer: `{"batchItemFailures":[{"itemIdentifier":"` + first + `"},{"itemIdentifier":"nobody"}]}`, comeBack: 2},
		"a null id":                  {answer: `{"batchItemFailures":[{"itemIdentifier":null}]}`, comeBack: 2},
		"an empty id":                {answer: `{"batchItemFailures":[{"itemIdentifier":""}]}`, comeBack: 2},
		"a number as id":             {answer: `{"batchItemFailures":[{"itemIdentifier":1}]}`, comeBack: 2},
		"a misnamed id":              {answer: `{"batchItemFailures":[{"messageId":"` + first + `"}]}`, comeBack: 2},
		"an id in another case":      {answer: `{"batchItemFailures":[{"ItemIdentifier":"` + first + `"}]}`, comeBack: 2},
		"ids without objects":        {answer: `{"batchItemFailures":["` + first + `"]}`, comeBack: 2},
		"a null item":                {answer: `{"batchItemFailures":[null]}`, comeBack: 2},
		"no list":                    {answer: `{"batchItemFailures":"` + first + `"}`, comeBack: 2},
		"a string":                   {answer: `"ok"`, comeBack: 2},
		"a list":                     {answer: `[]`, comeBack: 2},
		"nothing":                    {answer: ``, comeBack: 2},
		"no JSON":                    {answer: `{"batchItemFailures":[`, comeBack: 2},
		"a function error":           {answer: `{"batchItemFailures":[]}`, functionError: "Unhandled", comeBack: 2},
		"an invocation that is lost": {answer: `{"batchItemFailures":[]}`, err: errors.New("connection reset"), comeBack: 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &function{answer: func(n int, ids []string) (string, string, error) {
					if n > 1 {
						return "{}", "", nil
					}
					return strings.ReplaceAll(test.answer, first, ids[0]), test.functionError, test.err
				}}
				q := run(t, f, queue.Config{BatchSize: 2, Window: time.Second, VisibilityTimeout: time.Minute})
				q.Send("a")
				q.Send("b")
				synctest.Wait()
				if q.Depth() != test.comeBack {
					t.Errorf("%d messages are left, want %d", q.Depth(), test.comeBack)
				}
				wait(t, q)
				back := 0
				for _, b := range f.batches[1:] {
					back += len(b.ids)
					if b.at < time.Minute {
						t.Errorf("%v comes back before its visibility timeout", b)
					}
				}
				if back != test.comeBack {
					t.Errorf("%d messages came back, want %d", back, test.comeBack)
				}
			})
		})
	}
}

func TestAMessageReceivedTooOftenIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{answer: func(int, []string) (string, string, error) { return "", "Unhandled", nil }}
		q := run(t, f, queue.Config{VisibilityTimeout: time.Minute, MaxReceives: 3})
		id := q.Send("poison")
		time.Sleep(3*time.Minute - 1)
		synctest.Wait()
		if q.Depth() != 1 || len(q.Dead()) != 0 {
			t.Errorf("dead before its last visibility timeout: depth %d", q.Depth())
		}
		wait(t, q)
		check(t, f.at(), "0s: 1", "1m0s: 1", "2m0s: 1")
		if diff := cmp.Diff([]queue.Message{{ID: id, Body: "poison", Receives: 3}}, q.Dead()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestASlowFunctionGetsTheMessageAgainWhileItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{answer: func(n int, _ []string) (string, string, error) {
			if n == 1 {
				time.Sleep(90 * time.Second)
			} else {
				time.Sleep(45 * time.Second)
			}
			return "{}", "", nil
		}}
		q := run(t, f, queue.Config{VisibilityTimeout: time.Minute})
		q.Send("slow")
		time.Sleep(100 * time.Second) // the first has answered: with a receipt that deletes nothing any more
		if q.Depth() != 1 {
			t.Errorf("depth %d", q.Depth())
		}
		wait(t, q)
		if took := time.Since(f.start); took != 105*time.Second {
			t.Errorf("handled after %v", took)
		}
		check(t, f.at(), "0s: 1", "1m0s: 1")
	})
}

func TestNoMoreBatchesThanAllowedRunAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{answer: func(int, []string) (string, string, error) {
			time.Sleep(time.Second)
			return "{}", "", nil
		}}
		q := run(t, f, queue.Config{BatchSize: 1})
		for range 12 {
			q.Send("a")
		}
		wait(t, q)
		check(t, f.at(), "0s: 1", "0s: 1", "0s: 1", "0s: 1", "0s: 1", "1s: 1", "1s: 1", "1s: 1", "1s: 1", "1s: 1", "2s: 1", "2s: 1")
	})
}

func TestABatchStaysBelowThePayloadLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{}
		q := run(t, f, queue.Config{Window: time.Second, Concurrency: 1})
		for range 8 {
			q.Send(strings.Repeat("x", 1<<20))
		}
		wait(t, q)
		check(t, f.at(), "1s: 5", "1s: 3")
	})
}

func TestRunWaitsForTheBatchesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		q := queue.New(queue.Config{VisibilityTimeout: time.Hour, Invoke: func(ctx context.Context, _ []byte) ([]byte, string, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
			return nil, "", ctx.Err()
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		q.Send("a")
		q.Run(ctx)
		if !ended || q.Depth() != 1 {
			t.Errorf("ended %t, depth %d", ended, q.Depth())
		}
		if err := q.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting: %v", err)
		}
	})
}
