// Package doctor looks at a deployed domain as an engineer would who cannot tell why nothing arrives: from the function's
// own configuration to its queue, rules, tables, trail and clients. It only looks. Each thing that is wrong it names with
// the command that mends it.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
)

// A Finding is what one look came to.
type Finding struct {
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem"` // what is wrong, or why it could not be looked at
	Fix     string `json:"fix"`     // the command that mends it, or what to do; empty if that is up to whoever reads it
	// Note says more of what is well; mostly empty.
	Note string `json:"note,omitempty"`
	// Lacks is the permission without which it could not be looked at: then nothing is known of it.
	Lacks string `json:"lacks,omitempty"`
}

// Config says which domain to look at.
type Config struct {
	AWS                   aws.Config
	Env, Domain, Function string
	// Commands are the names of the commands that the function takes, each through the alias of its name.
	Commands []string
	Now      func() time.Time // time.Now if nil
}

// A patient is a domain that is being looked at.
type patient struct {
	cfg    Config
	lambda *lambda.Client
	sqs    *sqs.Client
	events *eventbridge.Client
	tables *awsdynamodb.Client
	trails *cloudtrail.Client
	iam    *iam.Client
	tags   *tagging.Client
	alarms *cloudwatch.Client

	function       arn.ARN
	timeout        time.Duration
	variables      map[string]string // the function's
	role           string            // the function's
	logGroup       string            // the function's
	queueURL       string
	queueARN       string
	queue          map[string]string // its attributes; nil if they could not be looked at
	deadLettersARN string            // empty for none
	tick           time.Duration     // how often the schedule comes; rarest, if that is not known
	hasCanary      bool

	findings []Finding
}

// Examine looks at a domain and returns what it found, in the order in which an event comes by.
func Examine(ctx context.Context, cfg Config) []Finding {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &patient{
		cfg: cfg, tick: rarest, lambda: lambda.NewFromConfig(cfg.AWS), sqs: sqs.NewFromConfig(cfg.AWS), events: eventbridge.NewFromConfig(cfg.AWS),
		tables: awsdynamodb.NewFromConfig(cfg.AWS), trails: cloudtrail.NewFromConfig(cfg.AWS), iam: iam.NewFromConfig(cfg.AWS), tags: tagging.NewFromConfig(cfg.AWS),
		alarms: cloudwatch.NewFromConfig(cfg.AWS),
	}
	if !p.lookAtFunction(ctx) {
		return p.findings // all else is known from it
	}
	p.lookAtTrail(ctx)
	p.lookAtArchive(ctx)
	p.lookAtQueue(ctx)
	p.lookAtRole(ctx)
	p.lookAtRules(ctx)
	p.lookAtEventSource(ctx)
	p.lookAtCommands(ctx)
	p.lookAtTables(ctx)
	p.lookAtLog(ctx)
	p.lookAtSubscriptions(ctx)
	p.lookAtClients(ctx)
	p.lookAtCanary(ctx)
	p.lookAtAlarms(ctx)
	return p.findings
}

func (p *patient) well(check string) {
	p.findings = append(p.findings, Finding{Check: check, OK: true})
}

func (p *patient) ill(check, problem, fix string) {
	p.findings = append(p.findings, Finding{Check: check, Problem: problem, Fix: fix})
}

// redeploy is the command that mends what a template makes and no single command does.
func (p *patient) redeploy() string {
	return "make deploy ENV=" + p.cfg.Env + " DOMAIN=" + p.cfg.Domain
}

// note says that something is well, and what else is to be known of it.
func (p *patient) note(check, note string) {
	p.findings = append(p.findings, Finding{Check: check, OK: true, Note: note})
}

