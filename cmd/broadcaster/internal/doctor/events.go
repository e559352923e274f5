package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// leastReceives is how often a message has to be received before it is parked: fewer park changes in a short outage.
const leastReceives = 5

// lookAtQueue looks at the queue that the function's own configuration names, and at its dead-letter queue.
func (p *patient) lookAtQueue(ctx context.Context) {
	const check = "queue"
	p.queueURL = p.variables["BROADCASTER_QUEUE_URL"]
	if p.queueURL == "" {
		p.ill(check, "the function is not told its queue: what is left pending waits for the next event or tick", redeploy)
		return
	}
	attributes, err := p.attributesOf(ctx, p.queueURL)
	if err != nil {
		p.dark(check, err)
		return
	}
	p.queueARN = attributes["QueueArn"]
	before := len(p.findings)
	if seconds, _ := strconv.Atoi(attributes["VisibilityTimeout"]); time.Duration(seconds)*time.Second < p.timeout {
		p.ill(check, fmt.Sprintf("its visibility timeout of %ds is shorter than the function's timeout of %v", seconds, p.timeout),
			p.setQueue("VisibilityTimeout", strconv.Itoa(int(p.timeout.Seconds()))))
	}
	if !letsEventsIn(attributes["Policy"]) {
		p.ill(check, "its policy does not let EventBridge send to it: every event is lost", p.setQueue("Policy", p.policy()))
	}
	var redrive struct {
		Target  string      `json:"deadLetterTargetArn"`
		Receive json.Number `json:"maxReceiveCount"`
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(attributes["RedrivePolicy"], `\"`, `"`)), &redrive); err != nil || redrive.Target == "" {
		p.ill(check, "it has no dead-letter queue: what cannot be handled comes back for days", redeploy)
	} else if n, _ := redrive.Receive.Int64(); n < leastReceives {
		redrive.Receive = json.Number(strconv.Itoa(leastReceives))
		text, _ := json.Marshal(redrive) // texts and a number
		p.ill(check, fmt.Sprintf("it parks a message after %d receives: a short outage is enough", n), p.setQueue("RedrivePolicy", string(text)))
	}
	if len(p.findings) == before {
		p.well(check)
	}
	if redrive.Target != "" {
		p.lookAtDeadLetters(ctx, redrive.Target)
	}
}

func (p *patient) attributesOf(ctx context.Context, url string) (map[string]string, error) {
	out, err := p.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

// setQueue is the command that sets one attribute of the queue.
func (p *patient) setQueue(attribute, value string) string {
	text, _ := json.Marshal(map[string]string{attribute: value}) // strings
	return fmt.Sprintf("aws sqs set-queue-attributes --queue-url %s --attributes '%s'", p.queueURL, text)
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

const eventsService = "events.amazonaws.com"

// letsEventsIn reads a queue's policy as far as to see that EventBridge is meant. Whether a condition then keeps a rule out
// only its deliveries show.
func letsEventsIn(policy string) bool {
	var is struct {
		Statement []struct {
			Effect    string
			Principal struct{ Service oneOrMore }
			Action    oneOrMore
		}
	}
	if json.Unmarshal([]byte(policy), &is) != nil {
		return false
	}
	for _, s := range is.Statement {
		sends := slices.ContainsFunc(s.Action, func(a string) bool { return strings.EqualFold(a, "sqs:SendMessage") || a == "sqs:*" || a == "*" })
		if s.Effect == "Allow" && sends && slices.Contains(s.Principal.Service, eventsService) {
			return true
		}
	}
	return false
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

func (p *patient) lookAtDeadLetters(ctx context.Context, queue string) {
	const check = "dead-letter queue"
	name := queue[strings.LastIndex(queue, ":")+1:]
	url, err := p.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		p.dark(check, err)
		return
	}
	attributes, err := p.attributesOf(ctx, aws.ToString(url.QueueUrl))
	if err != nil {
		p.dark(check, err)
		return
	}
	if n := attributes["ApproximateNumberOfMessages"]; n != "0" {
		p.ill(check, n+" messages are parked: see why with broadcaster explain before you send them again", "aws sqs start-message-move-task --source-arn "+queue)
		return
	}
	p.well(check)
}

// lookAtEventSource looks at what hands the queue's messages to the function.
func (p *patient) lookAtEventSource(ctx context.Context) {
	const check = "event source"
	if p.queueARN == "" {
		return // said at the queue
	}
	out, err := p.lambda.ListEventSourceMappings(ctx, &lambda.ListEventSourceMappingsInput{EventSourceArn: &p.queueARN})
	if err != nil {
		p.dark(check, err)
		return
	}
	before, found := len(p.findings), false
	for _, m := range out.EventSourceMappings {
		if !strings.HasPrefix(aws.ToString(m.FunctionArn), p.functionARN()) {
			continue
		}
		found = true
		mend := "aws lambda update-event-source-mapping --uuid " + aws.ToString(m.UUID)
		if state := aws.ToString(m.State); state == "Disabled" || state == "Disabling" {
			p.ill(check, "it is disabled: no message is handled", mend+" --enabled")
		}
		if !slices.Contains(m.FunctionResponseTypes, "ReportBatchItemFailures") {
			p.ill(check, "one message that comes back brings its whole batch: it does not report batch item failures", mend+" --function-response-types ReportBatchItemFailures")
		}
	}
	switch {
	case !found:
		p.ill(check, "nothing hands the queue's messages to the function",
			fmt.Sprintf("aws lambda create-event-source-mapping --function-name %s --event-source-arn %s --batch-size 10 --function-response-types ReportBatchItemFailures", p.cfg.Function, p.queueARN))
	case len(p.findings) == before:
		p.well(check)
	}
}

// functionARN is without a qualifier.
func (p *patient) functionARN() string { return unqualified(p.function.String()) }

// A rule sends to the queue or to the function.
type rule struct{ name, pattern, schedule string }

// lookAtRules looks at the rules of the default bus that send to the queue or the function: whether they are enabled, take
// what tells of a change, take nothing of another domain, and tick.
func (p *patient) lookAtRules(ctx context.Context) {
	const check, schedule = "rules", "schedule"
	rules, off, err := p.rules(ctx)
	if err != nil {
		p.dark(check, err)
		return
	}
	before, ticks := len(p.findings), false
	for _, name := range off {
		p.ill(check, "rule "+name+" is disabled", "aws events enable-rule --name "+name)
	}
	for _, r := range rules {
		ticks = ticks || r.schedule != ""
	}
	for _, told := range p.samples(p.cfg.Domain) {
		taken, err := p.taken(ctx, rules, told.event)
		switch {
		case err != nil:
			p.dark(check, err)
			return
		case taken == "":
			p.ill(check, "no rule takes "+told.name, redeploy)
		}
	}
	for _, told := range p.samples(p.cfg.Domain + "-archive") {
		taken, err := p.taken(ctx, rules, told.event)
		switch {
		case err != nil:
			p.dark(check, err)
			return
		case taken != "":
			p.ill(check, fmt.Sprintf("rule %s takes %s of domain %s-archive: its prefix must end with a slash", taken, told.name, p.cfg.Domain), redeploy)
		}
	}
	if len(p.findings) == before {
		p.well(check)
	}
	if !ticks {
		p.ill(schedule, "no enabled rule ticks: a change whose event is lost ends with the TTL (a schedule of EventBridge Scheduler is not seen here)", redeploy)
		return
	}
	p.well(schedule)
}

// rules returns the enabled rules and the names of the disabled ones.
func (p *patient) rules(ctx context.Context) (on []rule, off []string, err error) {
	targets := []string{p.functionARN(), p.functionARN() + ":live"}
	if p.queueARN != "" {
		targets = append(targets, p.queueARN)
	}
	for _, target := range targets {
		names, err := p.events.ListRuleNamesByTarget(ctx, &eventbridge.ListRuleNamesByTargetInput{TargetArn: &target})
		if err != nil {
			return nil, nil, err
		}
		for _, name := range names.RuleNames {
			is, err := p.events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &name})
			switch {
			case err != nil:
				return nil, nil, err
			case !strings.HasPrefix(string(is.State), "ENABLED"):
				off = append(off, name)
			default:
				on = append(on, rule{name, aws.ToString(is.EventPattern), aws.ToString(is.ScheduleExpression)})
			}
		}
	}
	return on, off, nil
}

