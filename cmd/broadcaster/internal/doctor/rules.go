package doctor

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
)

// defaultBus is the one on which AWS's own events come.
const defaultBus = "default"

// A rule sends to the queue or to the function.
type rule struct {
	name, bus, arn, target, pattern, schedule string
	on                                        bool
	foreign                                   bool // it takes nothing of this domain, but of another
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
	const check = "rules"
	before := len(p.findings)
	rules, err := p.rules(ctx)
	seen := len(p.findings) == before // all of them
	if err == nil {
		err = p.tryOthers(ctx, rules)
	}
	if err == nil && seen {
		err = p.tryRules(ctx, rules)
	}
	if err != nil {
		p.dark(check, err)
		return
	}
	for _, r := range rules {
		if !r.on {
			p.ill(check, "rule "+r.String()+" is disabled", "aws events enable-rule --name "+r.name+" --event-bus-name "+r.bus)
		}
	}
	if len(p.findings) == before {
		p.well(check)
	}
	p.lookAtQueuePolicy(rules)
	if seen {
		p.lookAtSchedule(rules)
	}
}

// tryRules has EventBridge itself say whether an enabled rule takes an event of each kind.
func (p *patient) tryRules(ctx context.Context, rules []rule) error {
	var none []string
	for _, told := range p.samples(p.place()) {
		taken, elsewhere, err := p.taken(ctx, rules, told)
		switch {
		case err != nil:
			return err
		case taken:
		case elsewhere != "":
			none = append(none, told.name+" (but "+elsewhere+", and AWS's events come to the bus default only)")
		default:
			none = append(none, told.name)
		}
	}
	if len(none) > 0 {
		p.ill("rules", "no enabled rule takes "+strings.Join(none, ", "), p.redeploy())
	}
	return nil
}

// taken reports whether an enabled rule takes an event; elsewhere is one that would but is on a bus to which the event does not
// come.
func (p *patient) taken(ctx context.Context, rules []rule, told sample) (taken bool, elsewhere string, err error) {
	for _, r := range rules {
		takes, err := p.takes(ctx, r, told)
		switch {
		case err != nil:
			return false, "", err
		case takes && r.on && (r.bus == defaultBus || !told.ofAWS):
			return true, "", nil
		case takes && r.on:
			elsewhere = r.String()
		}
	}
	return false, elsewhere, nil
}

// tryOthers has EventBridge say of each rule whether it takes events of other places: of a domain of a similar name, of one
// that nobody has, and of those that the pattern itself names.
func (p *patient) tryOthers(ctx context.Context, rules []rule) error {
	for i, r := range rules {
		others := append([]place{{p.cfg.Env, p.lookalike()}, {p.cfg.Env, "nobodys"}, {"elsewhere", p.cfg.Domain}}, p.named(r.pattern)...)
		for _, other := range others {
			name, err := p.takesAny(ctx, r, p.samples(other))
			if err != nil {
				return err
			}
			if name != "" {
				if rules[i].foreign, err = p.tellForeign(ctx, r, name, other); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// tellForeign says that a rule takes an event of another place, and reports whether it takes none of this one.
func (p *patient) tellForeign(ctx context.Context, r rule, event string, of place) (all bool, err error) {
	own, err := p.takesAny(ctx, r, p.samples(p.place()))
	if err != nil {
		return false, err
	}
	problem := fmt.Sprintf("rule %s takes %s of %s", r, event, of)
	if own != "" {
		p.ill("rules", fmt.Sprintf("%s: what it is to take has to begin with /bank/%s/%s/, with the slash at the end", problem, p.cfg.Env, p.cfg.Domain), p.redeploy())
		return false, nil
	}
	out, err := p.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &r.name, EventBusName: &r.bus})
	if err != nil {
		return false, err
	}
	fix := ""
	for _, target := range out.Targets {
		if aws.ToString(target.Arn) == r.target {
			fix = fmt.Sprintf("aws events remove-targets --rule %s --event-bus-name %s --ids %s", r.name, r.bus, aws.ToString(target.Id))
		}
	}
	p.ill("rules", problem+", and nothing of this domain", fix)
	return true, nil
}

// named returns the other places that a pattern names.
func (p *patient) named(pattern string) (others []place) {
	for _, match := range regexp.MustCompile(`/bank/([a-z0-9-]+)/([a-z0-9-]+)`).FindAllStringSubmatch(pattern, -1) {
		if is := (place{match[1], match[2]}); is != p.place() && !slices.Contains(others, is) {
			others = append(others, is)
		}
	}
	return others
}

// takesAny returns the name of a sample that a rule takes.
func (p *patient) takesAny(ctx context.Context, r rule, samples []sample) (string, error) {
	for _, told := range samples {
		if takes, err := p.takes(ctx, r, told); err != nil || takes {
			return told.name, err
		}
	}
	return "", nil
}

// takes has EventBridge say whether a rule takes an event.
func (p *patient) takes(ctx context.Context, r rule, told sample) (bool, error) {
	if r.pattern == "" {
		return false, nil
	}
	out, err := p.events.TestEventPattern(ctx, &eventbridge.TestEventPatternInput{EventPattern: &r.pattern, Event: &told.event})
	if err != nil {
		return false, fmt.Errorf("trying rule %s: %w", r, err)
	}
	return out.Result, nil
}

// rules returns the rules of every bus, and says which it could not look at.
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
				if err != nil { // it may be another domain's, which whoever looks may not look at
					p.dark("rules", fmt.Errorf("%s, which sends to %s: %w", name, target, err))
					continue
				}
				all = append(all, rule{
					name: name, bus: aws.ToString(bus.Name), arn: aws.ToString(is.Arn), target: target,
					pattern: aws.ToString(is.EventPattern), schedule: aws.ToString(is.ScheduleExpression), on: strings.HasPrefix(string(is.State), "ENABLED"),
				})
			}
		}
	}
	return all, nil
}
