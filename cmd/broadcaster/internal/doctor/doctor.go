// Package doctor looks at a deployed domain as an engineer would who cannot tell why nothing arrives: from the function's
// own configuration to its queue, rules, tables, trail and clients. It only looks. Each thing that is wrong it names with
// the command that mends it.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
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

	function    arn.ARN
	timeout     time.Duration
	variables   map[string]string // the function's
	role        string            // the function's
	queueURL    string
	queueARN    string
	queuePolicy string

	findings []Finding
}

// Examine looks at a domain and returns what it found, in the order in which an event comes by.
func Examine(ctx context.Context, cfg Config) []Finding {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &patient{
		cfg: cfg, lambda: lambda.NewFromConfig(cfg.AWS), sqs: sqs.NewFromConfig(cfg.AWS), events: eventbridge.NewFromConfig(cfg.AWS),
		tables: awsdynamodb.NewFromConfig(cfg.AWS), trails: cloudtrail.NewFromConfig(cfg.AWS), iam: iam.NewFromConfig(cfg.AWS), tags: tagging.NewFromConfig(cfg.AWS),
	}
	if !p.lookAtFunction(ctx) {
		return p.findings // all else is known from it
	}
	p.lookAtTrail(ctx)
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

// dark says that something could not be looked at, which is no proof that it is well.
func (p *patient) dark(check string, err error) {
	fix := ""
	if code := codeOf(err); strings.Contains(code, "AccessDenied") || strings.Contains(code, "NotAuthorized") {
		fix = "look with credentials that may read it: docs/operating.md has the permissions"
	}
	p.ill(check, "it could not be looked at: "+err.Error(), fix)
}

// codeOf returns the code of an error of AWS's.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// lookAtFunction finds the function, and in its configuration all else.
func (p *patient) lookAtFunction(ctx context.Context) (found bool) {
	const check = "function"
	out, err := p.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &p.cfg.Function})
	if err != nil {
		if codeOf(err) == "ResourceNotFoundException" {
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

// lookAtCommands asks, as whoever looks, whether each command would be let through.
func (p *patient) lookAtCommands(ctx context.Context) {
	for _, name := range p.cfg.Commands {
		check := "command " + name
		_, err := p.lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &p.cfg.Function, Qualifier: &name, InvocationType: "DryRun"})
		switch {
		case err == nil:
			p.well(check)
		case codeOf(err) == "ResourceNotFoundException":
			p.ill(check, "the function has no alias "+name,
				fmt.Sprintf("aws lambda create-alias --function-name %s --name %s --function-version '$LATEST'", p.cfg.Function, name))
		default:
			p.dark(check, err)
		}
	}
}

// lookAtTrail looks for a trail that logs what is done to secrets. Without one only the native event tells: not of
// deletions, nor of rotations that failed.
func (p *patient) lookAtTrail(ctx context.Context) {
	const check = "trail"
	out, err := p.trails.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{})
	if err != nil {
		p.dark(check, err)
		return
	}
	stopped := ""
	for _, t := range out.TrailList {
		status, err := p.trails.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: t.TrailARN})
		if err != nil {
			p.dark(check, err)
			return
		}
		if !aws.ToBool(status.IsLogging) {
			stopped = aws.ToString(t.Name)
			continue
		}
		writes, err := p.logsWrites(ctx, t.TrailARN)
		if err != nil {
			p.dark(check, err)
			return
		}
		if writes {
			p.well(check)
			return
		}
	}
	const without = "deletions, restorations and failed rotations are not told of"
	if stopped != "" {
		p.ill(check, "trail "+stopped+" does not log: "+without, "aws cloudtrail start-logging --name "+stopped)
		return
	}
	p.ill(check, "no trail logs management events that write: "+without, "have whoever runs the account's trails log management events")
}

func (p *patient) logsWrites(ctx context.Context, trail *string) (bool, error) {
	out, err := p.trails.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: trail})
	if err != nil {
		return false, err
	}
	for _, s := range out.EventSelectors {
		if (s.IncludeManagementEvents == nil || *s.IncludeManagementEvents) && s.ReadWriteType != "ReadOnly" {
			return true, nil
		}
	}
	for _, s := range out.AdvancedEventSelectors {
		management, reads := false, false
		for _, f := range s.FieldSelectors {
			management = management || aws.ToString(f.Field) == "eventCategory" && len(f.Equals) == 1 && f.Equals[0] == "Management"
			reads = reads || aws.ToString(f.Field) == "readOnly" && len(f.Equals) == 1 && f.Equals[0] == "true"
		}
		if management && !reads {
			return true, nil
		}
	}
	return len(out.EventSelectors)+len(out.AdvancedEventSelectors) == 0, nil // a trail without any logs management events
}