// dark says that something could not be looked at, which is no proof that it is well, nor that it is not.
func (p *patient) dark(check string, err error) {
	f := Finding{Check: check, Problem: "it could not be looked at: " + err.Error()}
	if code := codeOf(err); strings.Contains(code, "AccessDenied") || strings.Contains(code, "NotAuthorized") {
		f.Lacks = permissionOf(err)
		f.Problem = "these credentials may not " + f.Lacks + ": " + err.Error()
		f.Fix = "look with credentials that may, as those to which the domain's policy for people on call is attached: docs/operating.md"
	}
	p.findings = append(p.findings, f)
}

// permissionOf returns the permission that a call of AWS's needs.
func permissionOf(err error) string {
	var call *smithy.OperationError
	if !errors.As(err, &call) {
		return ""
	}
	prefixes := map[string]string{"EventBridge": "events", "Resource Groups Tagging API": "tag"} // what IAM calls otherwise
	service := cmp.Or(prefixes[call.Service()], strings.ToLower(call.Service()))
	return service + ":" + strings.Replace(call.Operation(), "Invoke", "InvokeFunction", 1)
}

// codeOf returns the code of an error of AWS's.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// notFound is the code of most services' errors about what is not there.
const notFound = "ResourceNotFoundException"

// lookAtFunction finds the function, and in its configuration all else.
func (p *patient) lookAtFunction(ctx context.Context) (found bool) {
	const check = "function"
	out, err := p.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &p.cfg.Function})
	if err != nil {
		if codeOf(err) == notFound {
			p.ill(check, "there is no function "+p.cfg.Function+" here", "name it with --function, or its account and Region with AWS_PROFILE and AWS_REGION")
			return false
		}
		p.dark(check, err)
		return false
	}
	if p.function, err = arn.Parse(aws.ToString(out.FunctionArn)); err != nil {
		p.dark(check, err)
		return false
	}
	p.role = aws.ToString(out.Role)
	p.logGroup = "/aws/lambda/" + aws.ToString(out.FunctionName)
	if out.LoggingConfig != nil && out.LoggingConfig.LogGroup != nil {
		p.logGroup = *out.LoggingConfig.LogGroup
	}
	p.timeout = time.Duration(aws.ToInt32(out.Timeout)) * time.Second
	if out.Environment != nil {
		p.variables = out.Environment.Variables
	}
	switch env, domain := p.variables["BROADCASTER_ENV"], p.variables["BROADCASTER_DOMAIN"]; {
	case env == "" && domain == "":
		p.ill(check, p.cfg.Function+" is no broadcaster: it has no BROADCASTER_ENV", "name the broadcaster with --function")
		return false
	case env != p.cfg.Env || domain != p.cfg.Domain:
		p.ill(check, fmt.Sprintf("%s is the broadcaster of %s/%s", p.cfg.Function, env, domain), "name the broadcaster with --function")
		return false
	case out.State != "" && out.State != "Active" && out.State != "Inactive":
		p.ill(check, fmt.Sprintf("its state is %s: %s", out.State, aws.ToString(out.StateReason)), p.redeploy())
	case out.LastUpdateStatus == "Failed":
		p.ill(check, "its last update failed: "+aws.ToString(out.LastUpdateStatusReason), p.redeploy())
	default:
		p.well(check)
	}
	return true
}

// lookAtCommands looks at whether each command is there, and asks whether whoever looks may give it.
func (p *patient) lookAtCommands(ctx context.Context) {
	for _, name := range p.cfg.Commands {
		check, before := "command "+name, len(p.findings)
		if err := p.lookAtAlias(ctx, check, name); err != nil {
			p.dark(check, err)
		}
		if len(p.findings) > before {
			continue
		}
		_, err := p.lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &p.cfg.Function, Qualifier: &name, InvocationType: lambdatypes.InvocationTypeDryRun})
		switch code := codeOf(err); {
		case err == nil:
			p.well(check)
		case strings.Contains(code, "AccessDenied"): // as for apply, which is for CI
			p.note(check, "it is there, and not for these credentials: it takes lambda:InvokeFunction of "+p.functionARN()+":"+name)
		default:
			p.dark(check, err)
		}
	}
}
