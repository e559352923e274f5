package demo

import (
	"slices"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
)

// A Read is one invocation of a function as its caller saw it: when it was sent, who answered, and with which versions.
type Read struct {
	// Host is the environment that answered and PID its process, both as the local Lambda host says.
	Host     string
	PID      int
	Function string
	// Sent is before the invocation was sent, Got after its answer came: the secrets were read in between.
	Sent, Got time.Time
	// Versions are the version ids by secret, as the answer proves them. A secret that could not be read is not in it.
	Versions map[string]string
	// Problem says what is wrong with the answer; "" if all is well.
	Problem string
	// Traffic: it is one of the steady ones.
	Traffic bool
}

// A Push is one attempt of the broadcaster to invoke a function with an invalidation.
type Push struct {
	RequestID, Function string
	At                  time.Time
	// Host is the environment it arrived in; "" if it was lost or the function failed.
	Host string
}

// A Kill is the end of the broadcaster's processes at the first push.
type Kill struct {
	PIDs []int
	At   time.Time
}

// Seen is what was seen of one world from outside of its clients.
type Seen struct {
	// Reads are in the order of their answers.
	Reads  []Read
	Pushes []Push
	// Frozen are the environments whose process was stopped when the first push was tried.
	Frozen []string
	// Killed is zero unless the broadcaster was.
	Killed Kill
	// Changed is before AWSCURRENT of ConnectionString moved, Appended after the log had it, and KeyChanged after
	// AWSCURRENT of APIKey moved.
	Changed, Appended, KeyChanged time.Time
}

// checked is from when on a read must know of the rotation.
func (s *Seen) checked(cfg Config) time.Time { return s.Appended.Add(cfg.CheckEvery) }

// expired is from when on no read may be answered with the API key's old version: what was cached last may have come from
// an answer that was late.
func (s *Seen) expired(cfg Config) time.Time { return s.KeyChanged.Add(late + cfg.ttl()) }

// sight collects what is seen. It is safe for concurrent use.
type sight struct {
	mu       sync.Mutex
	seen     Seen
	appended chan struct{} // closed when seen.Appended is set
}

func newSight() *sight { return &sight{appended: make(chan struct{})} }

// note changes what was seen so far.
func (s *sight) note(change func(*Seen)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.seen)
}

// all returns a copy.
func (s *sight) all() Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	seen.Reads, seen.Pushes, seen.Frozen = slices.Clone(seen.Reads), slices.Clone(seen.Pushes), slices.Clone(seen.Frozen)
	return seen
}

func (s *sight) noteAppend() {
	s.note(func(seen *Seen) {
		if seen.Appended.IsZero() {
			seen.Appended = time.Now()
			close(s.appended)
		}
	})
}

// notePush notes an attempt, and at the first one who is frozen: at rest and not where the steady traffic goes.
func (s *sight) notePush(i functions.Invocation, all []functions.Environment) {
	s.note(func(seen *Seen) {
		if len(seen.Pushes) == 0 {
			for _, e := range all {
				if e.State == functions.Frozen && !seen.hasTraffic(e.ID) {
					seen.Frozen = append(seen.Frozen, e.ID)
				}
			}
		}
		seen.Pushes = append(seen.Pushes, Push{RequestID: i.RequestID, Function: i.Function, At: time.Now()})
	})
}

func (s *sight) noteArrival(i functions.Invocation, r functions.Result) {
	s.note(func(seen *Seen) {
		for n := range seen.Pushes {
			if p := &seen.Pushes[n]; p.RequestID == i.RequestID && r.FunctionError == "" {
				p.Host = r.Environment
			}
		}
	})
}

// warm returns how many of a function's environments have answered all they were asked for.
func (s *sight) warm(function string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := map[string]bool{}
	for _, r := range s.seen.Reads {
		if r.Function == function && r.Problem == "" {
			hosts[r.Host] = true
		}
	}
	return len(hosts)
}

// current returns how many of the environments that ever read ConnectionString answered last with this version.
func (s *sight) current(versionID string) (current, all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := map[string]string{}
	for _, r := range s.seen.Reads {
		if v := r.Versions[ConnectionString]; v != "" {
			last[r.Host] = v
		}
	}
	for _, v := range last {
		if v == versionID {
			current++
		}
	}
	return current, len(last)
}

func (s *Seen) hasTraffic(host string) bool {
	return slices.ContainsFunc(s.Reads, func(r Read) bool { return r.Host == host && r.Traffic })
}
