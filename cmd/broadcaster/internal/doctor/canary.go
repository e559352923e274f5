package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventstypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// canaryChangedWithin is less than the canary's shortest interval: a date that is older is of a change before.
const canaryChangedWithin = 10 * time.Minute

// lookAtCanary looks at what is known of the canary's newest change, and at what that shows of AWS.
func (p *patient) lookAtCanary(ctx context.Context) {
	const check = "canary"
	function := p.cfg.Env + "-" + p.cfg.Domain + "-canary"
	_, err := p.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &function})
	switch {
	case codeOf(err) == notFound:
		p.note(check, "there is none")
		p.assumed(invalidation.SecretRow{}, history.Row{})
		return
	case err != nil:
		p.dark(check, err)
		return
	}
	p.hasCanary = true
	secret, change, err := p.newest(ctx, "/bank/"+p.cfg.Env+"/"+p.cfg.Domain+"/secret-broadcaster/canary")
	if err != nil {
		p.dark(check, err)
		return
	}
	every, err := p.lookAtCanaryRule(ctx, check, function)
	if err != nil {
		p.dark(check, err)
		return
	}
	fix := fmt.Sprintf("aws logs filter-log-events --log-group-name /aws/lambda/%s --filter-pattern '{ $.msg = \"the canary failed\" }'", function)
	switch age := p.cfg.Now().Sub(change.Time).Round(time.Minute); {
	case change.Revision == 0:
		p.ill(check, "no change of its secret has ever come: it does not run, or its changes do not arrive", fix)
	case every == 0: // said at its rule
	case age > 2*every: // as its alarm has it
		p.ill(check, fmt.Sprintf("the newest change of its secret came %v ago, and one has to come every %v: it does not run, or its changes do not arrive", age, every), fix)
	default:
		p.note(check, fmt.Sprintf("its newest change came %v ago, as revision %d", age, change.Revision))
	}
	p.assumed(secret, change)
}

// lookAtCanaryRule looks at what has the canary change its secret, and returns how often; 0 if nothing does.
func (p *patient) lookAtCanaryRule(ctx context.Context, check, name string) (every time.Duration, err error) {
	is, err := p.events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &name})
	switch {
	case codeOf(err) == notFound:
		p.ill(check, "nothing has it change its secret: the rule "+name+" is not there", p.redeploy())
		return 0, nil
	case err != nil:
		return 0, err
	case is.State == eventstypes.RuleStateDisabled:
		p.ill(check, "rule "+name+" is disabled", "aws events enable-rule --name "+name)
		return 0, nil
	}
	return intervalOf(aws.ToString(is.ScheduleExpression)), nil
}

// newest returns a secret's row and its newest change.
func (p *patient) newest(ctx context.Context, name string) (secret invalidation.SecretRow, change history.Row, err error) {
	changes, operations, _ := p.names()
	store := dynamodb.New(p.tables, changes, operations)
	known, err := store.Load(ctx, []string{name})
	secret = known.Secrets[name]
	if err != nil || secret.Revision == 0 {
		return secret, change, err
	}
	for change, err = range store.Rows(ctx, history.Span{From: secret.Revision, To: secret.Revision}) {
		if err != nil {
			break
		}
	}
	return secret, change, err
}

// assumed says what of AWS a change of the canary's has shown: all but its first are roll backs. What is not
// shown is not wrong.
func (p *patient) assumed(secret invalidation.SecretRow, change history.Row) {
	told := func(c invalidation.Cause) bool { return c.DetailType == "Secret Label Updated" }
	moved := !secret.LastChanged.IsZero() && change.Time.Sub(secret.LastChanged) < canaryChangedWithin
	shown := func(is bool) string {
		if is {
			return fmt.Sprintf("shown by revision %d", change.Revision)
		}
		return "not shown yet by a change of the canary"
	}
	const never = "not shown: no change of the canary can"
	for _, of := range []struct{ assumption, note string }{
		{"Secret Label Updated tells of a moved AWSCURRENT", shown(slices.ContainsFunc(change.Causes, told))},
		{"a moved AWSCURRENT moves LastChangedDate, with milliseconds", shown(moved && secret.LastChanged.Nanosecond() != 0)},
		{"a deletion and a restoration move LastChangedDate", never},
		{"a replica's change is told in its own Region", never},
		{"Secrets Manager's answers are late by a minute at most", never},
	} {
		p.note("assumed of AWS: "+of.assumption, of.note)
	}
}
