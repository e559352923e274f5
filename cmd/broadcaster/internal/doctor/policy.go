package doctor

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

const eventsService = "events.amazonaws.com"

// lookAtQueuePolicy looks at whether the queue's policy lets each rule send to it.
func (p *patient) lookAtQueuePolicy(rules []rule) {
	const check = "queue policy"
	var out []string
	for _, r := range rules {
		if r.toQueue && !lets(p.queuePolicy, r.arn, p.function.AccountID) {
			out = append(out, r.String())
		}
	}
	if len(out) > 0 {
		p.ill(check, "it does not let EventBridge send for "+strings.Join(out, ", ")+": what these rules take is lost", p.setQueue("Policy", p.policy()))
		return
	}
	p.well(check)
}

// policy lets the domain's rules send, and nobody else but the broadcaster, whose role says so itself.
func (p *patient) policy() string {
	text, _ := json.Marshal(map[string]any{ // strings
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Effect": "Allow", "Principal": map[string]string{"Service": eventsService}, "Action": "sqs:SendMessage", "Resource": p.queueARN,
			"Condition": map[string]any{"StringEquals": map[string]string{"aws:SourceAccount": p.function.AccountID}},
		}},
	})
	return string(text)
}

// A statement is one of a queue's policy, as far as it is read.
type statement struct {
	Effect    string
	Principal principals
	Action    oneOrMore
	Condition map[string]map[string]oneOrMore
}

// lets reports whether a queue's policy lets EventBridge send for a rule of an account. A condition that is not read here is
// taken to hold where something is allowed, and not to hold where it is denied: then only deliveries show what it does.
func lets(policy, rule, account string) bool {
	var is struct{ Statement []statement }
	if json.Unmarshal([]byte(policy), &is) != nil {
		return false
	}
	allowed := false
	for _, s := range is.Statement {
		if !s.isOfSending() {
			continue
		}
		holds, known := s.holds(map[string]string{"aws:sourcearn": rule, "aws:sourceaccount": account, "aws:securetransport": "true"})
		if s.Effect == "Deny" && holds && known {
			return false
		}
		allowed = allowed || s.Effect == "Allow" && holds
	}
	return allowed
}

// isOfSending reports whether it is about what EventBridge sends.
func (s statement) isOfSending() bool {
	sends := slices.ContainsFunc(s.Action, func(a string) bool { return strings.EqualFold(a, "sqs:SendMessage") || a == "sqs:*" || a == "*" })
	return sends && (slices.Contains(s.Principal, eventsService) || slices.Contains(s.Principal, "*"))
}

// holds reports whether the conditions hold, as far as they are known, and whether all of them are.
func (s statement) holds(context map[string]string) (holds, known bool) {
	known = true
	for operator, keys := range s.Condition {
		for key, values := range keys {
			is, read := context[strings.ToLower(key)]
			match, has := matches(operator)
			if !read || !has {
				known = false
				continue
			}
			if !slices.ContainsFunc(values, func(value string) bool { return match(value, is) }) {
				return false, known
			}
		}
	}
	return true, known
}

// matches returns how a condition's operator compares
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html).
func matches(operator string) (match func(value, is string) bool, known bool) {
	switch operator {
	case "StringEquals":
		return func(value, is string) bool { return value == is }, true
	case "Bool":
		return strings.EqualFold, true
	case "StringLike", "ArnLike", "ArnEquals":
		return func(value, is string) bool {
			pattern := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(value))
			return regexp.MustCompile("^" + pattern + "$").MatchString(is)
		}, true
	}
	return nil, false
}

// oneOrMore reads what IAM lets be a string or a list of them.
type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMore) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*o = make(oneOrMore, 1)
		return json.Unmarshal(data, &(*o)[0])
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// principals are everybody, as "*", or the services that a statement is about.
type principals []string

// UnmarshalJSON implements json.Unmarshaler.
func (p *principals) UnmarshalJSON(data []byte) error {
	if string(data) == `"*"` {
		*p = principals{"*"}
		return nil
	}
	var is struct{ AWS, Service oneOrMore }
	if err := json.Unmarshal(data, &is); err != nil {
		return err
	}
	*p = principals(is.Service)
	if slices.Contains(is.AWS, "*") {
		*p = append(*p, "*")
	}
	return nil
}
