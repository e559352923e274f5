//go:build unix

package events_test

import (
	"encoding/json"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
)

// payloads are what arrives, bare and as deployed.
func payloads(b *testing.B) map[string][]byte {
	label, call, service := read(b, "testdata/label-updated/current.json"), read(b, "testdata/api-call/put-by-full-arn.json"), read(b, "testdata/service-event/rotation-succeeded.json")
	list := slices.Concat([]byte("["), label, []byte(","), call, []byte(","), service, []byte("]"))
	return map[string][]byte{
		"label-updated": label, "api-call": call, "service-event": service, "list": list,
		"api-call-in-SQS": inSQS(b, call), "api-call-in-SNS-in-SQS": inSQS(b, inSNS(b, call)),
	}
}

// BenchmarkParse measures Parse against decoding the same payload, and the messages in it, into generic maps. "ratio" is
// Parse's processor time per generic time, garbage collection included: what else the machine does is not in it.
func BenchmarkParse(b *testing.B) {
	for name, payload := range payloads(b) {
		b.Run(name, func(b *testing.B) {
			const turn = 500 // long enough for the processor's clock
			var ours, theirs time.Duration
			for b.Loop() {
				start := processorTime(b)
				for range turn {
					if r := events.Parse(payload); r[0].Outcome != events.Signaled {
						b.Fatal(r)
					}
				}
				between := processorTime(b)
				for range turn {
					generic(b, payload)
				}
				ours, theirs = ours+between-start, theirs+processorTime(b)-between
			}
			b.ReportMetric(float64(ours)/float64(theirs), "ratio")
			b.ReportMetric(float64(ours)/float64(b.N)/turn, "parse-ns")
			b.ReportMetric(float64(theirs)/float64(b.N)/turn, "generic-ns")
			b.ReportMetric(0, "ns/op") // of both together: says nothing
		})
	}
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// generic decodes as a handler without types would: each message in the payload is one more document.
func generic(b *testing.B, payload []byte) {
	if payload[0] == '[' {
		var list []any
		if err := json.Unmarshal(payload, &list); err != nil {
			b.Fatal(err)
		}
		return
	}
	var v map[string]any
	if err := json.Unmarshal(payload, &v); err != nil {
		b.Fatal(err)
	}
	if message, ok := v["Message"].(string); ok {
		generic(b, []byte(message))
	}
	records, _ := v["Records"].([]any)
	for _, r := range records {
		if record, ok := r.(map[string]any); ok {
			if body, ok := record["body"].(string); ok {
				generic(b, []byte(body))
			}
		}
	}
}
