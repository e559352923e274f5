package events_test

import (
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
)

// TestWhenTheQueueTookAMessage is told of each of its events, and nothing that SQS says of a message makes it malformed.
func TestWhenTheQueueTookAMessage(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 123_000_000, time.UTC)
	for attributes, want := range map[string]time.Time{
		`{"SentTimestamp":"1795428000123","ApproximateReceiveCount":"2"}`: at,
		`{"SentTimestamp":"yesterday"}`:                                   {},
		`{"SentTimestamp":"-1"}`:                                          {},
		`{"SentTimestamp":1795428000123}`:                                 {},
		`{}`:                                                              {}, `[]`: {}, `null`: {}, `"x"`: {},
	} {
		payload := `{"Records":[{"messageId":"m1","eventSource":"aws:sqs","attributes":` + attributes + `,"body":"[{\"source\":\"aws.events\",\"detail-type\":\"Scheduled Event\"},{\"source\":\"aws.events\",\"detail-type\":\"Scheduled Event\"}]"}]}`
		results := events.Parse([]byte(payload))
		if len(results) != 2 {
			t.Fatalf("%s: %+v", attributes, results)
		}
		for _, r := range results {
			if r.Outcome != events.Scheduled || !r.Sent.Equal(want) || r.MessageID != "m1" {
				t.Errorf("%s: got %+v, want %v", attributes, r, want)
			}
		}
	}
	if r := events.Parse([]byte(`{"source":"aws.events","detail-type":"Scheduled Event"}`))[0]; !r.Sent.IsZero() {
		t.Errorf("without a message: %v", r.Sent)
	}
}
