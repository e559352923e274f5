package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// nodeClient is the Node client, in a process of its own that it shares with others.
type nodeClient struct {
	p   *nodeProcess
	e   *environment
	own secretcache.Handler
	id  int

	state atomic.Pointer[nodeState]

	// Guarded by nodeProcess.mu:

	dead   bool
	made   int                // calls of the model
	ended  map[int]func(want) // what to do once a call of the model has ended
	events map[int]event      // the invocations under way
	asked  map[int]func()     // ends a request on its way
	timers map[int]*time.Timer
}

// nodeState is how a Node client stands.
type nodeState struct {
	Hash   string      `json:"hash"`
	Counts wire.Counts `json:"counts"`
}

// An event is one invocation.
type event struct {
	ctx     context.Context
	payload []byte
}

// newNodeClients returns what makes clients in a process.
func newNodeClients(p *nodeProcess) newClient {
	return func(e *environment, own secretcache.Handler) client {
		c := &nodeClient{
			p: p, e: e, own: own,
			ended: map[int]func(want){}, events: map[int]event{}, asked: map[int]func(){}, timers: map[int]*time.Timer{},
		}
		c.state.Store(&nodeState{})
		p.mu.Lock()
		p.made++
		c.id = p.made
		p.mu.Unlock()
		c.tell(func() (message, bool) {
			return message{Op: "new", Config: &nodeConfig{Env: env, Domain: domain, Service: "api"}}, true
		})
		return c
	}
}

// tell sends the client a message, and takes what it wants then. prepare returns false if there is nothing to tell any more.
func (c *nodeClient) tell(prepare func() (message, bool)) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.dead {
		return
	}
	m, ok := prepare()
	if !ok {
		return
	}
	m.Client = c.id
	monotonic, wall := c.e.clock.Now()
	m.Monotonic, m.Wall = float64(monotonic)/float64(time.Millisecond), wall.UnixMilli()
	a, err := c.p.exchange(m)
	if err != nil {
		panic(fmt.Sprintf("the Node process does not answer: %v", err))
	}
	c.state.Store(&a.State)
	for _, w := range a.Wants {
		c.take(w)
	}
}

// call has the client do something, and ended told what came of it.
func (c *nodeClient) call(m message, e *event, ended func(want)) {
	c.tell(func() (message, bool) {
		c.made++
		m.Call = c.made
		c.ended[m.Call] = ended
		if e != nil {
			c.events[m.Call] = *e
		}
		return m, true
	})
}

// invoke implements client.
func (c *nodeClient) invoke(ctx context.Context, payload []byte) ([]byte, error) {
	done := make(chan want, 1)
	c.call(message{Op: "invoke", Payload: payload}, &event{ctx, payload}, func(w want) { done <- w })
	w := <-done
	if w.Error != nil {
		return nil, w.Error
	}
	return w.Value, nil
}

