// Package kill_test kills the broadcaster's processes with SIGKILL at random moments under load, and looks at what is left
// when nobody kills any more: the store, every environment and every file.
//
// The broadcaster is the real program on the local Lambda host, between a queue with duplicates, a schedule, a Secrets
// Manager whose answers lag, tables in a file and functions with the real client, each environment a process of its own.
// The seed decides what changes, what is lost and when somebody is killed, not how processes interleave: the same seed
// makes the same kind of trouble, not the same run. With go test's flag -artifacts all files of the run are kept.
package kill_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// How long a run lasts and its seed can be set by these variables; make kill does.
const (
	forVariable  = "KILL_FOR"
	seedVariable = "KILL_SEED"

	// usual is how long a run lasts.
	usual = 20 * time.Second
	// aftermath is how long the killing goes on after the last change, so that nothing that comes later makes up for it.
	aftermath = 3 * time.Second
	// killedEvery is how often somebody is to be killed at least: about a tenth of what a quiet machine comes to.
	killedEvery = 2 * time.Second
	// patience bounds every wait: far more than any takes, also on a busy machine.
	patience = 3 * time.Minute
)

// settings returns how long the run is to last and its seed.
func settings(t *testing.T) (lasts time.Duration, seed uint64) {
	t.Helper()
	lasts, seed = usual, rand.Uint64()
	var err error
	if text := os.Getenv(forVariable); text != "" {
		if lasts, err = time.ParseDuration(text); err != nil || lasts < usual {
			t.Fatalf("%s is %q, want a duration of %v or more", forVariable, text, usual)
		}
	}
	if text := os.Getenv(seedVariable); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s is %q, want a whole number", seedVariable, text)
		}
	}
	return lasts, seed
}

func TestABroadcasterThatIsKilledAtRandomLosesNothing(t *testing.T) {
	lasts, seed := settings(t)
	t.Logf("%s=%v %s=%d", forVariable, lasts, seedVariable, seed)
	w := newWorld(t, seed)
	w.warmUp()

	var queue, trouble, traffic sync.WaitGroup
	handing, stopQueue := context.WithCancel(t.Context())
	defer stopQueue()
	queue.Go(func() { w.queue.Run(handing) })
	asking, stopTraffic := context.WithCancel(t.Context())
	defer stopTraffic()
	for i, f := range w.functions {
		traffic.Go(func() { w.traffic(asking, f, w.random(uint64(10+i))) })
	}
	troubled, end := context.WithTimeout(t.Context(), lasts)
	defer end()
	changing, quiet := context.WithTimeout(troubled, lasts-aftermath)
	defer quiet()
	trouble.Go(func() { w.change(changing) })
	trouble.Go(func() { w.tickAgainAndAgain(troubled) })
	trouble.Go(func() { w.kill(troubled) })
	trouble.Wait()

	w.settle()
	stopTraffic()
	traffic.Wait()
	stopQueue()
	queue.Wait()
	w.judgeEnvironments()
	w.reopen()
	w.judgeStore()
	w.judgeFiles()
	w.judgeTrouble(lasts)
}

// random is a source of randomness that nobody shares.
func (w *world) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(w.seed, stream)) }

// pause returns false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// between returns a duration from least to most.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}
