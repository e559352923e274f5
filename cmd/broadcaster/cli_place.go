//go:build !lambdaartifact

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/sqs"
	"github.com/bank-platform/secret-broadcaster/invalidation/sts"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A place is the domain that a command line is about, deployed or in a demo that is held.
type place struct {
	env, domain string
	function    string // the broadcaster's; empty for the name that the template gives it
}

var errNoRegion = errors.New("no Region is configured: set AWS_REGION")

func (p *place) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&p.env, "env", "", "the broadcaster's env, as prod")
	flags.StringVar(&p.domain, "domain", "", "the broadcaster's domain, as payments")
	p.functionFlag(cmd)
}

// functionFlag is for commands that know the env and the domain otherwise.
func (p *place) functionFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.function, "function", "", "its function, by name or ARN without an alias (default {env}-{domain}-broadcaster)")
}

// named says what is wrong with the place's name.
func (p *place) named() error {
	switch {
	case p.env == "" || p.domain == "":
		return usageError{"name the broadcaster with --env and --domain"}
	case !subscribers.IsPlace(p.env):
		return usageError{fmt.Sprintf("--env must be lower-case letters, digits and single hyphens, as prod, not %q", p.env)}
	case !subscribers.IsPlace(p.domain):
		return usageError{fmt.Sprintf("--domain must be lower-case letters, digits and single hyphens, as payments, not %q", p.domain)}
	}
	return nil
}

// secret understands what somebody names a secret of this place by: its name, what follows /bank/{env}/{domain}/ in it, or an
// ARN.
func (p *place) secret(id string) (events.Signal, error) {
	if err := p.named(); err != nil {
		return events.Signal{}, err
	}
	prefix := wire.NamePrefix(p.env, p.domain)
	if !strings.HasPrefix(id, "/") && !strings.HasPrefix(id, "arn:") {
		id = prefix + id
	}
	s, err := events.Named(id)
	switch {
	case err != nil:
		return s, usageError{err.Error()}
	case s.Env != p.env || s.Domain != p.domain:
		return s, usageError{fmt.Sprintf("not a secret of %s/%s: their names begin with %s", p.env, p.domain, prefix)}
	}
	return s, nil
}

// find completes the place and returns the AWS configuration to reach it with.
func (p *place) find(ctx context.Context) (aws.Config, error) {
	if err := p.named(); err != nil {
		return aws.Config{}, err
	}
	if p.function == "" {
		p.function = p.env + "-" + p.domain + "-broadcaster"
	}
	on, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(logging.Nop{})) // what matters is in the errors
	switch {
	case err != nil:
		return aws.Config{}, fmt.Errorf("loading the AWS configuration: %w", err)
	case on.Region == "":
		return aws.Config{}, errNoRegion
	}
	if _, err := on.Credentials.Retrieve(ctx); err != nil {
		return aws.Config{}, fmt.Errorf("there are no AWS credentials to use: %s: %w", logIn, err)
	}
	return on, nil
}

// A deployment is a domain whose store can be read.
type deployment struct {
	place
	aws      aws.Config
	arn      arn.ARN // the broadcaster's
	queueURL string  // empty if it has no queue
	logGroup string  // of the broadcaster
	store    *dynamodb.Store
	reports  *dynamodb.Reports
	queue    history.Queue // nil if the broadcaster is not told its queue
}

// open finds the domain's tables in the broadcaster's own configuration.
func (p place) open(ctx context.Context) (deployment, error) {
	on, err := p.find(ctx)
	if err != nil {
		return deployment{}, err
	}
	out, err := awslambda.NewFromConfig(on).GetFunctionConfiguration(ctx, &awslambda.GetFunctionConfigurationInput{FunctionName: &p.function})
	if err != nil {
		return deployment{}, fmt.Errorf("looking at the broadcaster %s: %w", p.function, remedied(err, on))
	}
	function, err := arn.Parse(aws.ToString(out.FunctionArn))
	if err != nil {
		return deployment{}, fmt.Errorf("reading the ARN of the broadcaster %s: %w", p.function, err)
	}
	var set map[string]string
	if out.Environment != nil {
		set = out.Environment.Variables
	}
	if env, domain := set[prefix+"ENV"], set[prefix+"DOMAIN"]; env != p.env || domain != p.domain {
		return deployment{}, fmt.Errorf("%s is not the broadcaster of %s/%s: name that with --function", p.function, p.env, p.domain)
	}
	tables, group := awsdynamodb.NewFromConfig(on), "/aws/lambda/"+aws.ToString(out.FunctionName)
	if out.LoggingConfig != nil && out.LoggingConfig.LogGroup != nil {
		group = *out.LoggingConfig.LogGroup
	}
	d := deployment{
		place: p, aws: on, arn: function, queueURL: set[prefix+"QUEUE_URL"], logGroup: group,
		store:   dynamodb.New(tables, set[prefix+"CHANGES_TABLE"], set[prefix+"OPERATIONS_TABLE"]),
		reports: dynamodb.NewReports(tables, set[prefix+"REPORTS_TABLE"]),
	}
	if url := set[prefix+"QUEUE_URL"]; url != "" {
		d.queue = sqs.NewQueue(awssqs.NewFromConfig(on), url)
	}
	return d, nil
}

// name returns the full name of a secret that the place has understood.
func (d deployment) name(ctx context.Context, r *history.Reader, s events.Signal) (string, error) {
	switch {
	case s.Name != "":
		return s.Name, nil
	case s.Account != d.arn.AccountID || s.Region != d.arn.Region:
		return "", invalidation.ErrElsewhere
	}
	return r.NameOfARN(ctx, s.ARN)
}

func (o *order) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.Reason, "reason", "", "why; it is recorded")
	flags.BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and change nothing")
}

func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print one JSON object")
}

// send has the place's broadcaster carry out an order, and reads its answer.
func (p place) send(ctx context.Context, o order, answer any) error {
	if err := o.check(); err != nil {
		return usageError{err.Error()}
	}
	on, err := p.find(ctx)
	if err != nil {
		return err
	}
	o.Env, o.Domain = p.env, p.domain
	proof, err := sts.Prove(ctx, awssts.NewFromConfig(on), o.digest())
	if err != nil {
		return err
	}
	payload, err := json.Marshal(commandPayload{&command{Order: o, Proof: proof}})
	if err != nil {
		return fmt.Errorf("encoding the command: %w", err)
	}
	// Retries would be of a command that may have been carried out: harmless, but each is recorded.
	client := awslambda.NewFromConfig(on, func(opts *awslambda.Options) { opts.Retryer = aws.NopRetryer{} })
	out, err := client.Invoke(ctx, &awslambda.InvokeInput{FunctionName: &p.function, Qualifier: &o.Name, Payload: payload})
	if err != nil {
		return fmt.Errorf("invoking %s:%s: %w", p.function, o.Name, remedied(err, on))
	}
	if out.FunctionError != nil {
		failure := struct {
			Message string `json:"errorMessage"`
		}{"it does not say why: look into its log"}
		_ = json.Unmarshal(out.Payload, &failure) // without a message that has to do
		return fmt.Errorf("the broadcaster refuses or fails: %s", failure.Message)
	}
	var is struct{ Name string }
	if json.Unmarshal(out.Payload, &is) != nil || is.Name != o.Name || json.Unmarshal(out.Payload, answer) != nil {
		return fmt.Errorf("%s answers with something else than a broadcaster does: is it one?", p.function)
	}
	return nil
}
