package lambda

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// Tags implements history.Tags. What it asks for has nothing of a function's environment, so whoever uses it need not be allowed
// to see that. It is safe for concurrent use.
type Tags struct {
	client *lambda.Client
	here   arn.ARN
}

var _ history.Tags = (*Tags)(nil)

// NewTags returns a Tags that uses the client. A function that is given by its name is one of the ARN's partition and account, in
// a Region.
func NewTags(client *lambda.Client, of arn.ARN, region string) *Tags {
	return &Tags{client, arn.ARN{Partition: of.Partition, Service: "lambda", Region: region, AccountID: of.AccountID}}
}

// Tags implements history.Tags. It asks for an alias, which has to be there, and for the function's tags; whether a version is
// there it does not ask.
func (t *Tags) Tags(ctx context.Context, function string) (map[string]string, error) {
	name, qualifier := split(function)
	if qualifier != "" && !isVersion(qualifier) {
		if _, err := t.client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &name, Name: &qualifier}); err != nil {
			return nil, classed(err)
		}
	}
	whole := t.whole(name)
	out, err := t.client.ListTags(ctx, &lambda.ListTagsInput{Resource: &whole})
	if err != nil {
		return nil, classed(err)
	}
	return out.Tags, nil
}

// whole returns the ARN of a function that is named in a form that Lambda takes.
func (t *Tags) whole(name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	is := t.here
	if account, of, partial := strings.Cut(name, ":function:"); partial {
		is.AccountID, name = account, of
	}
	is.Resource = "function:" + name
	return is.String()
}
