package doctor_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"
)

// A call is one of AWS's, as IAM sees it.
type call struct{ Action, Resource string }

// A watch notes the calls that are made, and refuses those of one action.
type watch struct {
	d       *domain
	calls   []call
	refused string
}

func watched(d *domain) *watch {
	w := &watch{d: d}
	d.on.APIOptions = append(d.on.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("watch", w.see), middleware.After)
	})
	return w
}

func (w *watch) see(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	action := awsmiddleware.GetServiceID(ctx) + ":" + awsmiddleware.GetOperationName(ctx)
	for from, to := range map[string]string{ // what IAM calls otherwise
		"Lambda:": "lambda:", "SQS:": "sqs:", "EventBridge:": "events:", "DynamoDB:": "dynamodb:", "CloudTrail:": "cloudtrail:", "CloudWatch:": "cloudwatch:",
		"IAM:": "iam:", "Resource Groups Tagging API:": "tag:", ":Invoke": ":InvokeFunction",
	} {
		action = strings.Replace(action, from, to, 1)
	}
	if is := (call{action, w.resource(in.Parameters)}); !slices.Contains(w.calls, is) {
		w.calls = append(w.calls, is)
	}
	if action == w.refused {
		return middleware.InitializeOutput{}, middleware.Metadata{}, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not allowed"}
	}
	return next.HandleInitialize(ctx, in)
}

// resource is what a call is about; * if AWS cannot say which. The account is that of all examples.
func (w *watch) resource(in any) string {
	function := func(name, qualifier *string) string {
		arn := w.d.arn("lambda", "function:"+strings.TrimPrefix(aws.ToString(name), w.d.arn("lambda", "function:")))
		if qualifier != nil {
			arn += ":" + *qualifier
		}
		return arn
	}
	of := "*"
	switch in := in.(type) {
	case *lambda.GetFunctionConfigurationInput:
		of = function(in.FunctionName, in.Qualifier)
	case *lambda.GetFunctionConcurrencyInput:
		of = function(in.FunctionName, nil)
	case *lambda.GetAliasInput:
		of = function(in.FunctionName, nil)
	case *lambda.InvokeInput:
		of = function(in.FunctionName, in.Qualifier)
	case *lambda.ListTagsInput:
		of = function(in.Resource, nil)
	case *sqs.GetQueueAttributesInput:
		of = w.d.arn("sqs", (*in.QueueUrl)[strings.LastIndex(*in.QueueUrl, "/")+1:])
	case *sqs.GetQueueUrlInput:
		of = w.d.arn("sqs", *in.QueueName)
	case *eventbridge.DescribeRuleInput:
		of = w.d.arn("events", "rule/"+*in.Name)
	case *eventbridge.ListTargetsByRuleInput:
		of = w.d.arn("events", "rule/"+*in.Rule)
	case *iam.SimulatePrincipalPolicyInput:
		of = *in.PolicySourceArn
	case *awsdynamodb.DescribeTableInput:
		of = w.d.arn("dynamodb", "table/"+*in.TableName)
	case *awsdynamodb.DescribeContinuousBackupsInput:
		of = w.d.arn("dynamodb", "table/"+*in.TableName)
	case *awsdynamodb.DescribeTimeToLiveInput:
		of = w.d.arn("dynamodb", "table/"+*in.TableName)
	case *awsdynamodb.QueryInput:
		of = w.d.arn("dynamodb", "table/"+*in.TableName)
	case *awsdynamodb.GetItemInput:
		of = w.d.arn("dynamodb", "table/"+*in.TableName)
	case *awsdynamodb.BatchGetItemInput:
		for name := range in.RequestItems {
			of = w.d.arn("dynamodb", "table/"+name)
		}
	}
	return strings.ReplaceAll(of, w.d.account, "111122223333")
}

var update = flag.Bool("update", false, "write golden files anew") //nolint:gochecknoglobals // a flag of the test binary

// TestTheCallsThatTheDoctorMakes are in testdata/calls.json, of which test/infra asks whether people on call may make them.
func TestTheCallsThatTheDoctorMakes(t *testing.T) {
	d := deployed(t)
	w := watched(d)
	d.findings()
	slices.SortFunc(w.calls, func(a, b call) int { return strings.Compare(a.Action+a.Resource, b.Action+b.Resource) })
	text, err := json.MarshalIndent(w.calls, "", "  ")
	d.must(err)
	const file = "testdata/calls.json"
	if *update {
		d.must(os.WriteFile(file, append(text, '\n'), 0o600))
	}
	want, err := os.ReadFile(file)
	d.must(err)
	if diff := cmp.Diff(string(want), string(text)+"\n"); diff != "" {
		t.Errorf("go test -update writes %s anew (-want +got):\n%s", file, diff)
	}
}

// TestWhatMayNotBeLookedAtIsNeitherWellNorIll: it is said which permission is missing.
func TestWhatMayNotBeLookedAtIsNeitherWellNorIll(t *testing.T) {
	d := deployed(t)
	w := watched(d)
	d.findings()
	var actions []string
	for _, c := range w.calls {
		actions = append(actions, c.Action)
	}
	slices.Sort(actions)
	for _, w.refused = range slices.Compact(actions) {
		said := false
		for _, f := range d.findings() {
			if !f.OK && f.Lacks != w.refused && !strings.Contains(f.Problem, w.refused) {
				t.Errorf("without %s: %+v", w.refused, f)
			}
			said = said || strings.Contains(f.Lacks+f.Problem+f.Note, w.refused)
		}
		if !said {
			t.Errorf("nothing is said of %s", w.refused)
		}
	}
}
