package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// lookAtEventSource looks at what hands the queue's messages to the function, and whether the function may take them.
func (p *patient) lookAtEventSource(ctx context.Context) {
	const check = "event source"
	if p.queueARN == "" {
		return // said at the queue
	}
	out, err := p.lambda.ListEventSourceMappings(ctx, &lambda.ListEventSourceMappingsInput{EventSourceArn: &p.queueARN})
	if err != nil {
		p.dark(check, err)
		return
	}
	before, found, atOnce := len(p.findings), false, int32(0)
	for _, m := range out.EventSourceMappings {
		if unqualified(aws.ToString(m.FunctionArn)) != p.functionARN() {
			continue
		}
		found = true
		mend := "aws lambda update-event-source-mapping --uuid " + aws.ToString(m.UUID)
		if state := aws.ToString(m.State); state == "Disabled" || state == "Disabling" {
			p.ill(check, "it is disabled: no message is handled", mend+" --enabled")
		}
		if !slices.Contains(m.FunctionResponseTypes, lambdatypes.FunctionResponseTypeReportBatchItemFailures) {
			p.ill(check, "one message that comes back brings its whole batch: it does not report batch item failures", mend+" --function-response-types ReportBatchItemFailures")
		}
		if m.ScalingConfig != nil {
			atOnce = max(atOnce, aws.ToInt32(m.ScalingConfig.MaximumConcurrency))
		}
		if err := p.lookAtAlias(ctx, check, strings.TrimPrefix(strings.TrimPrefix(aws.ToString(m.FunctionArn), p.functionARN()), ":")); err != nil {
			p.dark(check, err)
			return
		}
	}
	if !found {
		p.ill(check, "nothing hands the queue's messages to the function",
			fmt.Sprintf("aws lambda create-event-source-mapping --function-name %s --event-source-arn %s --batch-size 10 --function-response-types ReportBatchItemFailures", p.cfg.Function, p.queueARN))
	}
	if err := p.lookAtConcurrency(ctx, check, atOnce); err != nil {
		p.dark(check, err)
		return
	}
	if len(p.findings) == before {
		p.well(check)
	}
}

// lookAtAlias looks at whether the function has an alias; an empty one is the function itself.
func (p *patient) lookAtAlias(ctx context.Context, check, alias string) error {
	if alias == "" {
		return nil
	}
	_, err := p.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &p.cfg.Function, Qualifier: &alias})
	if codeOf(err) == notFound {
		p.ill(check, "the function has no alias "+alias,
			fmt.Sprintf("aws lambda create-alias --function-name %s --name %s --function-version '$LATEST'", p.cfg.Function, alias))
		return nil
	}
	return err
}

// lookAtConcurrency looks at whether as many invocations may run as the event source begins: what is throttled comes back, and is
// parked in the end.
func (p *patient) lookAtConcurrency(ctx context.Context, check string, atOnce int32) error {
	out, err := p.lambda.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &p.cfg.Function})
	if err != nil {
		return err
	}
	if reserved := out.ReservedConcurrentExecutions; reserved != nil && *reserved < max(atOnce, 1) {
		p.ill(check, fmt.Sprintf("the function is throttled: its reserved concurrency is %d, and the event source begins %d invocations at once", *reserved, max(atOnce, 1)),
			"aws lambda delete-function-concurrency --function-name "+p.cfg.Function)
	}
	return nil
}

// functionARN is without a qualifier.
func (p *patient) functionARN() string { return unqualified(p.function.String()) }
