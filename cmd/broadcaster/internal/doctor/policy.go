package doctor

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const eventsService = "events.amazonaws.com"

// lookAtQueuePolicy looks at whether the queue's policy lets each rule send to it, and nobody else do anything.
func (p *patient) lookAtQueuePolicy(rules []rule) {
	const check = "queue policy"
	if p.queue == nil {
		return // said at the queue
	}
	var shut, own []string
	for _, r := range rules {
		if r.target != p.queueARN || r.foreign {
			continue
		}
		own = append(own, r.arn)
		if !lets(p.queue["Policy"], r.arn, p.function.AccountID) {
			shut = append(shut, r.String())
		}
	}
	fix := setQueue(p.queueURL, "Policy", p.policy(own))
	before := len(p.findings)
	if len(shut) > 0 {
		p.ill(check, "it does not let EventBridge send for "+strings.Join(shut, ", ")+": what these rules take is lost", fix)
	}
	if opens := p.opened(); len(opens) > 0 {
		p.ill(check, "it lets others than the domain's rules: "+strings.Join(opens, "; "), fix)
	}
	if !closed(p.queue["Policy"]) {
		p.ill(check, "it does not deny what comes unencrypted", fix)
	}
	if len(p.findings) == before {
		p.well(check)
	}
}

// policy is the template's, for these rules. The broadcaster's own role says itself that it may send.
func (p *patient) policy(rules []string) string {
	queues := []string{p.queueARN}
	if p.deadLettersARN != "" {
		queues = append(queues, p.deadLettersARN)
	}
	slices.Sort(rules)
	text, _ := json.Marshal(map[string]any{ // strings
		"Version": "2012-10-17",
		"Statement": []any{
			map[string]any{
				"Sid": "TheRulesSend", "Effect": "Allow", "Principal": map[string]string{"Service": eventsService}, "Action": "sqs:SendMessage", "Resource": queues,
				"Condition": map[string]any{"ArnEquals": map[string]any{"aws:SourceArn": rules}},
			},
			map[string]any{
				"Sid": "NothingInTheClear", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": queues,
				"Condition": map[string]any{"Bool": map[string]string{"aws:SecureTransport": "false"}},
			},
		},
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

// opened says what a queue's policy allows but that EventBridge sends for the rules that it names.
func (p *patient) opened() (all []string) {
	for _, s := range statementsOf(p.queue["Policy"]) {
		if s.Effect != "Allow" {
			continue
		}
		for _, who := range s.Principal {
			if more := slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return who == eventsService && isSend(a) }); len(more) > 0 {
				all = append(all, who+" may "+strings.Join(more, ", "))
			}
		}
	}
	if len(all) == 0 && lets(p.queue["Policy"], p.arnOf("events", "rule/nobodys"), p.function.AccountID) {
		all = append(all, "any rule may send")
	}
	return all
}

// closed reports whether a queue's policy denies what comes unencrypted, whoever sends it.
func closed(policy string) bool {
	return slices.ContainsFunc(statementsOf(policy), func(s statement) bool {
		holds, known := s.holds(map[string]string{"aws:securetransport": "false"})
		return s.Effect == "Deny" && slices.Contains(s.Principal, "*") && (slices.Contains(s.Action, "sqs:*") || slices.Contains(s.Action, "*")) && holds && known
	})
}

func statementsOf(policy string) []statement {
	var is struct{ Statement []statement }
	if json.Unmarshal([]byte(policy), &is) != nil {
		return nil
	}
	return is.Statement
}

func isSend(action string) bool { return strings.EqualFold(action, "sqs:SendMessage") }

// lets reports whether a queue's policy lets EventBridge send for a rule of an account. A condition that is not read here is
// taken to hold where something is allowed, and not to hold where it is denied: then only deliveries show what it does.
func lets(policy, rule, account string) bool {
	allowed := false
	for _, s := range statementsOf(policy) {
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
	sends := slices.ContainsFunc(s.Action, func(a string) bool { return isSend(a) || a == "sqs:*" || a == "*" })
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

// principals are whom a statement is about: services, accounts and roles, or everybody, as "*".
type principals []string

// UnmarshalJSON implements json.Unmarshaler.
func (p *principals) UnmarshalJSON(data []byte) error {
	if string(data) == `"*"` {
		*p = principals{"*"}
		return nil
	}
	var is map[string]oneOrMore
	if err := json.Unmarshal(data, &is); err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(is)) {
		*p = append(*p, is[kind]...)
	}
	return nil
}
