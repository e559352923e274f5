//go:build linux

package functions_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
)

func TestAFrozenEnvironmentKeepsItsStateAndUsesNoCPU(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "spinning"})
	deploy(t, h, functions.Function{Name: "other", NoFreeze: true})
	first := invoke(t, h, "spinning", event{Do: "spin"}) // from now on it burns CPU whenever it runs

	e := environmentOf(t, h, first.Environment)
	states := threadStates(t, e.PID)
	if e.State != functions.Frozen || strings.Trim(states, "T") != "" {
		t.Fatalf("state %s, threads %s", e.State, states)
	}
	before := cpuTicks(t, e.PID)
	for range 200 { // some time, in which something else runs
		invoke(t, h, "other", event{})
	}
	if used := cpuTicks(t, e.PID) - before; used != 0 {
		t.Errorf("the frozen process used %d ticks", used)
	}
	if again := environmentOf(t, h, e.ID); !reflect.DeepEqual(again, e) {
		t.Errorf("it changed while frozen: %+v, was %+v", again, e)
	}

	for i := range 3 {
		second := parse(t, invoke(t, h, "spinning", event{}))
		if second.PID != first.PID || second.Count != i+2 {
			t.Errorf("thawed: process %d, its %d. invocation; was process %d", second.PID, second.Count, first.PID)
		}
	}
	if states := threadStates(t, e.PID); strings.Trim(states, "T") != "" {
		t.Errorf("frozen again, but threads are %s", states)
	}
}

func TestTwoHundredFreezesDoNotHang(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	since := map[string]bool{}
	for i := range 200 {
		r := invoke(t, h, "payments-api", event{})
		if got := parse(t, r).Count; got != i+1 {
			t.Fatalf("invocation %d was the environment's %d.", i+1, got)
		}
		e := environmentOf(t, h, r.Environment)
		if states := threadStates(t, e.PID); strings.Trim(states, "T") != "" {
			t.Fatalf("freeze %d: threads %s", i+1, states)
		}
		since[e.FrozenSince.String()] = true
	}
	if len(since) != 200 {
		t.Errorf("%d different times of 200 freezes", len(since))
	}
}

func TestNoFreezeLeavesTheProcessRunning(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "managed", NoFreeze: true})
	r := invoke(t, h, "managed", event{})
	e := environmentOf(t, h, r.Environment)
	if e.State != functions.Idle || !e.FrozenSince.IsZero() {
		t.Errorf("%+v", e)
	}
	if states := threadStates(t, e.PID); strings.Contains(states, "T") {
		t.Errorf("threads %s", states)
	}
}
