package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Standing says how far an environment is, by its own report.
type Standing string

// The standings of an Environment.
const (
	Current Standing = "current" // it has applied the change
	Behind  Standing = "behind"  // it reported an older revision later than append + CheckEvery
	Silent  Standing = "silent"  // it has not reported since: it is frozen or gone, and checks before it serves
)

// What a client does that reports nothing of these, as its own defaults have it.
const (
	defaultCheckEvery = 2 * time.Second
	defaultTTL        = 5 * time.Minute
)

// An Environment is an execution environment as it reported last.
type Environment struct {
	Environment string    `json:"environment"`
	Service     string    `json:"service"`
	Function    string    `json:"function,omitempty"`
	Version     string    `json:"version,omitempty"`
	LogStream   string    `json:"logStream,omitempty"`
	Client      string    `json:"client"`
	Mode        string    `json:"mode"`
	Standing    Standing  `json:"standing"`
	Reported    time.Time `json:"reported"`
	Revision    int64     `json:"revision"`
	// Failing says why it cannot use what it should, without any value; empty if it can.
	Failing string `json:"failing,omitempty"`
}

const (
	failingLog     = "it cannot read the change log"
	failingObserve = "its client only observes: the TTL alone ends the old version"
)

// environmentOf judges a report by a revision, which was appended at a time, and one secret; by all that it holds if that is
// empty.
func environmentOf(report wire.Report, name string, revision int64, appended time.Time, head int64) Environment {
	e := Environment{
		Environment: report.Environment, Service: report.Service, Function: report.Function, Version: report.Version,
		LogStream: report.LogStream, Client: report.Client, Mode: report.Mode, Reported: report.Time, Revision: report.Revision,
	}
	switch {
	case report.Revision >= revision && report.Revision <= head: // later than the head: it stands on a log of before a restore
		e.Standing = Current
	case report.Time.After(appended.Add(checkEveryOf(report))):
		e.Standing = Behind
	default:
		e.Standing = Silent
	}
	e.Failing = failing(report, name)
	return e
}

// failing says why the environment that reported cannot use a secret, or any of those that it holds.
func failing(report wire.Report, name string) string {
	if report.Mode != "" && report.Mode != "on" {
		return failingObserve
	}
	if report.Counts.Checks == 0 && report.Counts.CheckFailures > 0 {
		return failingLog
	}
	for _, s := range report.Secrets {
		if (name == "" || s.Name == name) && s.Outcome == wire.Failed {
			return cmp.Or(s.Reason, string(wire.Failed))
		}
	}
	return ""
}

func checkEveryOf(report wire.Report) time.Duration {
	if report.CheckEverySeconds <= 0 {
		return defaultCheckEvery
	}
	return time.Duration(report.CheckEverySeconds * float64(time.Second))
}

func ttlOf(report wire.Report) time.Duration {
	if report.MaxTTLSeconds <= 0 {
		return defaultTTL
	}
	return time.Duration(report.MaxTTLSeconds * float64(time.Second))
}

// holds reports whether the environment that reported holds a secret.
func holds(report wire.Report, name string) bool {
	return slices.ContainsFunc(report.Secrets, func(s wire.SecretOutcome) bool { return s.Name == name })
}
