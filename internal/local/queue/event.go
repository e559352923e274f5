package queue

import (
	"crypto/md5" // SQS's checksum of a body, no protection
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

const (
	// payloadLimit is Lambda's limit for an event in bytes
	// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
	payloadLimit = 6 << 20
	// recordOverhead is a generous estimate of what a record is longer than its body.
	recordOverhead = 1 << 10
)

// event is what Lambda hands to the function, and record one message in it
// (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).
type event struct {
	Records []record `json:"Records"`
}

type record struct {
	MessageID         string     `json:"messageId"`
	ReceiptHandle     string     `json:"receiptHandle"`
	Body              string     `json:"body"`
	Attributes        attributes `json:"attributes"`
	MessageAttributes struct{}   `json:"messageAttributes"`
	MD5OfBody         string     `json:"md5OfBody"`
	EventSource       string     `json:"eventSource"`
	EventSourceARN    string     `json:"eventSourceARN"`
	AWSRegion         string     `json:"awsRegion"`
}

type attributes struct {
	ApproximateReceiveCount          string `json:"ApproximateReceiveCount"`
	SentTimestamp                    string `json:"SentTimestamp"`
	SenderID                         string `json:"SenderId"`
	ApproximateFirstReceiveTimestamp string `json:"ApproximateFirstReceiveTimestamp"`
}

func (q *Queue) event(batch []*delivery) []byte {
	var e event
	for _, d := range batch {
		e.Records = append(e.Records, record{
			MessageID:     d.id,
			ReceiptHandle: d.receipt,
			Body:          d.body,
			Attributes: attributes{
				ApproximateReceiveCount:          strconv.Itoa(d.receives),
				SentTimestamp:                    millis(d.sent),
				SenderID:                         "EXAMPLE",
				ApproximateFirstReceiveTimestamp: millis(d.firstReceive),
			},
			MD5OfBody:      checksum(d.body),
			EventSource:    "aws:sqs",
			EventSourceARN: q.config.QueueARN,
			AWSRegion:      q.region,
		})
	}
	payload, _ := json.Marshal(e) // strings always marshal
	return payload
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func checksum(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// failures reads a function's answer: which messages of the batch failed, by id. Not ok means that all did.
//
// Lambda takes null, {}, and a list that is absent, null or empty for success; invalid JSON and an itemIdentifier that is
// empty, null, misnamed or of no message in the batch for the failure of the whole batch
// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html). The page does not speak of an answer
// that is JSON of another shape. It fails here, because then nothing is lost.
func failures(answer []byte, batch []*delivery) (failed map[string]bool, ok bool) {
	// Maps and raw values, because decoding into a struct would take a key in any case.
	var response map[string]json.RawMessage
	if json.Unmarshal(answer, &response) != nil {
		return nil, false
	}
	list, present := response["batchItemFailures"]
	if !present {
		return nil, true
	}
	var items []map[string]json.RawMessage
	if json.Unmarshal(list, &items) != nil {
		return nil, false
	}
	known := map[string]bool{}
	for _, d := range batch {
		known[d.id] = true
	}
	failed = map[string]bool{}
	for _, item := range items {
		var id string
		if json.Unmarshal(item["itemIdentifier"], &id) != nil || !known[id] {
			return nil, false
		}
		failed[id] = true
	}
	return failed, true
}
