package queue

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// deadLetters is what follows the queue's name in that of its dead letters.
const deadLetters = "-dead-letters"

// serveAttributes answers GetQueueAttributes
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html) with the attributes that
// are asked for, of those that there are here.
func (q *Queue) serveAttributes(body []byte) (any, *refusal) {
	var in struct {
		QueueURL       string `json:"QueueUrl"`
		AttributeNames []string
	}
	if json.Unmarshal(body, &in) != nil {
		return nil, &refusal{
			status: http.StatusBadRequest, kind: "com.amazon.coral.service#SerializationException",
			message: "the request is not GetQueueAttributes' JSON",
		}
	}
	var is map[string]string
	switch address, err := url.Parse(in.QueueURL); {
	case err == nil && address.Path == q.path():
		is = q.attributes(time.Now())
	case err == nil && address.Path == q.path()+deadLetters:
		is = map[string]string{
			"QueueArn":                    q.config.QueueARN + deadLetters,
			"ApproximateNumberOfMessages": strconv.Itoa(len(q.Dead())), "ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0",
		}
	default:
		return nil, noSuchQueue()
	}
	for name := range is {
		if !slices.Contains(in.AttributeNames, name) && !slices.Contains(in.AttributeNames, "All") {
			delete(is, name)
		}
	}
	return map[string]any{"Attributes": is}, nil
}

// attributes are the queue's own. A message that was received and is hidden is in flight, one that never was is delayed.
func (q *Queue) attributes(now time.Time) map[string]string {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting, inFlight, delayed := 0, 0, 0
	for _, m := range q.messages {
		switch {
		case !m.visible.After(now):
			waiting++
		case m.receives > 0:
			inFlight++
		default:
			delayed++
		}
	}
	return map[string]string{
		"QueueArn":                              q.config.QueueARN,
		"VisibilityTimeout":                     strconv.Itoa(int(q.config.VisibilityTimeout.Seconds())),
		"RedrivePolicy":                         fmt.Sprintf(`{"deadLetterTargetArn":"%s%s","maxReceiveCount":"%d"}`, q.config.QueueARN, deadLetters, q.config.MaxReceives),
		"ApproximateNumberOfMessages":           strconv.Itoa(waiting),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(inFlight),
		"ApproximateNumberOfMessagesDelayed":    strconv.Itoa(delayed),
	}
}
