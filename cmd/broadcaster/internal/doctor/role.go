package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// A right is to do something with a resource, in a context: by condition key, what it is.
type right struct {
	resource string
	actions  []string
	context  map[string]string
}

// rights are what the broadcaster's role needs.
func (p *patient) rights() []right {
	changes, operations, reports := p.names()
	all := []right{
		{p.secretARN(p.sampleName()), []string{"secretsmanager:DescribeSecret"}, nil},
		{"*", []string{"secretsmanager:ListSecrets"}, nil},
		{p.tableARN(changes), []string{"dynamodb:Query", "dynamodb:PutItem", "dynamodb:ConditionCheckItem"}, nil},
		{p.tableARN(operations), []string{
			"dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem",
		}, nil},
		{p.tableARN(reports), []string{"dynamodb:Query"}, nil},
		{p.sampleFunction(), []string{"lambda:InvokeFunction", "lambda:GetFunctionConfiguration", "lambda:GetAlias", "lambda:ListTags"}, tagged(p.cfg.Env, p.cfg.Domain)},
		{p.arnOf("logs", "log-group:"+p.logGroup+":log-stream:sample"), []string{"logs:CreateLogStream", "logs:PutLogEvents"}, nil},
	}
	if p.queueARN != "" { // else it is said at the queue
		all = append(all, right{p.queueARN, []string{"sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}, nil})
	}
	if key := p.queue["KmsMasterKeyId"]; strings.HasPrefix(key, "arn:") { // a customer's, which the template gives to queue and tables; AWS's own needs no right
		all = append(
			all,
			right{key, []string{"kms:Decrypt", "kms:GenerateDataKey"}, p.through("sqs")},
			right{key, []string{"kms:Decrypt"}, p.through("dynamodb")},
		)
	}
	return all
}

// wrongs are what the role must not be allowed: to change what is in the log, to write reports, to invoke what another domain
// or nobody tagged.
func (p *patient) wrongs() []right {
	changes, _, reports := p.names()
	return []right{
		{p.tableARN(changes), []string{"dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteTable"}, nil},
		{p.tableARN(reports), []string{"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}, nil},
		{p.sampleFunction(), []string{"lambda:InvokeFunction"}, nil},
		{p.sampleFunction(), []string{"lambda:InvokeFunction"}, tagged(p.cfg.Env, p.lookalike())},
	}
}

// nevers are what has to be denied to the role, whatever else allows it: the values of any secret.
func (p *patient) nevers() []right {
	values := []string{
		"secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue", "secretsmanager:CreateSecret", "secretsmanager:PutSecretValue",
		"secretsmanager:UpdateSecret", "secretsmanager:UpdateSecretVersionStage", "secretsmanager:DeleteSecret", "secretsmanager:RestoreSecret", "secretsmanager:RotateSecret",
	}
	return []right{{p.secretARN(p.sampleName()), values, nil}, {p.secretARN("sample"), values, nil}}
}

// lookAtRole has IAM itself say whether the broadcaster's role may do what it has to, and no more than it must not.
func (p *patient) lookAtRole(ctx context.Context) {
	const check = "role"
	before := len(p.findings)
	for _, kind := range []struct {
		rights []right
		wrong  func(iamtypes.PolicyEvaluationDecisionType) bool
		says   string
	}{
		{p.rights(), isRefused, "it may not %s of %s"},
		{p.wrongs(), func(d iamtypes.PolicyEvaluationDecisionType) bool { return !isRefused(d) }, "it may %s of %s, and must not"},
		{p.nevers(), func(d iamtypes.PolicyEvaluationDecisionType) bool {
			return d != iamtypes.PolicyEvaluationDecisionTypeExplicitDeny
		}, "it is not denied to %s of %s, as it must be whatever allows it"},
	} {
		for _, r := range kind.rights {
			actions, err := p.decided(ctx, p.role, r, kind.wrong)
			if err != nil {
				p.dark(check, err)
				return
			}
			if len(actions) > 0 {
				p.ill(check, fmt.Sprintf(kind.says, strings.Join(actions, ", "), r.resource), p.redeploy())
			}
		}
	}
	if len(p.findings) == before {
		p.well(check)
	}
}

func isRefused(d iamtypes.PolicyEvaluationDecisionType) bool {
	return d != iamtypes.PolicyEvaluationDecisionTypeAllowed
}

// decided asks IAM what a role's own policies and its boundary allow, and returns the actions of which it decides so. What else
// may refuse them, as a policy of the organisation or of a key, is not in its answer.
func (p *patient) decided(ctx context.Context, role string, r right, so func(iamtypes.PolicyEvaluationDecisionType) bool) (actions []string, err error) {
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &role, ActionNames: r.actions, ResourceArns: []string{r.resource}}
	for key, value := range r.context {
		in.ContextEntries = append(in.ContextEntries, iamtypes.ContextEntry{ContextKeyName: &key, ContextKeyValues: []string{value}, ContextKeyType: iamtypes.ContextKeyTypeEnumString})
	}
	out, err := p.iam.SimulatePrincipalPolicy(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, result := range out.EvaluationResults {
		if so(result.EvalDecision) {
			actions = append(actions, aws.ToString(result.EvalActionName))
		}
	}
	return actions, nil
}

// tagged is the context of a function that a domain tagged for pushes.
func tagged(env, domain string) map[string]string {
	const prefix = "aws:ResourceTag/"
	return map[string]string{prefix + invalidation.PushTag: "true", prefix + invalidation.EnvTag: env, prefix + invalidation.DomainTag: domain}
}

// through is the context of a key that a service uses for the role.
func (p *patient) through(service string) map[string]string {
	suffix := ".amazonaws.com"
	if p.function.Partition == "aws-cn" {
		suffix += ".cn"
	}
	return map[string]string{"kms:ViaService": service + "." + p.function.Region + suffix}
}

// arnOf is of a resource in the function's account and Region.
func (p *patient) arnOf(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", p.function.Partition, service, p.function.Region, p.function.AccountID, resource)
}

func (p *patient) tableARN(name string) string { return p.arnOf("dynamodb", "table/"+name) }
func (p *patient) secretARN(name string) string {
	return p.arnOf("secretsmanager", "secret:"+name+"-a1B2c3")
}

// sampleFunction is one that need not be there.
func (p *patient) sampleFunction() string { return p.arnOf("lambda", "function:sample") }
