package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
)

// defaultBus is the one on which AWS's own events come.
const defaultBus = "default"

// A rule sends to the queue or to the function.
type rule struct {
	name, bus, arn, pattern, schedule string
	on, toQueue                       bool
}

// String names the rule, and its bus if that is not the usual one.
func (r rule) String() string {
	if r.bus == defaultBus {
		return r.name
	}
	return r.name + " of bus " + r.bus
}

// lookAtRules looks at the rules that send to the queue or the function: whether they are enabled and let in, take what tells
// of a change, take nothing of another domain, and tick.
func (p *patient) lookAtRules(ctx context.Context) {
	const check, schedule = "rules", "schedule"
	rules, err := p.rules(ctx)
	if err != nil {
		p.dark(check, err)
		return
	}
	p.lookAtQueuePolicy(rules)
	before, ticks := len(p.findings), false
	for _, r := range rules {
		if !r.on {
			p.ill(check, "rule "+r.String()+" is disabled", "aws events enable-rule --name "+r.name+" --event-bus-name "+r.bus)
		}
		ticks = ticks || r.on && r.schedule != ""
	}
	rules = slices.DeleteFunc(rules, func(r rule) bool { return !r.on })
	if err := p.tryRules(ctx, rules); err != nil {
		p.dark(check, err)
		return
	}
	if len(p.findings) == before {
		p.well(check)
	}
	if !ticks {
		p.ill(schedule, "no enabled rule ticks: a change whose event is lost ends with the TTL (a schedule of EventBridge Scheduler is not seen here)", p.redeploy())
		return
	}
	p.well(schedule)
}

// tryRules has EventBridge itself say which rule takes an event of each kind, of this domain and of one of a similar name.
func (p *patient) tryRules(ctx context.Context, rules []rule) error {
	const check = "rules"
	for _, told := range p.samples(p.cfg.Domain) {
		taken, elsewhere, err := p.taken(ctx, rules, told)
		switch {
		case err != nil:
			return err
		case elsewhere != "":
			p.ill(check, fmt.Sprintf("no rule takes %s but %s: AWS's events come to the bus default only", told.name, elsewhere), p.redeploy())
		case taken == "":
			p.ill(check, "no rule takes "+told.name, p.redeploy())
		}
	}
	for _, told := range p.samples(p.cfg.Domain + "-archive") {
		taken, elsewhere, err := p.taken(ctx, rules, told)
		switch {
		case err != nil:
			return err
		case taken+elsewhere != "":
			p.ill(check, fmt.Sprintf("rule %s takes %s of domain %s-archive: its prefix must end with a slash", taken+elsewhere, told.name, p.cfg.Domain), p.redeploy())
		}
	}
	return nil
}

// rules returns the rules of every bus.
func (p *patient) rules(ctx context.Context) (all []rule, err error) {
	targets := []string{p.functionARN(), p.functionARN() + ":live"}
	if p.queueARN != "" {
		targets = append(targets, p.queueARN)
	}
	buses, err := p.events.ListEventBuses(ctx, &eventbridge.ListEventBusesInput{Limit: aws.Int32(100)})
	if err != nil {
		return nil, err
	}
	for _, bus := range buses.EventBuses {
		for _, target := range targets {
			names, err := p.events.ListRuleNamesByTarget(ctx, &eventbridge.ListRuleNamesByTargetInput{TargetArn: &target, EventBusName: bus.Name})
			if err != nil {
				return nil, err
			}
			for _, name := range names.RuleNames {
				is, err := p.events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &name, EventBusName: bus.Name})
				if err != nil {
					return nil, err
				}
				all = append(all, rule{
					name: name, bus: aws.ToString(bus.Name), arn: aws.ToString(is.Arn), pattern: aws.ToString(is.EventPattern), schedule: aws.ToString(is.ScheduleExpression),
					on: strings.HasPrefix(string(is.State), "ENABLED"), toQueue: target == p.queueARN,
				})
			}
		}
	}
	return all, nil
}

// taken returns the rule that takes an event, as EventBridge itself says; elsewhere, one that would but is on a bus to which
// the event does not come.
func (p *patient) taken(ctx context.Context, rules []rule, told sample) (taken, elsewhere string, err error) {
	for _, r := range rules {
		if r.pattern == "" {
			continue
		}
		out, err := p.events.TestEventPattern(ctx, &eventbridge.TestEventPatternInput{EventPattern: &r.pattern, Event: &told.event})
		switch {
		case err != nil:
			return "", "", fmt.Errorf("trying rule %s: %w", r, err)
		case out.Result && (r.bus == defaultBus || !told.ofAWS):
			return r.String(), "", nil
		case out.Result:
			elsewhere = r.String()
		}
	}
	return "", elsewhere, nil
}
