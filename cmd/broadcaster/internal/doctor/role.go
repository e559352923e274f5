package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// A right is what a role has to be allowed.
type right struct {
	resource string
	actions  []string
}

// rights are what the broadcaster's role needs, but for pushes, which depend on each function's tags.
func (p *patient) rights() []right {
	changes, operations, reports := p.names()
	return []right{
		{p.secretARN(), []string{"secretsmanager:DescribeSecret"}},
		{"*", []string{"secretsmanager:ListSecrets"}},
		{p.tableARN(changes), []string{"dynamodb:Query", "dynamodb:PutItem", "dynamodb:ConditionCheckItem"}},
		{p.tableARN(operations), []string{
			"dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem",
		}},
		{p.tableARN(reports), []string{"dynamodb:Query"}},
		{p.queueARN, []string{"sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}},
	}
}

// lookAtRole has IAM itself say whether the broadcaster's role may do what it has to, and that it may read no value.
func (p *patient) lookAtRole(ctx context.Context) {
	const check = "role"
	before := len(p.findings)
	for _, r := range p.rights() {
		if r.resource == "" {
			continue // said at the queue
		}
		_, refused, err := p.may(ctx, p.role, r)
		if err != nil {
			p.dark(check, err)
			return
		}
		if len(refused) > 0 {
			p.ill(check, fmt.Sprintf("it may not %s of %s", strings.Join(refused, ", "), r.resource), p.redeploy())
		}
	}
	allowed, _, err := p.may(ctx, p.role, right{p.secretARN(), []string{"secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"}})
	switch {
	case err != nil:
		p.dark(check, err)
	case len(allowed) > 0:
		p.ill(check, fmt.Sprintf("it may %s of the domain's secrets: it must not", strings.Join(allowed, ", ")), p.redeploy())
	case len(p.findings) == before:
		p.well(check)
	}
}

// may asks IAM what a role's own policies and its boundary allow. What else may refuse it, as a policy of the organisation or
// of a key, is not in its answer.
func (p *patient) may(ctx context.Context, role string, r right) (allowed, refused []string, err error) {
	out, err := p.iam.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &role, ActionNames: r.actions, ResourceArns: []string{r.resource}})
	if err != nil {
		return nil, nil, err
	}
	for _, result := range out.EvaluationResults {
		action := aws.ToString(result.EvalActionName)
		if result.EvalDecision == iamtypes.PolicyEvaluationDecisionTypeAllowed {
			allowed = append(allowed, action)
		} else {
			refused = append(refused, action)
		}
	}
	return allowed, refused, nil
}

func (p *patient) tableARN(name string) string {
	return fmt.Sprintf("arn:%s:dynamodb:%s:%s:table/%s", p.function.Partition, p.function.Region, p.function.AccountID, name)
}

// secretARN is of a secret of the domain, which need not be there.
func (p *patient) secretARN() string {
	return fmt.Sprintf("arn:%s:secretsmanager:%s:%s:secret:%s-a1B2c3", p.function.Partition, p.function.Region, p.function.AccountID, sampleName(p.cfg.Env, p.cfg.Domain))
}
