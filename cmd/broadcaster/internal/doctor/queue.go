package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// leastReceives is how often a message has to be received before it is parked: fewer park changes in a short outage.
const leastReceives = 5

// lookAtQueue looks at the queue that the function's own configuration names, and at its dead-letter queue.
func (p *patient) lookAtQueue(ctx context.Context) {
	const check = "queue"
	p.queueURL = p.variables["BROADCASTER_QUEUE_URL"]
	if p.queueURL == "" {
		p.ill(check, "the function is not told its queue: what is left pending waits for the next event or tick", p.redeploy())
		return
	}
	attributes, err := p.attributesOf(ctx, p.queueURL)
	if err != nil {
		p.dark(check, err)
		return
	}
	p.queueARN, p.queuePolicy = attributes["QueueArn"], attributes["Policy"]
	before := len(p.findings)
	if seconds, _ := strconv.Atoi(attributes["VisibilityTimeout"]); time.Duration(seconds)*time.Second < p.timeout {
		p.ill(check, fmt.Sprintf("its visibility timeout of %ds is shorter than the function's timeout of %v", seconds, p.timeout),
			p.setQueue("VisibilityTimeout", strconv.Itoa(int(p.timeout.Seconds()))))
	}
	var redrive struct {
		Target  string      `json:"deadLetterTargetArn"`
		Receive json.Number `json:"maxReceiveCount"`
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(attributes["RedrivePolicy"], `\"`, `"`)), &redrive); err != nil || redrive.Target == "" {
		p.ill(check, "it has no dead-letter queue: what cannot be handled comes back for days", p.redeploy())
	} else if n, _ := redrive.Receive.Int64(); n < leastReceives {
		redrive.Receive = json.Number(strconv.Itoa(leastReceives))
		text, _ := json.Marshal(redrive) // texts and a number
		p.ill(check, fmt.Sprintf("it parks a message after %d receives: a short outage is enough", n), p.setQueue("RedrivePolicy", string(text)))
	}
	if len(p.findings) == before {
		p.well(check)
	}
	if redrive.Target != "" {
		p.lookAtDeadLetters(ctx, redrive.Target)
	}
}

func (p *patient) attributesOf(ctx context.Context, url string) (map[string]string, error) {
	out, err := p.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

// setQueue is the command that sets one attribute of the queue.
func (p *patient) setQueue(attribute, value string) string {
	text, _ := json.Marshal(map[string]string{attribute: value}) // strings
	return fmt.Sprintf("aws sqs set-queue-attributes --queue-url %s --attributes '%s'", p.queueURL, text)
}

func (p *patient) lookAtDeadLetters(ctx context.Context, queue string) {
	const check = "dead-letter queue"
	name := queue[strings.LastIndex(queue, ":")+1:]
	url, err := p.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		p.dark(check, err)
		return
	}
	attributes, err := p.attributesOf(ctx, aws.ToString(url.QueueUrl))
	if err != nil {
		p.dark(check, err)
		return
	}
	if n := attributes["ApproximateNumberOfMessages"]; n != "0" {
		p.ill(check, n+" messages are parked: see why with broadcaster explain before you send them again", "aws sqs start-message-move-task --source-arn "+queue)
		return
	}
	p.well(check)
}

// lookAtEventSource looks at what hands the queue's messages to the function.
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
	before, found := len(p.findings), false
	for _, m := range out.EventSourceMappings {
		if !strings.HasPrefix(aws.ToString(m.FunctionArn), p.functionARN()) {
			continue
		}
		found = true
		mend := "aws lambda update-event-source-mapping --uuid " + aws.ToString(m.UUID)
		if state := aws.ToString(m.State); state == "Disabled" || state == "Disabling" {
			p.ill(check, "it is disabled: no message is handled", mend+" --enabled")
		}
		if !slices.Contains(m.FunctionResponseTypes, "ReportBatchItemFailures") {
			p.ill(check, "one message that comes back brings its whole batch: it does not report batch item failures", mend+" --function-response-types ReportBatchItemFailures")
		}
	}
	switch {
	case !found:
		p.ill(check, "nothing hands the queue's messages to the function",
			fmt.Sprintf("aws lambda create-event-source-mapping --function-name %s --event-source-arn %s --batch-size 10 --function-response-types ReportBatchItemFailures", p.cfg.Function, p.queueARN))
	case len(p.findings) == before:
		p.well(check)
	}
}

// functionARN is without a qualifier.
func (p *patient) functionARN() string { return unqualified(p.function.String()) }
