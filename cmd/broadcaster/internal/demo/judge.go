package demo

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// judge says what holds. It goes by what the functions' callers received, never by what a client says of itself. The
// first world is the one that the guarantees are held against; the others show what they are worth.
func judge(cfg Config, all []evidence, worlds []WorldReport, leaks Leaks) []Verdict {
	e, is := all[0], worlds[0]
	verdicts := []Verdict{
		e.everybodyIsCurrent(cfg, is),
		e.ttlApplies(cfg),
		e.nobodyFails(),
		e.neverBackwards(),
		e.nothingLost(cfg),
		noValue(all, leaks),
		e.otherDomain(),
		e.nothingNeedless(),
		e.nobodyReplaced(),
		halfWereFrozen(is),
	}
	if cfg.KillBroadcaster {
		verdicts = append(verdicts, e.brokenOff())
	}
	return append(verdicts, pushIsNotEnough(worlds[1]), ttlIsTooLate(worlds[2]))
}

// verdict holds if there is no offender.
func verdict(guarantee, statement, detail string, offenders []string) Verdict {
	v := Verdict{Guarantee: guarantee, Statement: statement, Held: len(offenders) == 0, Detail: detail}
	if !v.Held {
		v.Detail = strings.Join(offenders[:min(3, len(offenders))], "; ")
		if len(offenders) > 3 {
			v.Detail += fmt.Sprintf("; and %d more", len(offenders)-3)
		}
	}
	return v
}

func (e *evidence) everybodyIsCurrent(cfg Config, is WorldReport) Verdict {
	var offenders []string
	for _, env := range is.Environments {
		switch {
		case env.Stale:
			offenders = append(offenders, fmt.Sprintf("%s answered with the old version %s after the change", env.Environment, seconds(*env.OldLastSeconds)))
		case !env.read:
			offenders = append(offenders, env.Environment+" was not read again")
		}
	}
	if is.Held == 0 {
		offenders = append(offenders, "no environment had the old version")
	}
	return verdict("G1", fmt.Sprintf("every environment serves the new version at each read later than %v after the append", cfg.CheckEvery),
		fmt.Sprintf("%d of %d environments", is.Current, is.Held), offenders)
}

func (e *evidence) ttlApplies(cfg Config) Verdict {
	var offenders []string
	reads := 0
	for _, r := range e.Reads {
		if key := r.Versions[APIKey]; key != "" && r.Sent.After(e.expired(cfg)) {
			reads++
			if key != e.newKey {
				offenders = append(offenders, fmt.Sprintf("%s answered with the old API key %s after it changed", r.Host, seconds(r.Got.Sub(e.KeyChanged).Seconds())))
			}
		}
	}
	if reads == 0 {
		offenders = append(offenders, "nobody read the API key after its TTL had ended")
	}
	return verdict("G1", fmt.Sprintf("a change whose event is lost is served once the TTL of %v has ended", cfg.ttl()), fmt.Sprintf("%d reads", reads), offenders)
}

func (e *evidence) nobodyFails() Verdict {
	var offenders []string
	for _, r := range e.Reads {
		if r.Problem != "" {
			offenders = append(offenders, r.Host+": "+r.Problem)
		}
	}
	return verdict("G2", "no request fails", fmt.Sprintf("%d requests", len(e.Reads)), offenders)
}

// neverBackwards compares reads that did not overlap: of others nobody can say which came first.
func (e *evidence) neverBackwards() Verdict {
	var offenders []string
	for host, reads := range e.byHost() {
		var learned time.Time // when the new version's first answer came
		for _, r := range reads {
			if r.Versions[ConnectionString] == e.newID && (learned.IsZero() || r.Got.Before(learned)) {
				learned = r.Got
			}
		}
		for _, r := range reads {
			if !learned.IsZero() && r.Versions[ConnectionString] == e.oldID && r.Sent.After(learned) {
				offenders = append(offenders, host+" answered with the old version after the new one")
			}
		}
	}
	slices.Sort(offenders)
	return verdict("G3", "no environment goes back to the old version", "", offenders)
}

