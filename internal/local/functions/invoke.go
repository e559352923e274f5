package functions

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Lambda's payload limits in bytes (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const (
	syncLimit  = 6 << 20
	asyncLimit = 1 << 20
)

// Invoke runs a function once and waits for its answer, as an Invoke with type RequestResponse does, but without
// Config's hooks. The name may be an ARN and may carry a qualifier; an empty payload means {}.
//
// An environment at rest is used, the most recently used first; otherwise a new one is started. The answer is given
// when the environment is at rest again, so the next call can already have it.
//
// A function that fails is no error: see Result.FunctionError. An invocation that did not run is a [*Refusal]. When ctx
// ends, Invoke returns its error and the function runs on, as on AWS when a caller goes away.
func (h *Host) Invoke(ctx context.Context, name string, payload []byte) (Result, error) {
	ref, err := h.parse(name, "")
	if err != nil {
		return Result{}, fmt.Errorf("invoking %q: %w", name, err)
	}
	f, err := h.lookup(ref)
	if err != nil {
		return Result{}, fmt.Errorf("invoking %q: %w", name, err)
	}
	payload, err = checkPayload(payload, syncLimit)
	if err != nil {
		return Result{}, fmt.Errorf("invoking %q: %w", name, err)
	}
	result, err := h.await(ctx, func() (Result, error) { return h.run(f, newRequest(newID(), h.arn(ref), payload)) })
	if err != nil {
		return Result{}, fmt.Errorf("invoking %q: %w", name, err)
	}
	return result, nil
}

// InvokeIdle hands an event to one given environment that is at rest. AWS cannot do that: no API addresses an
// environment. It is a harness's privilege, to be used only to observe each environment of a function. It does not
// change which environment counts as most recently used.
//
// It fails with [ErrUnknownEnvironment] or [ErrNotAtRest]; otherwise it behaves as [Host.Invoke].
func (h *Host) InvokeIdle(ctx context.Context, environmentID string, payload []byte) (Result, error) {
	e, err := h.environment(environmentID)
	if err != nil {
		return Result{}, fmt.Errorf("invoking environment %q: %w", environmentID, err)
	}
	payload, err = checkPayload(payload, syncLimit)
	if err != nil {
		return Result{}, fmt.Errorf("invoking environment %q: %w", environmentID, err)
	}
	request := newRequest(newID(), h.ARN(e.function.name), payload)
	result, err := h.await(ctx, func() (Result, error) { return h.runOn(e, request) })
	if err != nil {
		return Result{}, fmt.Errorf("invoking environment %q: %w", environmentID, err)
	}
	return result, nil
}

func checkPayload(payload []byte, limit int) ([]byte, error) {
	switch {
	case len(payload) == 0:
		return []byte("{}"), nil
	case len(payload) > limit:
		return nil, tooLarge(limit)
	case !json.Valid(payload):
		return nil, invalidContent("Could not parse request body into json")
	}
	return slices.Clone(payload), nil
}

// await runs an invocation that outlives a caller who no longer waits for it.
func (h *Host) await(ctx context.Context, run func() (Result, error)) (Result, error) {
	type reply struct {
		result Result
		err    error
	}
	replies := make(chan reply, 1)
	if err := h.spawn(func() {
		result, err := run()
		replies <- reply{result, err}
	}); err != nil {
		return Result{}, err
	}
	select {
	case r := <-replies:
		return r.result, r.err
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// spawn runs work for which Close waits.
func (h *Host) spawn(work func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.work.Go(work)
	return nil
}

// run finds an environment and has it handle the request.
func (h *Host) run(f *function, request *request) (Result, error) {
	for {
		e, err := h.claim(f)
		if err != nil {
			return Result{}, err
		}
		outcome, delivered := h.use(e, request)
		h.release(e, true)
		if delivered {
			return e.result(outcome), nil
		}
		// The environment ended at rest, before it had the event: another one can have it.
	}
}

// runOn has one given environment handle the request.
func (h *Host) runOn(e *environment, request *request) (Result, error) {
	h.mu.Lock()
	if !e.atRest() {
		state := e.state
		h.mu.Unlock()
		return Result{}, fmt.Errorf("%w but %s", ErrNotAtRest, state)
	}
	e.state = Busy
	e.function.inFlight++
	h.mu.Unlock()

	outcome, delivered := h.use(e, request)
	h.release(e, false)
	if !delivered {
		return Result{}, fmt.Errorf("%w but %s", ErrNotAtRest, Ended)
	}
	return e.result(outcome), nil
}

// claim takes the most recently used environment at rest, or makes a new one, not yet started.
func (h *Host) claim(f *function) (*environment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if f.inFlight >= f.code.MaxEnvironments {
		return nil, throttled()
	}
	f.inFlight++
	var newest *environment
	for _, e := range f.environments {
		if e.atRest() && (newest == nil || e.lastUse > newest.lastUse) {
			newest = e
		}
	}
	if newest != nil {
		newest.state = Busy
		return newest, nil
	}
	f.started++
	e := newEnvironment(h, f)
	f.environments = append(f.environments, e)
	return e, nil
}

// use has a claimed environment handle the request and brings it to rest. Not delivered means that it had ended before.
func (h *Host) use(e *environment, request *request) (result outcome, delivered bool) {
	cold := e.api == nil
	if cold {
		if failure, ok := e.start(request.id); !ok {
			return failure, true
		}
	}
	h.mu.Lock()
	if e.state != Ended {
		e.state = Busy
	}
	frozen := !e.frozenSince.IsZero()
	e.frozenSince = time.Time{}
	h.mu.Unlock()

	if frozen {
		e.signal(thaw)
	}
	result, delivered = e.handle(request)
	if delivered {
		h.mu.Lock()
		e.invocations++
		h.mu.Unlock()
	}
	if !delivered && cold {
		return e.exitError(request.id), true // a function that ends at once must not be started for ever
	}
	return result, delivered
}

// release gives a claimed environment back: frozen, if its function is, or ended, if its code was replaced.
func (h *Host) release(e *environment, used bool) {
	frozen := false
	if !e.code.NoFreeze && e.runtime.alive() {
		if frozen = e.freeze(); !frozen {
			end([]*environment{e})
		}
	}

	h.mu.Lock()
	f := e.function
	f.inFlight--
	stale := h.closed || e.code != f.code
	if e.state == Ended || stale {
		h.mu.Unlock()
		end([]*environment{e})
		return
	}
	e.state = Idle
	if frozen {
		e.state, e.frozenSince = Frozen, time.Now()
	}
	if used {
		h.uses++
		e.lastUse = h.uses
	}
	h.mu.Unlock()
}

// retire records that an environment's process is gone.
func (h *Host) retire(e *environment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.state = Ended
	e.frozenSince = time.Time{}
	f := e.function
	f.environments = slices.DeleteFunc(f.environments, func(other *environment) bool { return other == e })
	h.ended = append(h.ended, e)
	if len(h.ended) > endedKept {
		h.ended = slices.Delete(h.ended, 0, len(h.ended)-endedKept)
	}
}
