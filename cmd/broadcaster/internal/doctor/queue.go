package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	// leastReceives is how often a message has to be received before it is parked: fewer park changes in a short outage.
	leastReceives = 5
	// retention is how long a message waits: it has to outlive a long incident.
	retention = 14 * 24 * time.Hour
)

// lookAtQueue looks at the queue that the function's own configuration names, and at its dead-letter queue.
func (p *patient) lookAtQueue(ctx context.Context) {
	const check = "queue"
	p.queueURL = p.variables["BROADCASTER_QUEUE_URL"]
	if p.queueURL == "" {
		p.ill(check, "the function is not told its queue: what is left pending waits for the next event or tick", p.redeploy())
		return
	}
	p.queueARN = p.arnOf("sqs", p.queueURL[strings.LastIndex(p.queueURL, "/")+1:])
	attributes, err := p.attributesOf(ctx, p.queueURL)
	if err != nil {
		p.dark(check, err)
		return
	}
	p.queue = attributes
	before := len(p.findings)
	p.lookAtRetention(check, p.queueURL, attributes)
	if delay := attributes["DelaySeconds"]; delay != "" && delay != "0" {
		p.ill(check, "each message waits for "+delay+"s before it is handled", setQueue(p.queueURL, "DelaySeconds", "0"))
	}
	if seconds, _ := strconv.Atoi(attributes["VisibilityTimeout"]); time.Duration(seconds)*time.Second < p.timeout {
		p.ill(check, fmt.Sprintf("its visibility timeout of %ds is shorter than the function's timeout of %v", seconds, p.timeout),
			setQueue(p.queueURL, "VisibilityTimeout", strconv.Itoa(int(p.timeout.Seconds()))))
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
		p.ill(check, fmt.Sprintf("it parks a message after %d receives: a short outage is enough", n), setQueue(p.queueURL, "RedrivePolicy", string(text)))
	}
	if len(p.findings) == before {
		p.well(check)
	}
	if p.deadLettersARN = redrive.Target; redrive.Target != "" {
		p.lookAtDeadLetters(ctx)
	}
}

func (p *patient) attributesOf(ctx context.Context, url string) (map[string]string, error) {
	out, err := p.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

func (p *patient) lookAtRetention(check, url string, attributes map[string]string) {
	if seconds, _ := strconv.Atoi(attributes["MessageRetentionPeriod"]); time.Duration(seconds)*time.Second < retention {
		p.ill(check, fmt.Sprintf("a message is gone after %v: a long incident loses it", time.Duration(seconds)*time.Second),
			setQueue(url, "MessageRetentionPeriod", strconv.Itoa(int(retention.Seconds()))))
	}
}

// setQueue is the command that sets one attribute of a queue.
func setQueue(url, attribute, value string) string {
	text, _ := json.Marshal(map[string]string{attribute: value}) // strings
	return fmt.Sprintf("aws sqs set-queue-attributes --queue-url %s --attributes '%s'", url, text)
}

func (p *patient) lookAtDeadLetters(ctx context.Context) {
	const check = "dead-letter queue"
	name := nameOf(p.deadLettersARN)
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
	before := len(p.findings)
	p.lookAtRetention(check, aws.ToString(url.QueueUrl), attributes)
	waiting, _ := strconv.Atoi(attributes["ApproximateNumberOfMessages"])
	taken, _ := strconv.Atoi(attributes["ApproximateNumberOfMessagesNotVisible"]) // whoever looks at them hides them for a while
	if waiting+taken > 0 {
		p.ill(check, fmt.Sprintf("messages are parked: %d, of which somebody looks at %d. See why with broadcaster explain before you send them again", waiting+taken, taken),
			"aws sqs start-message-move-task --source-arn "+p.deadLettersARN)
	}
	if len(p.findings) == before {
		p.well(check)
	}
}