// nothingLost: a push reached every subscription, after the broadcaster's end if it was killed; or, if all were to be
// lost, none did, and the log alone told everybody.
func (e *evidence) nothingLost(cfg Config) Verdict {
	var offenders []string
	arrived := 0
	for _, f := range e.functions {
		if f.domain != payments || !f.takesPushes() {
			continue
		}
		got := slices.ContainsFunc(e.Pushes, func(p Push) bool { return p.Function == f.name && p.Host != "" && p.At.After(e.Killed.At) })
		tried := slices.ContainsFunc(e.Pushes, func(p Push) bool { return p.Function == f.name })
		switch {
		case got:
			arrived++
		case !cfg.DropPushes:
			offenders = append(offenders, f.name+" got no invalidation")
		case !tried:
			offenders = append(offenders, "no push to "+f.name+" was tried")
		}
	}
	if !cfg.DropPushes {
		return verdict("G4", "every subscription gets the invalidation", fmt.Sprintf("%d subscriptions", arrived), offenders)
	}
	if arrived > 0 {
		offenders = append(offenders, fmt.Sprintf("%d pushes arrived although all were to be lost", arrived))
	}
	return verdict("G4", "all of it with every push lost", fmt.Sprintf("%d pushes tried, none arrived", len(e.Pushes)), offenders)
}

func noValue(all []evidence, leaks Leaks) Verdict {
	values := 0
	for _, e := range all {
		for _, n := range e.fetches {
			values += n
		}
	}
	offenders := slices.Clone(leaks.Found)
	if values == 0 || leaks.Files == 0 {
		offenders = append(offenders, "there was nothing to look for")
	}
	return verdict("G5", "no secret value is in any log, file, event or answer",
		fmt.Sprintf("%d values handed out, none found in %d files, %.1f MB", values, leaks.Files, float64(leaks.Bytes)/1e6), offenders)
}

// otherDomain: kyc's functions are pushed to by nobody, although an event that names kyc's secret was in payments' queue.
func (e *evidence) otherDomain() Verdict {
	var offenders []string
	n := 0
	for _, f := range e.functions {
		if f.domain != kyc {
			continue
		}
		n++
		for _, p := range e.Pushes {
			if p.Function == f.name {
				offenders = append(offenders, f.name+" got an invalidation")
			}
		}
	}
	return verdict("G6", "a stray event of another domain invalidates nothing", fmt.Sprintf("%d functions of %s untouched", n, kyc), offenders)
}

// nothingNeedless: what did not change was fetched once by each environment.
func (e *evidence) nothingNeedless() Verdict {
	hosts := 0
	for _, reads := range e.byHost() {
		if slices.ContainsFunc(e.functions, func(f function) bool { return f.domain == kyc && f.name == reads[0].Function }) {
			hosts++
		}
	}
	var offenders []string
	if n := e.fetches[kycToken]; n != hosts {
		offenders = append(offenders, fmt.Sprintf("%d environments fetched %s %d times", hosts, kycToken, n))
	}
	return verdict("G7", "what did not change is fetched once", fmt.Sprintf("%d environments of %s", hosts, kyc), offenders)
}

func (e *evidence) nobodyReplaced() Verdict {
	var offenders []string
	for host, reads := range e.byHost() {
		for _, r := range reads {
			if r.PID != reads[0].PID {
				offenders = append(offenders, fmt.Sprintf("%s was process %d and is %d", host, reads[0].PID, r.PID))
			}
		}
	}
	slices.Sort(offenders)
	return verdict("", "every environment is the process that it was", "", offenders)
}

func halfWereFrozen(is WorldReport) Verdict {
	frozen := 0
	for _, env := range is.Environments {
		if env.held && env.Frozen {
			frozen++
		}
	}
	var offenders []string
	if 2*frozen < is.Held || is.Held == 0 {
		offenders = append(offenders, fmt.Sprintf("only %d of %d", frozen, is.Held))
	}
	return verdict("", "at least half of the environments were frozen during the push", fmt.Sprintf("%d of %d", frozen, is.Held), offenders)
}

func (e *evidence) brokenOff() Verdict {
	var offenders []string
	if len(e.Killed.PIDs) == 0 {
		offenders = append(offenders, "it was not running at the first push")
	}
	return verdict("", "the broadcaster was killed between append and delivery", fmt.Sprintf("process %v", e.Killed.PIDs), offenders)
}

// pushIsNotEnough and ttlIsTooLate hold if the other worlds show what the log is for.
func pushIsNotEnough(w WorldReport) Verdict {
	var offenders []string
	if w.Current == w.Held {
		offenders = append(offenders, "it reached everybody this time")
	}
	return verdict("", "beside it: push only leaves environments stale", fmt.Sprintf("%d of %d", w.Held-w.Current, w.Held), offenders)
}

func ttlIsTooLate(w WorldReport) Verdict {
	var offenders []string
	if w.Current > 0 || w.Held == 0 {
		offenders = append(offenders, fmt.Sprintf("%d of %d were current", w.Current, w.Held))
	}
	return verdict("", "beside it: with the TTL only, all are stale", fmt.Sprintf("%d of %d", w.Held, w.Held), offenders)
}

func seconds(s float64) string { return fmt.Sprintf("%.2f s", s) }
