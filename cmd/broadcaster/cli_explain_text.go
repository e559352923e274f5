//go:build !lambdaartifact

package main

import (
	"fmt"
	"strings"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// String is the explanation for people: what it is, what becomes of it, what is done next.
func (e explanation) String() string {
	r := e.result
	what := make([]string, 0, 3)
	for _, text := range []string{r.DetailType, r.EventName} {
		if text != "" {
			what = append(what, text)
		}
	}
	if len(what) == 0 {
		what = append(what, "no event")
	}
	lines := []string{strings.Join(what, ", ")}
	if r.EventID != "" {
		lines[0] += " (event " + r.EventID + ")"
	}
	add := func(format string, args ...any) { lines = append(lines, "   "+fmt.Sprintf(format, args...)) }
	switch r.Outcome {
	case events.Signaled:
		e.addSignal(add)
	case events.Ignored:
		add("ignored: %s", r.Reason)
		if r.Warning {
			add("a warning for people, about %s", r.About)
		}
		add("Nothing is asked of AWS, and no cache is touched.")
	case events.Malformed:
		add("malformed: %s", r.Reason)
		add("Nothing is asked of AWS. Its message comes back, and is parked in the dead-letter queue at last.")
	case events.Unknown:
		add("unknown: %s", r.Reason)
		add("Nothing is asked of AWS. Its message comes back, and is parked in the dead-letter queue at last.")
	case events.Scheduled:
		add("schedule: the broadcaster looks for changes whose events never came, and resumes open deliveries")
	case events.Resumed:
		add("resume: the broadcaster's message to itself; it resumes open deliveries")
	}
	return strings.Join(lines, "\n")
}

func (e explanation) addSignal(add func(string, ...any)) {
	s := e.result.Signal
	secret := s.Name
	if secret == "" {
		secret = s.ARN
	}
	switch s.Kind {
	case events.Moved:
		add("signal: moved, AWSCURRENT of %s%s", secret, unless(s.VersionID == "", " to version "+s.VersionID))
	case events.Deleted, events.Restored:
		add("signal: %s, %s", s.Kind, secret)
	case events.Check:
		add("signal: check, AWSCURRENT of %s may have moved or not", secret)
	}
	add("in env %s, domain %s%s%s", s.Env, s.Domain, unless(s.Actor == "", ", by "+s.Actor), unless(s.Replay == "", ", sent again by replay "+s.Replay))
	if s.Name == "" {
		add("DescribeSecret is asked for this ARN: the event does not say where the name ends.")
	} else {
		add("DescribeSecret is asked for this name.")
	}
	if s.Kind == events.Check {
		add("It decides: what it says is current is appended to the change log if that is new.")
	} else {
		add("What it says is current, not what the event says, is appended to the change log if that is new.")
	}
	e.addDeliveries(add)
}

func (e explanation) addDeliveries(add func(string, ...any)) {
	s := e.result.Signal
	of, found := e.manifests[subscribers.Domain{Env: s.Env, Name: s.Domain}]
	switch {
	case e.manifests == nil:
		add("Who would be pushed to is known with --subscriptions.")
	case !found:
		add("No manifest is of %s/%s: nobody is pushed to, clients find out from the change log.", s.Env, s.Domain)
	case s.Name == "":
		add("Who would be pushed to is known with the name.")
	case s.Kind == events.Deleted && of.IgnoreDeletions:
		add("Its domain has onDelete: ttl, so a deletion is not appended and nobody is told.")
	case len(e.Deliveries) == 0:
		add("No subscription of %s/%s matches: nobody is pushed to, clients find out from the change log.", s.Env, s.Domain)
	}
	pushes := false
	for _, d := range e.Deliveries {
		switch d.Deliver {
		case "push":
			pushes = true
			add("push to %s, function %s: %s", d.Subscription, d.Function, d.Why)
		default:
			add("no push to %s: %s", d.Subscription, d.Why)
		}
	}
	if pushes {
		add("A function is pushed to if it carries the tags and has reported a client: see docs/subscriptions.md.")
	}
}

// unless returns a text that is left out if it says nothing.
func unless(empty bool, text string) string {
	if empty {
		return ""
	}
	return text
}
