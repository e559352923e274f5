package events

// A meaning is what an event of CloudTrail's means for a cache of AWSCURRENT: a Signal of some kind, or, without a kind, a
// reason to ignore it.
type meaning struct {
	kind      Kind
	versionID string // of Moved, as far as the event says
	reason    string
	warning   bool // ignored, but for people
}

func signals(kind Kind) meaning     { return meaning{kind: kind} }
func ignores(reason string) meaning { return meaning{reason: reason} }
func warns(reason string) meaning   { return meaning{reason: reason, warning: true} }

// fromTrail parses what CloudTrail recorded, of which kind ever: means says, by eventName, what it means.
//
// CloudTrail's own time counts, not EventBridge's: it is when the call was made. The records of one change arrive in any
// order, doubled or not at all (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-delivery-level.html).
func fromTrail(d *document, means func(*detail) (meaning, bool)) (Signal, error) {
	is, known := means(&d.Detail)
	switch {
	case d.Detail.EventName == "":
		return Signal{}, malformedAt{"$.detail.eventName", "must be the name of an event"}
	case d.Detail.EventSource != "" && d.Detail.EventSource != "secretsmanager.amazonaws.com":
		return Signal{}, malformedAt{"$.detail.eventSource", "must be secretsmanager.amazonaws.com"}
	case is.warning: // whatever else it says
	case d.Detail.ErrorCode != "":
		return Signal{}, ignored{"the call failed and changed nothing"}
	case d.Detail.ReadOnly:
		return Signal{}, ignored{readsOnly}
	case !known:
		return Signal{}, errUnknown
	case is.kind == "":
		return Signal{}, ignored{is.reason}
	}
	refs := trailRefs(&d.Detail)
	s, err := d.about(is.kind, refs[:]...)
	switch {
	case err != nil:
		return Signal{}, err
	case is.warning && s.Name == "":
		return Signal{}, warning{is.reason, s.ARN}
	case is.warning:
		return Signal{}, warning{is.reason, s.Name}
	}
	if d.Detail.EventTime != "" {
		if s.Time, err = timeAt("$.detail.eventTime", d.Detail.EventTime); err != nil {
			return Signal{}, err
		}
	}
	s.Trusted, s.VersionID, s.Actor = true, versionOf(is.versionID), actorOf(&d.Detail)
	if s.Kind == Moved {
		s.Label = awsCurrent
	}
	return s, nil
}

// readsOnly is why a call that reads is ignored.
const readsOnly = "it only reads"

// trailRefs are the places in which CloudTrail's records identify a secret. None has all of them.
func trailRefs(d *detail) [9]ref {
	return [...]ref{
		{"$.detail.requestParameters.secretId", d.Request.SecretID, byCaller},
		{"$.detail.requestParameters.name", d.Request.Name, isName},
		{"$.detail.responseElements.arn", d.Response.ARN, byAWS},
		{"$.detail.responseElements.aRN", d.Response.OldARN, byAWS},
		{"$.detail.responseElements.name", d.Response.Name, isName},
		{"$.detail.additionalEventData.SecretId", d.Additional.SecretID, byAWS},
		{"$.detail.additionalEventData.ARN", d.Additional.ARN, byAWS},
		{"$.detail.additionalEventData.Name", d.Additional.Name, isName},
		// Only hearsay has this one, so it is taken like what a caller typed.
		{"$.detail.serviceEventDetails.secretId", d.Service.SecretID, byCaller},
	}
}

// actorOf returns the caller's session, or which AWS service it was.
func actorOf(d *detail) string {
	for _, text := range []string{d.Identity.ARN, d.Identity.InvokedBy, d.Identity.Type} {
		if is := plain(text); is != "" {
			return is
		}
	}
	return ""
}