// get implements client. The client knows no ctx: a read goes on when its function has given up, as promises do.
func (c *nodeClient) get(ctx context.Context, id string, told func(reading)) {
	done, freezes := make(chan struct{}), c.e.freezesSoFar()
	c.call(message{Op: "get", ID: id}, nil, func(w want) {
		r := reading{gaveUp: ctx.Err() != nil}
		if w.Error != nil {
			r.err = w.Error
		} else if err := json.Unmarshal(w.Value, &struct {
			Version *string `json:"version"`
			Text    *string `json:"text"`
		}{&r.version, &r.text}); err != nil {
			panic(err)
		}
		if c.e.freezesSoFar() > freezes {
			c.e.w.count(readThawed)
		}
		told(r)
		close(done)
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (c *nodeClient) appliedHash() string { return c.state.Load().Hash }

func (c *nodeClient) counts() wire.Counts { return c.state.Load().Counts }

// die implements client: nothing reaches it any more, and nothing that it wanted matters.
func (c *nodeClient) die() {
	c.tell(func() (message, bool) { return message{Op: "die"}, true })
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.dead = true
	for _, end := range c.asked {
		end()
	}
	for _, t := range c.timers {
		t.Stop()
	}
}

// take does what the client wants. It does not wait. The caller holds nodeProcess.mu.
func (c *nodeClient) take(w want) {
	switch w.Want {
	case "ended":
		ended := c.ended[w.Call]
		delete(c.ended, w.Call)
		delete(c.events, w.Call)
		ended(w)
	case "own":
		c.runOwn(w.Call, c.events[w.Call])
	case "since", "tail", "secret", "report":
		ctx, end := context.WithCancel(context.Background())
		c.asked[w.Call] = end
		go c.ask(ctx, w)
	case "abort":
		if end := c.asked[w.Call]; end != nil {
			end()
		}
	case "timer":
		c.timers[w.Call] = time.AfterFunc(time.Duration(w.After*float64(time.Millisecond)), func() { c.fire(w.Call) })
	case "cancel":
		if t := c.timers[w.Call]; t != nil {
			t.Stop()
			delete(c.timers, w.Call)
		}
	case "log":
		c.e.w.scan(w.Text)
	case "broken":
		c.e.w.violate(contract, "environment %d: %s", c.e.id, w.Text)
	default:
		c.e.w.violate(contract, "environment %d wants %q, which nobody knows", c.e.id, w.Want)
	}
}

// runOwn runs the function's own code.
func (c *nodeClient) runOwn(call int, is event) {
	go func() {
		out, err := c.own.Invoke(is.ctx, is.payload)
		c.tell(func() (message, bool) { return message{Op: "own", Call: call, Payload: out, Error: errorOf(err)}, true })
	}()
}

// fire tells that a timer has run out: not to an environment that is frozen.
func (c *nodeClient) fire(call int) {
	c.e.pass()
	c.tell(func() (message, bool) {
		_, set := c.timers[call]
		delete(c.timers, call)
		return message{Op: "timer", Call: call}, set
	})
}

// ask sends a request on its way and hands the client the answer.
func (c *nodeClient) ask(ctx context.Context, w want) {
	got, err := c.send(ctx, w)
	payload, encodeErr := json.Marshal(got)
	if encodeErr != nil {
		panic(encodeErr)
	}
	c.tell(func() (message, bool) {
		c.asked[w.Call]()
		delete(c.asked, w.Call)
		return message{Op: "answer", Call: w.Call, Payload: payload, Error: errorOf(err)}, true
	})
}

func (c *nodeClient) send(ctx context.Context, w want) (any, error) {
	switch w.Want {
	case "since":
		page, err := logPort{c.e}.Since(ctx, w.Revision, w.Limit)
		return pageOf(page), err
	case "tail":
		page, err := logPort{c.e}.Tail(ctx, w.Limit)
		return pageOf(page), err
	case "secret":
		got, err := secretsPort{c.e}.Get(ctx, w.ID, w.Version)
		return nodeFetched{got.Name, got.ARN, got.VersionID, got.Created.UnixMilli(), got.Text}, err
	default:
		return nil, c.put(ctx, w.Report)
	}
}

// put holds a report against the contract before it goes on its way: nothing in it that the Go type does not know.
func (c *nodeClient) put(ctx context.Context, report []byte) error {
	var r wire.Report
	decoder := json.NewDecoder(bytes.NewReader(report))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		c.e.w.violate(contract, "environment %d: its report is not as the contract has it: %v", c.e.id, err)
		return err
	}
	return reportsPort{c.e}.Put(ctx, r)
}

// nodeFetched is a secret's value as the Node client's port has it.
type nodeFetched struct {
	Name      string `json:"name"`
	ARN       string `json:"arn"`
	VersionID string `json:"versionId"`
	Created   int64  `json:"created"`
	Value     string `json:"value"`
}

// nodePage is an answer of the log: its rows as the table holds them.
type nodePage struct {
	Rows []nodeRow `json:"rows"`
	Date int64     `json:"date"`
}

type nodeRow struct {
	Body string `json:"body"`
	Hash string `json:"hash"`
}

func pageOf(page secretcache.Page) nodePage {
	out := nodePage{Rows: []nodeRow{}, Date: page.Date.UnixMilli()}
	for _, row := range page.Rows {
		hash := row.Hash
		body, err := row.Seal()
		if err != nil || row.Hash != hash {
			panic(fmt.Sprintf("revision %d does not seal as it was: %v", row.Revision, err))
		}
		out.Rows = append(out.Rows, nodeRow{string(body), hash})
	}
	return out
}

// errorOf names an error as the AWS SDK for JavaScript does.
func errorOf(err error) *nodeError {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, secretcache.ErrDeleted):
		return &nodeError{"InvalidRequestException", err.Error()}
	case errors.Is(err, secretcache.ErrNotFound):
		return &nodeError{"ResourceNotFoundException", err.Error()}
	default:
		return &nodeError{"Error", err.Error()}
	}
}
