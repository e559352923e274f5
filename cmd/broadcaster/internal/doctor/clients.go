package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	taggingtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// lookAtClients looks at what the clients say of themselves, at the tags of those who take pushes, and at the functions that
// have the domain's tags: who reports nothing may be unable to.
func (p *patient) lookAtClients(ctx context.Context) {
	const check = "clients"
	_, _, table := p.names()
	reports, err := dynamodb.NewReports(p.tables, table).All(ctx)
	if err != nil {
		p.dark(check, err)
		return
	}
	before := len(p.findings)
	for _, who := range blind(reports) {
		p.ill(check, who+" cannot read the log: its caches live until their TTL ends", "let its role read it, or its network reach DynamoDB: its log says which")
	}
	reported, takes := map[string]bool{}, map[string]bool{}
	for _, r := range reports {
		function := unqualified(r.Function)
		reported[function] = true
		takes[function] = takes[function] || r.TakesInvalidations && function != ""
	}
	if err := p.lookAtTagged(ctx, check, reported); err != nil {
		p.dark(check, err)
		return
	}
	if len(p.findings) == before {
		p.well(check)
	}
	for _, function := range slices.Sorted(maps.Keys(takes)) {
		if takes[function] {
			p.lookAtTags(ctx, function)
		}
	}
}

// blind returns the functions of which an environment failed to read the log more often than not.
func blind(reports []wire.Report) []string {
	is := map[string]bool{}
	for _, r := range reports {
		if r.Counts.CheckFailures > r.Counts.Checks {
			is[r.Service+" ("+unqualified(r.Function)+")"] = true
		}
	}
	return slices.Sorted(maps.Keys(is))
}

// lookAtTagged looks at the functions that have the domain's tags, as far as their clients need.
func (p *patient) lookAtTagged(ctx context.Context, check string, reported map[string]bool) error {
	changes, _, reports := p.names()
	pages := tagging.NewGetResourcesPaginator(p.tags, &tagging.GetResourcesInput{
		ResourceTypeFilters: []string{"lambda:function"},
		TagFilters: []taggingtypes.TagFilter{
			{Key: aws.String(invalidation.EnvTag), Values: []string{p.cfg.Env}}, {Key: aws.String(invalidation.DomainTag), Values: []string{p.cfg.Domain}},
		},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, is := range page.ResourceTagMappingList {
			function := aws.ToString(is.ResourceARN)
			if function == p.functionARN() {
				continue
			}
			before := len(p.findings)
			if err := p.lookAtClientRole(ctx, check, function, changes, reports); err != nil {
				return err
			}
			if len(p.findings) == before && !reported[function] && slices.ContainsFunc(is.Tags, isPush) {
				p.ill(check, nameOf(function)+" is tagged for pushes and has reported nothing in a day, so it is not pushed to: it was not invoked, or nothing in it is wrapped by the client",
					"aws lambda get-function-configuration --function-name "+nameOf(function)+" --query Environment.Variables")
			}
		}
	}
	return nil
}

func isPush(t taggingtypes.Tag) bool {
	return aws.ToString(t.Key) == invalidation.PushTag && aws.ToString(t.Value) == "true"
}

// lookAtClientRole has IAM say whether a function may read the log and report.
func (p *patient) lookAtClientRole(ctx context.Context, check, function, changes, reports string) error {
	is, err := p.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &function})
	if codeOf(err) == notFound {
		return nil // it was deleted since it was listed
	}
	if err != nil {
		return err
	}
	for _, r := range []right{{p.tableARN(changes), []string{"dynamodb:Query"}, nil}, {p.tableARN(reports), []string{"dynamodb:PutItem"}, nil}} {
		refused, err := p.decided(ctx, aws.ToString(is.Role), r, isRefused)
		if err != nil {
			return err
		}
		for _, action := range refused {
			role := aws.ToString(is.Role)
			p.ill(check, fmt.Sprintf("%s may not %s of %s", nameOf(function), action, r.resource), fmt.Sprintf(
				`aws iam put-role-policy --role-name %s --policy-name %s --policy-document '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"%s","Resource":"%s"}]}'`,
				role[strings.LastIndex(role, "/")+1:], strings.ReplaceAll(action, ":", "-"), action, r.resource))
		}
	}
	return nil
}

// lookAtTags looks at a function whose environments say that they take pushes.
func (p *patient) lookAtTags(ctx context.Context, function string) {
	check := "push to " + nameOf(function)
	out, err := p.lambda.ListTags(ctx, &lambda.ListTagsInput{Resource: &function})
	switch {
	case codeOf(err) == notFound:
		return // it was deleted since it reported
	case err != nil:
		p.dark(check, err)
	case out.Tags[invalidation.PushTag] != "true" || out.Tags[invalidation.EnvTag] != p.cfg.Env || out.Tags[invalidation.DomainTag] != p.cfg.Domain:
		p.ill(check, "its clients take pushes, and its tags do not allow them: the log alone tells it",
			fmt.Sprintf("aws lambda tag-resource --resource %s --tags %s=true,%s=%s,%s=%s", function,
				invalidation.PushTag, invalidation.EnvTag, p.cfg.Env, invalidation.DomainTag, p.cfg.Domain))
	default:
		p.well(check)
	}
}

// nameOf returns a function's name.
func nameOf(function string) string { return function[strings.LastIndex(function, ":")+1:] }

func unqualified(arn string) string {
	parts := strings.Split(arn, ":")
	return strings.Join(parts[:min(7, len(parts))], ":")
}
