package fleet

import (
	"fmt"
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
	opDeath    op = "death"
	opHint     op = "hint"
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
		{opBurst, 1},
		{opDelete, 2},
		{opRecreate, 2},
		{opRestore, 2},
		{opFreeze, 14},
		{opSleep, 10},
		{opLag, 5},
		{opLogDown, 3},
		{opLogGap, 3},
		{opDown, 1},
		{opForge, 4},
		{opBackup, 2},
		{opRewind, 2},
		{opJump, 4},
		{opBirth, 2},
		{opDeath, 1},
		{opHint, 2},
	} {
		for range w.n {
			ops = append(ops, w.op)
		}
	}
	return ops
}

func drawPlan(t *rapid.T) plan {
	actions := rapid.Custom(func(t *rapid.T) action {
		return action{
			Op:    rapid.SampledFrom(weights()).Draw(t, "op"),
			Which: rapid.IntRange(0, 63).Draw(t, "which"),
			N:     rapid.IntRange(0, 15).Draw(t, "n"),
			For:   rapid.SampledFrom([]time.Duration{time.Second, 4 * time.Second, 30 * time.Second, 58 * time.Second}).Draw(t, "for"),
			Then: rapid.SampledFrom([]time.Duration{
				0, 0, 10 * time.Millisecond, 100 * time.Millisecond, 700 * time.Millisecond, 2100 * time.Millisecond, 9 * time.Second,
			}).Draw(t, "then"),
		}
	})
	return plan{
		Seed:         rapid.Uint64().Draw(t, "seed"),
		Faults:       rapid.Bool().Draw(t, "faults"),
		Names:        rapid.IntRange(1, 4).Draw(t, "names"),
		Environments: rapid.IntRange(1, 5).Draw(t, "environments"),
		Actions:      rapid.SliceOfN(actions, 60, 160).Draw(t, "actions"),
	}
}
