package events_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
)

func TestParseWhatIsNoJSON(t *testing.T) {
	for _, payload := range []string{"", " ", canary, "{", "[", "[,]", "[{},", "[{}}", `{"detail":`, "\x00\xff", `{"id":"` + canary, `[{"id":"` + canary, "]"} {
		for name, wrapped := range map[string][]byte{
			"bare": []byte(payload), "SQS": inSQS(t, []byte(payload)), "SNS": inSNS(t, []byte(payload)), "SNS in SQS": inSQS(t, inSNS(t, []byte(payload))),
		} {
			results := events.Parse(wrapped)
			if len(results) != 1 {
				t.Errorf("%q in %s: got %+v", payload, name, results)
			}
			for _, r := range results {
				if r.Outcome != events.Malformed || !strings.HasPrefix(r.Reason, "$") || strings.Contains(r.Reason, canary) {
					t.Errorf("%q in %s: got %+v", payload, name, r)
				}
			}
		}
	}
}

// TestParseLargePayloads: size makes neither a panic nor more results than there is room for.
func TestParseLargePayloads(t *testing.T) {
	const size = 10 << 20
	event := string(read(t, "testdata/label-updated/current.json"))
	fill := func(text string) string { return strings.Repeat(text, size/len(text)) }
	for _, c := range []struct {
		name, payload string
		want          events.Outcome
		reason        string
	}{
		{"a name", strings.Replace(event, "connection-string\"", fill("x")+"\"", 1), events.Malformed, "$.resources[0] must be the same secret as in the rest of the event"},
		{"an event's id", strings.Replace(event, "6a7e8feb", fill("x"), 1), events.Signaled, ""},
		{"an unread field", strings.Replace(event, `"detail": {`, `"detail": {"unread": "`+fill("x")+`", `, 1), events.Signaled, ""},
		{"many unread fields", strings.Replace(event, `"detail": {`, `"detail": {`+fill(`"unread": [], `), 1), events.Signaled, ""},
		{"many events", "[" + fill("1,") + "1]", events.Malformed, "$ has more than 1000 events"},
		{"many records", `{"Records":[` + strings.Repeat("{},", 100_000) + "{}]}", events.Malformed, "$.Records must be 1 to 10000"},
		{"nested lists", fill("["), events.Malformed, "$ is not JSON: the list does not end, or something follows it"},
		{"nested objects", fill(`{"detail":`), events.Malformed, "$ is not JSON from byte 100001 on"},
		{"spaces", fill(" "), events.Malformed, "$ is not JSON from byte 0 on"},
		{"no text", fill("\xff"), events.Malformed, "$ is not JSON from byte 1 on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			results := events.Parse([]byte(c.payload))
			if len(results) != 1 || results[0].Outcome != c.want || results[0].Reason != c.reason || len(results[0].EventID) > 100 {
				t.Errorf("%d results, the first %+.300v", len(results), results[0])
			}
		})
	}
}

func TestParseALongListIsCutOffNowhere(t *testing.T) {
	event := string(read(t, "testdata/label-updated/current.json"))
	for count, want := range map[int]int{1_000: 1_000, 1_001: 1} {
		results := events.Parse([]byte("[" + strings.Repeat(event+",", count-1) + event + "]"))
		if len(results) != want {
			t.Errorf("%d events: got %d results", count, len(results))
		}
	}
}

// Control characters would make a second line of a log's, or colour a terminal.
func TestNothingThatIsNoTextIsTakenOver(t *testing.T) {
	event := strings.NewReplacer(
		"6a7e8feb-b491-4cf7-a9f1-bf3703467718", `a\nb`, `"region"`, `"replay-name": "a\u001bb", "region"`,
	).Replace(string(read(t, "testdata/label-updated/current.json")))
	for _, r := range events.Parse([]byte(event)) {
		if r.Outcome != events.Signaled || r.EventID != "" || r.Signal.EventID != "" || r.Signal.Replay != "" {
			t.Errorf("got %+v", r)
		}
	}
	for _, r := range events.Parse([]byte(`{"id":"1","source":"x","detail-type":"a\u0000b","detail":{"eventName":"a b"}}`)) {
		want := events.Result{Outcome: events.Unknown, Reason: "no shape with this source and detail-type is known", EventID: "1"}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}
