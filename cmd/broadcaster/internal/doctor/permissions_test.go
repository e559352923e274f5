package doctor_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"sync"
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
	d      *domain
	refuse func(call) bool

	mu    sync.Mutex // the store is asked several things at once
	calls []call
}

func watched(d *domain) *watch {
	w := &watch{d: d, refuse: func(call) bool { return false }}
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
	is := call{action, w.resource(in.Parameters)}
	w.mu.Lock()
	if !slices.Contains(w.calls, is) {
		w.calls = append(w.calls, is)
	}
	w.mu.Unlock()
	if w.refuse(is) {
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
	for _, action := range slices.Compact(actions) {
		w.refuse = func(c call) bool { return c.Action == action }
		said := false
		for _, f := range d.findings() {
			if !f.OK && f.Lacks != action && !strings.Contains(f.Problem, action) {
				t.Errorf("without %s: %+v", action, f)
			}
			said = said || strings.Contains(f.Lacks+f.Problem+f.Note, action)
		}
		if !said {
			t.Errorf("nothing is said of %s", action)
		}
	}
}

// TestARuleThatMayNotBeLookedAtIsNamed, as another domain's that sends to this queue; the others are looked at.
func TestARuleThatMayNotBeLookedAtIsNamed(t *testing.T) {
	d := deployed(t)
	d.rule("prod-kyc-events", strings.ReplaceAll(pattern, "payments", "kyc"), "")
	w := watched(d)
	w.refuse = func(c call) bool {
		return c.Action == "events:DescribeRule" && strings.HasSuffix(c.Resource, "prod-kyc-events")
	}
	want := "rules: these credentials may not events:DescribeRule: prod-kyc-events, which sends to " + d.arn("sqs", function) + ": "
	if ill, _ := d.examine(); len(ill) != 1 || !strings.HasPrefix(ill[0], want) {
		t.Errorf("got %q, want %q", ill, want)
	}
	_, err := d.events.DisableRule(t.Context(), &eventbridge.DisableRuleInput{Name: aws.String("prod-payments-secret-call")})
	d.must(err)
	if ill, _ := d.examine(); len(ill) != 2 {
		t.Errorf("a rule is disabled, and another may take what it took: %q", ill)
	}
}
