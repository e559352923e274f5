package queue

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// bodyLimit is the largest message in bytes
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html).
const bodyLimit = 1 << 20

// URL is the queue's URL below the base URL at which it is served as an [http.Handler].
func (q *Queue) URL(base string) string {
	return strings.TrimSuffix(base, "/") + q.path()
}

func (q *Queue) path() string { return "/" + q.account + "/" + q.name }

// refusal is an error of the SQS API.
type refusal struct {
	status  int
	kind    string // the type in the AWS JSON protocol
	query   string // the code in the older query protocol, which clients know errors by; "" for none
	message string
}

// ServeHTTP answers SendMessage and GetQueueAttributes in the AWS JSON 1.0 protocol
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html). Every other operation,
// message attributes and the parameters of FIFO queues are refused, and so is a request without Authorization. The dead
// letters have attributes too: those of a queue of this one's name with -dead-letters at its end.
func (q *Queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amzn-Requestid", newID())
	answer, refused := q.serve(r)
	if refused != nil {
		if refused.query != "" {
			w.Header().Set("X-Amzn-Query-Error", refused.query+";Sender")
		}
		w.WriteHeader(refused.status)
		answer = map[string]string{"__type": refused.kind, "message": refused.message}
	}
	body, _ := json.Marshal(answer) // strings always marshal
	_, _ = w.Write(body)            // a sender that is gone needs no answer
}

func (q *Queue) serve(r *http.Request) (any, *refusal) {
	if r.Header.Get("Authorization") == "" {
		return nil, &refusal{
			status: http.StatusForbidden, kind: "com.amazon.coral.service#MissingAuthenticationTokenException",
			message: "Request is missing Authentication Token",
		}
	}
	target := r.Header.Get("X-Amz-Target")
	if r.Method != http.MethodPost || target != "AmazonSQS.SendMessage" && target != "AmazonSQS.GetQueueAttributes" {
		return nil, &refusal{
			status: http.StatusBadRequest, kind: "com.amazon.coral.service#UnknownOperationException",
			message: fmt.Sprintf("the local queue does not know %s %q", r.Method, target),
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 8*bodyLimit)) // JSON may need six bytes for one
	if err == nil && target == "AmazonSQS.GetQueueAttributes" {
		return q.serveAttributes(body)
	}
	var in sendMessage
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil {
		return nil, &refusal{
			status: http.StatusBadRequest, kind: "com.amazon.coral.service#SerializationException",
			message: "the request is not SendMessage's JSON",
		}
	}
	if refused := q.check(in); refused != nil {
		return nil, refused
	}
	id := q.Send(in.MessageBody, Delay(time.Duration(in.DelaySeconds)*time.Second))
	return map[string]string{"MessageId": id, "MD5OfMessageBody": checksum(in.MessageBody)}, nil
}

type sendMessage struct {
	QueueURL     string `json:"QueueUrl"`
	MessageBody  string `json:"MessageBody"`
	DelaySeconds int    `json:"DelaySeconds"`

	MessageAttributes       any `json:"MessageAttributes"`
	MessageSystemAttributes any `json:"MessageSystemAttributes"`
	MessageGroupID          any `json:"MessageGroupId"`
	MessageDeduplicationID  any `json:"MessageDeduplicationId"`
}

func invalid(query, message string) *refusal {
	kind := "com.amazonaws.sqs#" + strings.TrimPrefix(query, "AWS.SimpleQueueService.")
	return &refusal{status: http.StatusBadRequest, kind: kind, query: query, message: message}
}

func noSuchQueue() *refusal {
	r := invalid("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
	r.kind = "com.amazonaws.sqs#QueueDoesNotExist"
	return r
}

func (q *Queue) check(in sendMessage) *refusal {
	address, err := url.Parse(in.QueueURL)
	switch {
	case err != nil || address.Path != q.path():
		return noSuchQueue()
	case in.MessageBody == "":
		return invalid("MissingParameter", "The request must contain the parameter MessageBody.")
	case len(in.MessageBody) > bodyLimit:
		return invalid("InvalidParameterValue",
			fmt.Sprintf("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", bodyLimit))
	case in.DelaySeconds < 0 || in.DelaySeconds > 900:
		return invalid("InvalidParameterValue", fmt.Sprintf(
			"Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.", in.DelaySeconds))
	case in.MessageAttributes != nil || in.MessageSystemAttributes != nil || in.MessageGroupID != nil || in.MessageDeduplicationID != nil:
		return invalid("AWS.SimpleQueueService.UnsupportedOperation", "The local queue carries a body and nothing else.")
	}
	return nil
}
