// Package events says what happened to a secret: it parses every shape in which AWS, or we, tell of a change into a
// Signal. A shape is one file; Parse finds it by source and detail-type. The package does no I/O and imports the standard
// library only. No type here has a field that could hold a secret value: what is not read cannot leak.
package events

import (
	"errors"
	"time"
)

// Kind says what an event claims. Confirming it is not this package's business.
type Kind string

// The kinds of a Signal.
const (
	Moved    Kind = "moved"    // AWSCURRENT names another version
	Deleted  Kind = "deleted"  // the secret was deleted
	Restored Kind = "restored" // a deleted secret was restored
	Check    Kind = "check"    // AWSCURRENT may or may not have moved
)

// Signal is what an event says may have happened to one secret.
type Signal struct {
	Kind Kind
	// Name is the secret's full name; Env, Domain, Service and Key are its parts: /bank/{env}/{domain}/{service}/{key}.
	//
	// Name and Key are empty if the event has nothing but an ARN that a caller typed. Such an ARN may lack the suffix that AWS
	// puts behind each name, and a name may itself end as a suffix does, so nothing but DescribeSecret, asked by ARN, tells
	// the name. Env, Domain and Service are set even then: they stand before any suffix.
	Name, Env, Domain, Service, Key string
	// ARN is the secret's, or empty where the event has none. It is AWS's, with suffix, unless Name is empty.
	ARN string
	// Account and Region are where the secret is: those of the ARN, or, without one, where the event arose. An event may
	// have been forwarded, or be about a secret of another account that a caller of this one changed.
	Account, Region string
	// VersionID is the version that AWSCURRENT names since, or empty where the event does not say.
	VersionID string
	Label     string
	// Time is when the event says it happened, to the second.
	Time time.Time
	// Trusted: the event is AWS's own, so its time and version may be compared with what DescribeSecret says. Anybody who
	// may put events can send a hint.
	Trusted bool
	// Replay is the name of the EventBridge replay that sent it again, or empty.
	Replay              string
	EventID, DetailType string
	// Actor is who did it, as far as the event says: the ARN of the caller's session, or the AWS service.
	Actor string
}

// Outcome is how parsing an event ended.
type Outcome string

// The outcomes of a Result.
const (
	Signaled  Outcome = "signal"
	Ignored   Outcome = "ignored"   // understood, and no reason to invalidate anything: see Reason
	Malformed Outcome = "malformed" // Reason begins with the JSON path that is wrong
	Unknown   Outcome = "unknown"   // no shape of this source and detail-type, or no such event name
	Scheduled Outcome = "schedule"  // the schedule's tick
	Resumed   Outcome = "resume"    // the broadcaster's message to itself: deliveries are pending
)

// Result is what became of one inner event. What it says of an event is its own words or fits a line of a log: no text of
// another form is taken over.
type Result struct {
	Outcome Outcome
	Reason  string
	Signal  Signal // set if Outcome is Signaled
	// Warning: the event is Ignored, since no cache is stale by it, but people should hear of it: a rotation or a replication
	// went wrong. About is then the secret's name.
	Warning bool
	About   string
	// EventID, DetailType and, of CloudTrail's, EventName are set as far as the event has them.
	EventID, DetailType, EventName string
	// MessageID is the SQS message the event came in, or empty. Several events of one message have the same.
	MessageID string
	// Sent is when the queue took that message; zero if it does not say.
	Sent time.Time
}

// A shape parses the events of one source and detail-type.
type shape struct {
	source, detailType string
	// parse is given a document in which every field that is set was of its type; if readsNothing, also another.
	parse        func(*document) (Signal, error)
	readsNothing bool
}

// shapes lists every event this package understands. A new shape is a file and a line here.
func shapes() [7]shape {
	return [...]shape{labelUpdated(), apiCall(), serviceEvent(), changeHint(), resume(), scheduledEvent(), schedulerEvent()}
}

// How a shape ends without a Signal.
type (
	ignored struct{ reason string }
	warning struct{ reason, about string } // ignored, but for people
	// malformedAt says what must stand at a JSON path, never what stands there.
	malformedAt struct{ path, problem string }
)

func (e ignored) Error() string     { return e.reason }
func (e warning) Error() string     { return e.reason }
func (e malformedAt) Error() string { return e.path + " " + e.problem }

var (
	errScheduled = errors.New("the schedule's tick")
	errResumed   = errors.New("deliveries are pending")
	errUnknown   = errors.New("no event of this name is known")
)

// resultOf parses one event. wrong is what decoding it as JSON said.
func resultOf(d *document, wrong error) Result {
	r := Result{EventID: plain(d.ID), DetailType: plain(d.DetailType)}
	if name := d.Detail.EventName; len(name) <= 64 && only(name, isAlphanumeric) {
		r.EventName = name
	}
	if wrong != nil && !isTypeError(wrong) || d.Source == "" || d.DetailType == "" {
		r.Outcome, r.Reason = Malformed, "$ must be an event, with source and detail-type"
		if wrong != nil {
			r.Reason = problemOf(wrong)
		}
		return r
	}
	for _, s := range shapes() {
		if s.source != d.Source || s.detailType != d.DetailType {
			continue
		}
		if wrong != nil && !s.readsNothing {
			r.Outcome, r.Reason = Malformed, problemOf(wrong)
			return r
		}
		return r.from(s.parse(d))
	}
	r.Outcome, r.Reason = Unknown, "no shape with this source and detail-type is known"
	return r
}

// from ends a Result with what a shape made of its event.
func (r Result) from(s Signal, err error) Result {
	var (
		warn warning
		mal  malformedAt
	)
	switch {
	case err == nil:
		r.Outcome, r.Signal = Signaled, s
		r.Signal.EventID, r.Signal.DetailType = r.EventID, r.DetailType
	case errors.Is(err, errScheduled):
		r.Outcome = Scheduled
	case errors.Is(err, errResumed):
		r.Outcome = Resumed
	case errors.Is(err, errUnknown):
		r.Outcome, r.Reason = Unknown, err.Error()
	case errors.As(err, &mal):
		r.Outcome, r.Reason = Malformed, mal.Error()
	case errors.As(err, &warn):
		r.Outcome, r.Reason, r.Warning, r.About = Ignored, warn.reason, true, warn.about
	default:
		r.Outcome, r.Reason = Ignored, err.Error()
	}
	return r
}