// taken returns the name of a rule that takes an event, as EventBridge itself says.
func (p *patient) taken(ctx context.Context, rules []rule, event string) (string, error) {
	for _, r := range rules {
		if r.pattern == "" {
			continue
		}
		out, err := p.events.TestEventPattern(ctx, &eventbridge.TestEventPatternInput{EventPattern: &r.pattern, Event: &event})
		switch {
		case err != nil:
			return "", fmt.Errorf("trying rule %s: %w", r.name, err)
		case out.Result:
			return r.name, nil
		}
	}
	return "", nil
}

// A sample is an event about a secret of a domain, of a kind that has to arrive.
type sample struct{ name, event string }

func (p *patient) samples(domain string) []sample {
	name := "/bank/" + p.cfg.Env + "/" + domain + "/doctor/sample"
	secret := fmt.Sprintf("arn:%s:secretsmanager:%s:%s:secret:%s-a1B2c3", p.function.Partition, p.function.Region, p.function.AccountID, name)
	of := func(detailType, source string, resources []string, detail map[string]any) string {
		text, _ := json.Marshal(map[string]any{ // strings
			"version": "0", "id": "0d0b4a3e-5b0f-4b43-9d3c-2f6d5a1b7c11", "detail-type": detailType, "source": source,
			"account": p.function.AccountID, "time": p.cfg.Now().UTC().Format(time.RFC3339), "region": p.function.Region, "resources": resources, "detail": detail,
		})
		return string(text)
	}
	const aws, trail, service = "aws.secretsmanager", "AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"
	const from = "secretsmanager.amazonaws.com"
	return []sample{
		{"Secret Label Updated", of("Secret Label Updated", aws, []string{secret}, map[string]any{"name": name, "labelUpdated": "AWSCURRENT", "versionId": "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE"})},
		{"DeleteSecret", of(trail, aws, []string{}, map[string]any{
			"eventSource": from, "eventName": "DeleteSecret", "requestParameters": map[string]any{"secretId": name}, "responseElements": map[string]any{"arn": secret, "name": name},
		})},
		{"RotationSucceeded", of(service, aws, []string{}, map[string]any{
			"eventSource": from, "eventName": "RotationSucceeded", "additionalEventData": map[string]any{"SecretId": secret},
		})},
		{"Secret Change Hint", of("Secret Change Hint", "secret-broadcaster", []string{}, map[string]any{"name": name})},
	}
}
