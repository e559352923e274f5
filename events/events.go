// Package events says what happened to a secret: it parses every shape in which AWS, or we, tell of a change into a
// Signal. A shape is one file; Parse finds it by source and detail-type. The package does no I/O and imports the standard
// library only. No type here has a field that could hold a secret value: what is not read cannot leak.
package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
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
	Name, Env, Domain, Service, Key string
	// ARN is empty where the event has none.
	ARN string
	// VersionID is the version the event names, or empty.
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
	// Actor is who did it, as far as the event says.
	Actor string
}

// Outcome is how parsing an event ended.
type Outcome string

// The outcomes of a Result.
const (
	Signaled  Outcome = "signal"
	Ignored   Outcome = "ignored"   // understood, and no reason to invalidate anything: see Reason
	Malformed Outcome = "malformed" // Reason begins with the JSON path that is wrong
	Unknown   Outcome = "unknown"   // no shape of this source and detail-type
	Scheduled Outcome = "schedule"  // the schedule's tick
)

// Result is what became of one inner event.
type Result struct {
	Outcome Outcome
	Reason  string
	Signal  Signal // set if Outcome is Signaled
	// EventID and DetailType are set as far as the event has them.
	EventID, DetailType string
	// MessageID is the SQS message the event came in, or empty.
	MessageID string
}

// Envelope is EventBridge's outer JSON
// (https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html).
type Envelope struct {
	ID         string          `json:"id"`
	Source     string          `json:"source"`
	DetailType string          `json:"detail-type"`
	Account    string          `json:"account"`
	Region     string          `json:"region"`
	Time       time.Time       `json:"time"`
	Resources  []string        `json:"resources"`
	Replay     string          `json:"replay-name"`
	Detail     json.RawMessage `json:"detail"`
}

// A shape parses the events of one source and detail-type.
type shape struct {
	source, detailType string
	parse              func(Envelope) (Signal, error)
}

// shapes lists every event this package understands. A new shape is a file and a line here.
func shapes() []shape {
	return []shape{labelUpdated(), changeHint(), scheduledEvent(), schedulerEvent()}
}

// ignored and malformedAt are how a shape ends without a Signal.
type (
	ignored     struct{ reason string }
	malformedAt struct{ path, problem string }
)

func (e ignored) Error() string     { return e.reason }
func (e malformedAt) Error() string { return e.path + " " + e.problem }

var errScheduled = errors.New("the schedule's tick")

// Parse takes a Lambda's payload apart: a single event, or SQS records with one event each. It never fails as a whole: what
// cannot be used is a Result that says so, without quoting the payload.
func Parse(payload []byte) []Result {
	var batch struct {
		Records []struct {
			MessageID string `json:"messageId"`
			Source    string `json:"eventSource"`
			Body      string `json:"body"`
		} `json:"Records"`
	}
	if err := json.Unmarshal(payload, &batch); err != nil {
		return []Result{{Outcome: Malformed, Reason: "$ is not a JSON object"}}
	}
	if batch.Records == nil {
		return []Result{parseOne(payload)}
	}
	results := make([]Result, 0, len(batch.Records))
	for i, record := range batch.Records {
		r := Result{Outcome: Unknown, Reason: fmt.Sprintf("$.Records[%d].eventSource is not one we read", i)}
		if record.Source == "aws:sqs" {
			r = parseOne([]byte(record.Body))
		}
		r.MessageID = record.MessageID
		results = append(results, r)
	}
	return results
}

func parseOne(event []byte) Result {
	var envelope Envelope
	if err := json.Unmarshal(event, &envelope); err != nil {
		return Result{Outcome: Malformed, Reason: whereOf(err)}
	}
	r := Result{EventID: envelope.ID, DetailType: envelope.DetailType}
	for _, s := range shapes() {
		if s.source == envelope.Source && s.detailType == envelope.DetailType {
			return r.from(s.parse(envelope))
		}
	}
	r.Outcome, r.Reason = Unknown, "no shape with this source and detail-type is known"
	return r
}

// from ends a Result with what a shape made of its event.
func (r Result) from(s Signal, err error) Result {
	var (
		ign ignored
		mal malformedAt
	)
	switch {
	case err == nil:
		r.Outcome, r.Signal = Signaled, s
		r.Signal.EventID, r.Signal.DetailType = r.EventID, r.DetailType
	case errors.Is(err, errScheduled):
		r.Outcome = Scheduled
	case errors.As(err, &ign):
		r.Outcome, r.Reason = Ignored, ign.reason
	case errors.As(err, &mal):
		r.Outcome, r.Reason = Malformed, mal.Error()
	default:
		r.Outcome, r.Reason = Malformed, "$.detail: "+whereOf(err)
	}
	return r
}

// whereOf names the place and the kind of a JSON error, never the text that was found there.
func whereOf(err error) string {
	var (
		typed  *json.UnmarshalTypeError
		syntax *json.SyntaxError
	)
	switch {
	case errors.As(err, &typed):
		return fmt.Sprintf("$.%s must be %s, not %s", typed.Field, typed.Type, typed.Value)
	case errors.As(err, &syntax):
		return fmt.Sprintf("$ is not JSON from byte %d on", syntax.Offset)
	default:
		return "$ has a field of the wrong form"
	}
}

// errOutside: the secret is not one of ours.
var errOutside = ignored{"the secret's name is outside /bank/{env}/{domain}/{service}/{name}"}

// named returns a Signal about the secret with this name, or errOutside.
func named(name string) (Signal, error) {
	rest, ok := strings.CutPrefix(name, "/bank/")
	if !ok {
		return Signal{}, errOutside
	}
	parts := strings.SplitN(rest, "/", 4)
	if len(parts) != 4 {
		return Signal{}, errOutside
	}
	for _, p := range parts {
		if p == "" {
			return Signal{}, errOutside
		}
	}
	return Signal{Name: name, Env: parts[0], Domain: parts[1], Service: parts[2], Key: parts[3]}, nil
}
