package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// maxRecords is what SQS puts into one invocation at most.
	maxRecords = 10_000
	// maxListed bounds one list of events; more is no list that EventBridge sends, and would fill memory with results.
	maxListed = 1_000
)

// A record is what a Lambda event source puts around one event
// (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html, https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html).
type record struct {
	MessageID string       `json:"messageId"`
	Source    string       `json:"eventSource"` // SNS: EventSource
	Body      string       `json:"body"`
	SNS       notification `json:"Sns"`
	SQS       struct {
		Sent string `json:"SentTimestamp"` // milliseconds since 1970
	} `json:"attributes"`
}

// sent is when SQS took the message, or zero if it does not say.
func (r record) sent() time.Time {
	ms, err := strconv.ParseInt(r.SQS.Sent, 10, 64)
	if err != nil || ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// A notification is what SNS puts around one event, unless a subscription asks for raw messages
// (https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html).
type notification struct {
	Type    string `json:"Type"`
	Message string `json:"Message"`
}

// A wrapping is what may still be around an event. SQS may hold what SNS sent, not the other way round, and nothing holds
// itself.
type wrapping int

const (
	inNothing wrapping = iota // only the event itself is left
	inList
	inSNS
	inRecords
)

// Parse takes a payload apart: an event, a list of events, either in SNS or in SQS, or in SNS in SQS. The result is never
// empty and in the order of the events. It never fails as a whole: what cannot be used is a Result that says so, without
// quoting the payload.
func Parse(payload []byte) []Result { return parse(payload, inRecords) }

func parse(text []byte, within wrapping) []Result {
	text = bytes.TrimLeft(text, " \t\r\n")
	if within >= inList && len(text) > 0 && text[0] == '[' {
		return parseList(text)
	}
	var d document
	wrong := json.Unmarshal(text, &d)
	switch {
	case within >= inRecords && d.Records != nil:
		return parseRecords(d.Records)
	case within >= inSNS && d.DetailType == "" && d.Type != "":
		return notification{d.Type, d.Message}.parse()
	}
	return []Result{resultOf(&d, wrong)}
}

// parseList parses one event after the other, so that one of them can be wrong without the rest. What is not JSON to its end
// is wrong as a whole.
func parseList(text []byte) []Result {
	elements, ok := split(text)
	switch {
	case !ok:
		return malformed("$ is not JSON: the list does not end, or something follows it")
	case len(elements) > maxListed:
		return malformed(fmt.Sprintf("$ has more than %d events", maxListed))
	case len(elements) == 1 && len(bytes.TrimSpace(elements[0])) == 0:
		return malformed("$ must have an event")
	}
	results := make([]Result, 0, len(elements))
	for i, element := range elements {
		var d document
		wrong := json.Unmarshal(element, &d)
		r := resultOf(&d, wrong)
		if r.Outcome == Malformed {
			r.Reason = fmt.Sprintf("$[%d]", i) + strings.TrimPrefix(r.Reason, "$")
		}
		if wrong != nil && !isTypeError(wrong) {
			return malformed(r.Reason)
		}
		results = append(results, r)
	}
	return results
}

// split returns the elements of a JSON list, or, of a list of more than maxListed, so many and one; false if the list has no
// end or something follows it. Whether an element is JSON shows when it is decoded.
func split(list []byte) (elements [][]byte, ok bool) {
	begin, depth := 1, 0
	for i := 0; i < len(list); i++ {
		switch c := list[i]; c {
		case '"':
			i = closing(list, i)
		case '[', '{':
			depth++
		case ',':
			if depth > 1 {
				continue
			}
			elements = append(elements, list[begin:i])
			begin = i + 1
			if len(elements) > maxListed {
				return elements, true
			}
		case ']', '}':
			if depth--; depth == 0 {
				return append(elements, list[begin:i]), c == ']' && len(bytes.TrimSpace(list[i+1:])) == 0
			}
		}
	}
	return nil, false
}

// closing returns where the text whose quotation mark stands at begin ends.
func closing(json []byte, begin int) int {
	for i := begin + 1; i < len(json); i++ {
		switch json[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(json)
}

func parseRecords(records []record) []Result {
	if len(records) == 0 || len(records) > maxRecords {
		return malformed(fmt.Sprintf("$.Records must be 1 to %d", maxRecords))
	}
	results := make([]Result, 0, len(records))
	for i, record := range records {
		for _, r := range record.parse(i) {
			r.MessageID, r.Sent = record.MessageID, record.sent()
			results = append(results, r)
		}
	}
	return results
}

func (r record) parse(i int) []Result {
	switch r.Source {
	case "aws:sqs":
		return parse([]byte(r.Body), inSNS)
	case "aws:sns":
		return r.SNS.parse()
	}
	return []Result{{Outcome: Unknown, Reason: fmt.Sprintf("$.Records[%d].eventSource is not one we read", i)}}
}

func (n notification) parse() []Result {
	if n.Type != "Notification" { // a subscription that waits to be confirmed, say
		return []Result{{Outcome: Unknown, Reason: "an SNS message that is no notification"}}
	}
	return parse([]byte(n.Message), inList)
}

func malformed(reason string) []Result {
	return []Result{{Outcome: Malformed, Reason: reason}}
}
