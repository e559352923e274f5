package fleet

import (
	"sync"
	"time"
)

// faults is what is wrong at the moment.
type faults struct {
	mu      sync.Mutex
	started time.Time

	logUntil  time.Time
	logOf     int // which environment cannot reach the log; -1 all
	logHangs  bool
	gaps      int // answers with a missing row still to come
	gapOf     int
	downUntil time.Time // Secrets Manager

	lagUntil time.Time
	lagMost  time.Duration
	lagging  map[string]bool // which kinds of reads lag
	settled  time.Time       // when describes stopped lagging last
}

func (f *faults) breakLog(of int, hangs bool, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logOf, f.logHangs, f.logUntil = of, hangs, time.Now().Add(d)
}

func (f *faults) logDown(e *environment) (down, hangs bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	down = time.Now().Before(f.logUntil) && (f.logOf < 0 || f.logOf == e.id)
	return down, down && f.logHangs
}

func (f *faults) loseRow(of int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gaps, f.gapOf = 1, of
}

func (f *faults) takeGap(e *environment) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gaps == 0 || f.gapOf != e.id {
		return false
	}
	f.gaps--
	return true
}

func (f *faults) breakSecrets(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.downUntil = time.Now().Add(d)
}

func (f *faults) secretsDown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.downUntil)
}

// secretsFailedSince reports whether Secrets Manager was down at any time since then.
func (f *faults) secretsFailedSince(t time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.downUntil.After(t)
}

// lag makes some kinds of reads answer with older states for a while.
func (f *faults) lag(kinds map[string]bool, most, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noteSettled()
	f.lagging, f.lagMost, f.lagUntil = kinds, most, time.Now().Add(d)
}

// noteSettled remembers that describes may have lagged until now. The caller holds mu.
func (f *faults) noteSettled() {
	if f.lagging["describe"] {
		f.settled = time.Now()
	}
}

func (f *faults) lagOf(kind string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.lagging[kind] || !time.Now().Before(f.lagUntil) {
		return 0
	}
	return f.lagMost
}

// describesLaggedSince reports whether DescribeSecret may have answered with older states at any time since then.
func (f *faults) describesLaggedSince(t time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lagging["describe"] && f.lagUntil.After(t) || f.settled.After(t)
}

// end mends everything.
func (f *faults) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noteSettled()
	f.logUntil, f.downUntil, f.lagUntil, f.gaps = time.Time{}, time.Time{}, time.Time{}, 0
}
