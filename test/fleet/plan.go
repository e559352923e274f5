package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// A plan is everything about a run that is drawn beforehand: rapid shrinks it.
type plan struct {
	Seed         uint64 // of what is decided on the way: latencies, lags, losses
	Faults       bool   // the log or Secrets Manager fail at times; without, the two exceptions of G1 must not occur
	Names        int
	Environments int
	Actions      []action
}

// An action is one step of the driver.
type action struct {
	Op    op
	Which int           // environment or secret
	N     int           // how many, or which of several ways
	For   time.Duration // how long a condition lasts
	Then  time.Duration // the pause after it
}

func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed=%d faults=%v names=%d environments=%d\n", p.Seed, p.Faults, p.Names, p.Environments)
	for i, a := range p.Actions {
		fmt.Fprintf(&b, "%4d %-10s which=%d n=%d for=%v then=%v\n", i, a.Op, a.Which, a.N, a.For, a.Then)
	}
	return b.String()
}

// calm reports whether nothing keeps a changed version from being fetched: then no exception may be counted. A secret
// that is deleted while a change of it is still seen by some reads only is no such case.
func (p plan) calm() bool {
	for _, a := range p.Actions {
		if a.Op == opDelete || a.Op == opRecreate {
			return false
		}
	}
	return !p.Faults
}

type op string

const (
	opNothing  op = "nothing" // what the others shrink to
	opRead     op = "read"
	opPut      op = "put"
	opRotate   op = "rotate"
	opBurst    op = "burst" // more secrets change than a check applies one by one
	opThere    op = "there" // A→B→A: AWSCURRENT leaves and comes back
	opRollback op = "rollback"
	opDelete   op = "delete"
	opRecreate op = "recreate"
	opRestore  op = "restore" // a deleted secret
	opFreeze   op = "freeze"
	opCut      op = "cut" // a request times out with something on its way, and the environment is frozen at once
	opSleep    op = "sleep"
	opLag      op = "lag"
	opLogDown  op = "log-down"
	opLogGap   op = "log-gap"
	opDown     op = "down" // Secrets Manager
	opForge    op = "forge"
	opBackup   op = "backup"
	opRewind   op = "rewind" // the tables are restored from the backup
	opJump     op = "jump"   // a wall clock
	opBirth    op = "birth"
	opNewborn  op = "newborn" // an environment is born and cut at once: its first check and its first fetch are on their way
	opDeath    op = "death"
	opHint     op = "hint"
	opWait     op = "wait" // until a change is expected to have arrived everywhere, or certainly has
)

// weights says how often each action is drawn.
func weights() []op {
	var ops []op
	for _, w := range []struct {
		op op
		n  int
	}{
		{opNothing, 1},
		{opRead, 40},
		{opPut, 9},
		{opRotate, 3},
		{opThere, 3},
		{opRollback, 4},
		{opBurst, 2},
		{opDelete, 2},
		{opRecreate, 1},
		{opRestore, 3},
		{opFreeze, 10},
		{opCut, 6},
		{opSleep, 10},
		{opLag, 5},
		{opLogDown, 3},
		{opLogGap, 3},
		{opDown, 1},
		{opForge, 4},
		{opBackup, 2},
		{opRewind, 2},
		{opJump, 8},
		{opBirth, 3},
		{opDeath, 4},
		{opHint, 2},
		{opWait, 4},
	} {
		for range w.n {
			ops = append(ops, w.op)
		}
	}
	return ops
}

// A scene is a few actions about one environment and one secret that follow one another: what matters seldom comes alone.
func scenes() [][][]op {
	change := []op{opPut, opPut, opPut, opRotate, opThere, opRollback, opDelete, opRestore, opRecreate}
	sleep, look, freeze := []op{opSleep}, []op{opRead}, []op{opFreeze}
	var all [][][]op
	for _, s := range []struct {
		n     int
		scene [][]op
	}{
		{50, [][]op{weights()}},
		{10, [][]op{change, look}},
		{6, [][]op{change, change, look}},
		{6, [][]op{look, freeze, change, sleep, look}},
		{6, [][]op{{opLag}, change, look, look}},
		{6, [][]op{{opLag}, change, {opCut}, sleep, look}},
		{6, [][]op{change, {opCut}, change, sleep, look}},
		{4, [][]op{look, {opDelete}, {opRestore, opRecreate, opPut}, look}},
		{3, [][]op{{opBackup}, change, look, {opRewind}, look}},
		{3, [][]op{{opLogGap}, change, change, look}},
		{6, [][]op{look, change, {opWait}, look}},
		{12, [][]op{{opNewborn}, change, sleep, look}},
	} {
		for range s.n {
			all = append(all, s.scene)
		}
	}
	return all
}

func drawPlan(t *rapid.T) plan {
	scene := rapid.Custom(func(t *rapid.T) []action {
		which := rapid.IntRange(0, 63).Draw(t, "which")
		var actions []action
		for _, ops := range rapid.SampledFrom(scenes()).Draw(t, "scene") {
			actions = append(actions, action{
				Op:    rapid.SampledFrom(ops).Draw(t, "op"),
				Which: which,
				N:     rapid.IntRange(0, 15).Draw(t, "n"),
				For:   rapid.SampledFrom([]time.Duration{time.Second, 4 * time.Second, 30 * time.Second, 58 * time.Second}).Draw(t, "for"),
				Then: rapid.SampledFrom([]time.Duration{
					0, 0, 10 * time.Millisecond, 100 * time.Millisecond, 700 * time.Millisecond, 2100 * time.Millisecond, 9 * time.Second,
				}).Draw(t, "then"),
			})
		}
		return actions
	})
	return plan{
		Seed:         rapid.Uint64().Draw(t, "seed"),
		Faults:       rapid.Bool().Draw(t, "faults"),
		Names:        rapid.IntRange(1, 4).Draw(t, "names"),
		Environments: rapid.IntRange(1, 5).Draw(t, "environments"),
		Actions:      slices.Concat(rapid.SliceOfN(scene, 25, 60).Draw(t, "scenes")...),
	}
}
