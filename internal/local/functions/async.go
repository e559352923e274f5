package functions

import (
	"errors"
	"net/http"
	"time"
)

// Lambda's asynchronous queue
// (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html), in minutes of Config.AsyncMinute.
const (
	asyncAttempts     = 3
	asyncAge          = 6 * 60
	throttleFirstPart = 60 // the first wait after a throttle is this part of a minute
	throttleLast      = 5
)

// enqueue accepts an Event. Events do not wait for each other, so they come in any order, as on AWS.
func (h *Host) enqueue(f *function, arn string, invocation Invocation) error {
	return h.spawn(func() { h.deliver(f, arn, invocation) })
}

// deliver runs an Event until the function has handled it, or has failed too often, or it is too old.
func (h *Host) deliver(f *function, arn string, invocation Invocation) {
	minute := h.config.AsyncMinute
	accepted := time.Now()
	backoff := minute / throttleFirstPart
	for {
		result, err := h.run(f, newRequest(invocation.RequestID, arn, invocation.Payload))
		switch {
		case isThrottle(err):
			if time.Since(accepted) > asyncAge*minute || !h.pause(backoff) {
				return
			}
			backoff = min(2*backoff, throttleLast*minute)
		case err != nil:
			return // the host is closed
		default:
			h.after(invocation, result)
			if result.FunctionError == "" || invocation.Attempt == asyncAttempts {
				return
			}
			if !h.pause(time.Duration(invocation.Attempt) * minute) {
				return
			}
			invocation.Attempt++
		}
	}
}

func isThrottle(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal) && refusal.Status == http.StatusTooManyRequests
}

// pause waits, and reports false if the host was closed meanwhile.
func (h *Host) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-h.done:
		return false
	}
}
