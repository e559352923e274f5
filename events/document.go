package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// document is one JSON object that came in, and all that is ever read of it: EventBridge's envelope with what the shapes
// need of its detail (https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html), or a wrapper of
// such events. One type for all shapes is decoded in one pass.
//
// Where a key stands twice the last one counts, as in EventBridge; capitals in keys make no difference.
type document struct {
	ID         string   `json:"id"`
	Source     string   `json:"source"`
	DetailType string   `json:"detail-type"`
	Account    string   `json:"account"`
	Region     string   `json:"region"`
	Time       string   `json:"time"`
	Resources  []string `json:"resources"`
	Replay     string   `json:"replay-name"`
	Detail     detail   `json:"detail"`

	Records []record `json:"Records"` // a Lambda event source has these instead
	Type    string   `json:"Type"`    // and SNS has these, see notification
	Message string   `json:"Message"`
}

// detail is what the shapes read. A secret's value, a description, a policy or an error's message has no field here.
type detail struct {
	// Secret Label Updated; of our own hint the name only.
	Name         string `json:"name"`
	LabelUpdated string `json:"labelUpdated"`
	VersionID    string `json:"versionId"`

	// A CloudTrail record
	// (https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
	EventSource string `json:"eventSource"`
	EventName   string `json:"eventName"`
	EventTime   string `json:"eventTime"`
	ErrorCode   string `json:"errorCode"`
	ReadOnly    bool   `json:"readOnly"`
	RequestID   string `json:"requestID"`
	Identity    struct {
		ARN       string `json:"arn"`
		InvokedBy string `json:"invokedBy"`
		Type      string `json:"type"`
	} `json:"userIdentity"`
	Request struct {
		SecretID           string   `json:"secretId"`
		Name               string   `json:"name"`
		ClientRequestToken string   `json:"clientRequestToken"`
		VersionStages      []string `json:"versionStages"`
		VersionStage       string   `json:"versionStage"`
		MoveToVersionID    string   `json:"moveToVersionId"`
	} `json:"requestParameters"`
	Response struct {
		ARN    string `json:"arn"`
		OldARN string `json:"aRN"` // as ten calls spelled it until February 2024
		Name   string `json:"name"`
	} `json:"responseElements"`
	Additional struct {
		SecretID string `json:"SecretId"`
		ARN      string `json:"ARN"`
		Name     string `json:"Name"`
	} `json:"additionalEventData"`
	Service struct {
		SecretID string `json:"secretId"`
	} `json:"serviceEventDetails"`
}

// timeAt reads the time that stands at a path; none is the zero time.
func timeAt(path, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, malformedAt{path, "must be a time as in RFC 3339"}
	}
	return at, nil
}

// about returns a Signal of an event with what all have: the secret that its refs name, and when.
func (d *document) about(kind Kind, refs ...ref) (Signal, error) {
	s, err := identify(refs...)
	if err != nil {
		return Signal{}, err
	}
	if s.Account == "" {
		s.Account, s.Region = plain(d.Account), plain(d.Region)
	}
	s.Kind, s.Replay = kind, plain(d.Replay)
	s.Time, err = timeAt("$.time", d.Time)
	return s, err
}

func isTypeError(err error) bool { return errors.As(err, new(*json.UnmarshalTypeError)) }

// problemOf names the place and the kind of a JSON error, never the text that was found there.
func problemOf(err error) string {
	var (
		typed  *json.UnmarshalTypeError
		syntax *json.SyntaxError
	)
	switch {
	case errors.As(err, &typed) && typed.Field == "":
		return "$ must be an object"
	case errors.As(err, &typed):
		found, _, _ := strings.Cut(typed.Value, " ") // of a number, the digits follow
		return fmt.Sprintf("$.%s must be %s, not %s", typed.Field, wanted(typed.Type.Kind()), found)
	case errors.As(err, &syntax):
		return fmt.Sprintf("$ is not JSON from byte %d on", syntax.Offset)
	default:
		return "$ is not JSON: it ends too early"
	}
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.Struct:
		return "object"
	case reflect.Slice:
		return "array"
	case reflect.Bool:
		return "boolean"
	default:
		return k.String()
	}
}

// plain returns text that may go into a log line or a key: short, and visible ASCII; of any other nothing.
func plain(text string) string {
	const longest = 1024
	if len(text) > longest {
		return ""
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return ""
		}
	}
	return text
}
