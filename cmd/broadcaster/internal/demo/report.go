package demo

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Report is what a demo came to. Times are in seconds.
type Report struct {
	// OK: every verdict holds.
	OK       bool      `json:"ok"`
	Verdicts []Verdict `json:"verdicts"`
	// Secret is the one that rotated.
	Secret            string        `json:"secret"`
	CheckEverySeconds float64       `json:"checkEverySeconds"`
	TTLSeconds        float64       `json:"ttlSeconds"`
	Worlds            []WorldReport `json:"worlds"`
}

// A Verdict is one sentence about what the functions' callers received, and whether it is true.
type Verdict struct {
	// Guarantee is G1 to G7 of docs/guarantees.md; "" for what only shows that the demo was fair.
	Guarantee string `json:"guarantee,omitempty"`
	Statement string `json:"statement"`
	Held      bool   `json:"held"`
	// Detail says how far, or, if it did not hold, where it did not.
	Detail string `json:"detail"`
}

// A WorldReport is how one world fared.
type WorldReport struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Current of Held environments served the new version at their first read later than CheckEvery after the append; Held
	// are those that had the old version.
	Current int `json:"current"`
	Held    int `json:"held"`
	// AppendedSeconds is how long after the change the log told of it.
	AppendedSeconds float64             `json:"appendedSeconds"`
	Pushes          int                 `json:"pushes"`        // tried
	PushesArrived   int                 `json:"pushesArrived"` // in an environment
	Environments    []EnvironmentReport `json:"environments"`
}

// An EnvironmentReport is how one environment learned of the rotation. Its times count from the change, and are absent
// where there is none.
type EnvironmentReport struct {
	Environment string `json:"environment"`
	Function    string `json:"function"`
	PID         int    `json:"pid"`
	// Frozen: its process was stopped when the first push was tried.
	Frozen bool `json:"frozen"`
	// OldLastSeconds is when it last answered with the old version.
	OldLastSeconds *float64 `json:"oldLastSeconds,omitempty"`
	// NewFirstSeconds is when it first answered with the new version.
	NewFirstSeconds *float64 `json:"newFirstSeconds,omitempty"`
	// AfterAppendSeconds is the same from the append on; never negative.
	AfterAppendSeconds *float64 `json:"afterAppendSeconds,omitempty"`
	// Learned is how: "push", "log", "log, at its first read after the thaw", "its TTL" or, started later, "its own fetch".
	Learned string `json:"learned,omitempty"`
	// Stale: it served the old version later than CheckEvery after the append.
	Stale bool `json:"stale"`

	held bool // it had the old version
	read bool // it was read later than CheckEvery after the append
}

func newReport(cfg Config, worlds worlds, leaks Leaks) *Report {
	r := &Report{Secret: ConnectionString, CheckEverySeconds: cfg.CheckEvery.Seconds(), TTLSeconds: cfg.ttl().Seconds()}
	var all []evidence
	for _, w := range worlds {
		e := w.evidence()
		all = append(all, e)
		r.Worlds = append(r.Worlds, e.report(cfg, w.kind))
	}
	r.Verdicts = judge(cfg, all, r.Worlds, leaks)
	r.OK = !slices.ContainsFunc(r.Verdicts, func(v Verdict) bool { return !v.Held })
	return r
}

// evidence is all that a world is judged by.
type evidence struct {
	Seen
	functions []function
	readsLog  bool   // its environments do, all of them
	oldID     string // of ConnectionString
	newID     string
	newKey    string         // of APIKey
	fetches   map[string]int // values asked for, by secret
}

func (w *world) evidence() evidence {
	e := evidence{
		Seen: w.seen.all(), functions: w.functions, readsLog: w.kind.mode == "on" && w.kind.client != PushOnly,
		oldID: w.values.connectionString.old.id, newID: w.values.connectionString.new.id, newKey: w.values.apiKey.new.id,
		fetches: map[string]int{},
	}
	for _, s := range w.values.each() {
		e.fetches[s.name] = w.gate.handedOut(s.name)
	}
	return e
}

func (e *evidence) report(cfg Config, kind worldKind) WorldReport {
	if kind.name == "log" && cfg.Break != "" {
		kind.title += " (" + string(cfg.Break) + ")"
	}
	r := WorldReport{
		Name: kind.name, Title: kind.title, AppendedSeconds: e.Appended.Sub(e.Changed).Seconds(),
		Pushes: len(e.Pushes), Environments: e.environments(cfg),
	}
	for _, p := range e.Pushes {
		if p.Host != "" {
			r.PushesArrived++
		}
	}
	for _, env := range r.Environments {
		if env.held {
			r.Held++
			if env.read && !env.Stale {
				r.Current++
			}
		}
	}
	return r
}

// environments returns how each environment of payments fared, by function and number.
func (e *evidence) environments(cfg Config) []EnvironmentReport {
	var all []EnvironmentReport
	for host, reads := range e.byHost() {
		if reads[0].Versions[ConnectionString] != "" || reads[len(reads)-1].Versions[ConnectionString] != "" {
			all = append(all, e.environment(cfg, host, reads))
		}
	}
	slices.SortFunc(all, func(a, b EnvironmentReport) int {
		return cmp.Or(cmp.Compare(a.Function, b.Function), cmp.Compare(number(a.Environment), number(b.Environment)))
	})
	return all
}

// number is what follows the # of an environment's id.
func number(id string) int {
	_, digits, _ := strings.Cut(id, "#")
	n, _ := strconv.Atoi(digits)
	return n
}

// byHost returns the reads of each environment, in the order in which they were answered.
func (e *evidence) byHost() map[string][]Read {
	hosts := map[string][]Read{}
	for _, r := range e.Reads {
		hosts[r.Host] = append(hosts[r.Host], r)
	}
	return hosts
}

func (e *evidence) environment(cfg Config, host string, reads []Read) EnvironmentReport {
	r := EnvironmentReport{Environment: host, Function: reads[0].Function, PID: reads[0].PID, Frozen: slices.Contains(e.Frozen, host)}
	since := func(t, start time.Time) *float64 { s := t.Sub(start).Seconds(); return &s }
	var (
		first    *Read // with the new version
		answered int   // reads since the first push was tried
	)
	for i, read := range reads {
		if first == nil && len(e.Pushes) > 0 && read.Sent.After(e.Pushes[0].At) {
			answered++
		}
		switch late := read.Sent.After(e.checked(cfg)); read.Versions[ConnectionString] {
		case e.oldID:
			r.held = true
			r.OldLastSeconds = since(read.Got, e.Changed)
			r.read, r.Stale = r.read || late, r.Stale || late
		case e.newID:
			r.read = r.read || late
			if first == nil {
				first = &reads[i]
			}
		}
	}
	if first == nil {
		return r
	}
	r.NewFirstSeconds, r.AfterAppendSeconds = since(first.Got, e.Changed), since(first.Got, e.Appended)
	*r.AfterAppendSeconds = max(0, *r.AfterAppendSeconds)
	r.Learned = e.learned(host, r, *first, answered == 1)
	return r
}

// learned says how an environment came to the new version, from what was seen outside of it.
func (e *evidence) learned(host string, r EnvironmentReport, first Read, atOnce bool) string {
	pushed := slices.ContainsFunc(e.Pushes, func(p Push) bool { return p.Host == host && p.At.Before(first.Got) })
	switch {
	case !r.held:
		return "its own fetch" // it was started after the change
	case pushed:
		return "push"
	case !e.readsLog:
		return "its TTL"
	case r.Frozen && atOnce:
		return "log, at its first read after the thaw"
	default:
		return "log"
	}
}
