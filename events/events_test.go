package events_test

import (
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
)

// update is go test's flag; it is set once, before any test runs.
var update = flag.Bool("update", false, "write golden files anew") //nolint:gochecknoglobals // a flag of the test binary

// canary stands in testdata where a careless producer might put a secret's value.
const canary = "canary-must-not-appear"

// cases returns the files of testdata, which are testdata/<shape>/<case>.json.
func cases(t testing.TB) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".json") && !strings.HasSuffix(path, ".golden.json") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("finding cases: %d, %v", len(files), err)
	}
	return files
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// shown is results as a golden file has them: without what is empty.
func shown(t testing.TB, results []events.Result) string {
	t.Helper()
	type signal struct {
		Kind       events.Kind
		Name       string
		Env        string
		Domain     string
		Service    string
		Key        string
		ARN        string `json:",omitempty"`
		Account    string
		Region     string
		VersionID  string    `json:",omitempty"`
		Label      string    `json:",omitempty"`
		Time       time.Time `json:",omitzero"`
		Trusted    bool
		Replay     string `json:",omitempty"`
		EventID    string
		DetailType string
		Actor      string `json:",omitempty"`
	}
	type result struct {
		Outcome    events.Outcome
		Reason     string  `json:",omitempty"`
		Signal     *signal `json:",omitempty"`
		Warning    bool    `json:",omitempty"`
		About      string  `json:",omitempty"`
		EventID    string  `json:",omitempty"`
		DetailType string  `json:",omitempty"`
		EventName  string  `json:",omitempty"`
		MessageID  string  `json:",omitempty"`
	}
	all := make([]result, 0, len(results))
	for _, r := range results {
		one := result{
			Outcome: r.Outcome, Reason: r.Reason, Warning: r.Warning, About: r.About,
			EventID: r.EventID, DetailType: r.DetailType, EventName: r.EventName, MessageID: r.MessageID,
		}
		if r.Outcome == events.Signaled {
			s := signal(r.Signal)
			one.Signal = &s
		}
		all = append(all, one)
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

func TestParse(t *testing.T) {
	for _, file := range cases(t) {
		t.Run(filepath.ToSlash(strings.TrimSuffix(strings.TrimPrefix(file, "testdata"+string(filepath.Separator)), ".json")), func(t *testing.T) {
			results := events.Parse(read(t, file))
			for _, r := range results {
				check(t, r)
			}
			got := shown(t, results)
			golden := strings.TrimSuffix(file, ".json") + ".golden.json"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, golden)), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
			if strings.Contains(got, canary) {
				t.Errorf("what is not read has leaked:\n%s", got)
			}
			for prefix, want := range map[string]events.Outcome{"malformed-": events.Malformed, "outside-": events.Ignored, "reads-": events.Ignored, "unknown-": events.Unknown} {
				if strings.HasPrefix(filepath.Base(file), prefix) && (len(results) != 1 || results[0].Outcome != want) {
					t.Errorf("%s says that it is %s, got %+v", file, want, results)
				}
			}
		})
	}
}

// check is what holds of every Result, whatever was parsed.
func check(t testing.TB, r events.Result) {
	t.Helper()
	if r.Outcome != events.Signaled && r.Signal != (events.Signal{}) {
		t.Errorf("outcome %s with a signal: %+v", r.Outcome, r.Signal)
	}
	if r.Warning && (r.Outcome != events.Ignored || r.About == "") || !r.Warning && r.About != "" {
		t.Errorf("a warning about nothing, or none about something: %+v", r)
	}
	switch r.Outcome {
	case events.Signaled:
		checkSignal(t, r.Signal)
	case events.Ignored, events.Unknown:
		if r.Reason == "" {
			t.Errorf("%s without a reason", r.Outcome)
		}
	case events.Malformed:
		if !strings.HasPrefix(r.Reason, "$") {
			t.Errorf("malformed without a path: %q", r.Reason)
		}
	case events.Scheduled, events.Resumed:
	default:
		t.Errorf("outcome %q", r.Outcome)
	}
}

func checkSignal(t testing.TB, s events.Signal) {
	t.Helper()
	if s.Kind == "" || s.Env == "" || s.Domain == "" || s.Service == "" || strings.Contains(s.Env+s.Domain+s.Service, "/") {
		t.Errorf("a signal about no secret of the scheme: %+v", s)
	}
	path := "/bank/" + s.Env + "/" + s.Domain + "/" + s.Service + "/"
	if s.Name == "" {
		if _, key, ok := strings.Cut(s.ARN, ":secret:"+path); !ok || key == "" || s.Key != "" {
			t.Errorf("a signal without a name, and not of its ARN: %+v", s)
		}
		return
	}
	if s.Name != path+s.Key || s.Key == "" {
		t.Errorf("a name of other parts: %+v", s)
	}
	if s.ARN != "" && (len(s.ARN) < 7 || !strings.HasSuffix(s.ARN[:len(s.ARN)-7], ":secret:"+s.Name)) {
		t.Errorf("an ARN of another name: %+v", s)
	}
}

func TestParseIsTheSameInEveryWrapping(t *testing.T) {
	for _, file := range cases(t) {
		payload := read(t, file)
		var event map[string]any
		if json.Unmarshal(payload, &event) != nil || event["Records"] != nil || event["Type"] != nil {
			continue // not a single event
		}
		want := events.Parse(payload)
		for name, wrapped := range map[string][]byte{"SNS": inSNS(t, payload), "an SNS record": inSNSRecord(t, payload)} {
			if diff := cmp.Diff(want, events.Parse(wrapped)); diff != "" {
				t.Errorf("%s (-bare +in %s):\n%s", file, name, diff)
			}
		}
		if want[0].Outcome != events.Malformed { // else the path says where in the list
			if diff := cmp.Diff(want, events.Parse([]byte("\n\t ["+string(payload)+"]"))); diff != "" {
				t.Errorf("%s (-bare +in a list):\n%s", file, diff)
			}
		}
		want[0].MessageID = "message-1"
		for name, wrapped := range map[string][]byte{"SQS": inSQS(t, payload), "SNS in SQS": inSQS(t, inSNS(t, payload))} {
			if diff := cmp.Diff(want, events.Parse(wrapped)); diff != "" {
				t.Errorf("%s (-bare +in %s):\n%s", file, name, diff)
			}
		}
	}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// inSQS wraps an event as an SQS event source does
// (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).
func inSQS(t testing.TB, body []byte) []byte {
	t.Helper()
	return marshal(t, map[string]any{"Records": []any{map[string]any{"messageId": "message-1", "body": string(body), "eventSource": "aws:sqs"}}})
}

// inSNS wraps an event as SNS does for a subscription without raw message delivery.
func inSNS(t testing.TB, message []byte) []byte {
	t.Helper()
	return marshal(t, map[string]any{"Type": "Notification", "MessageId": "notification-1", "Message": string(message)})
}

// inSNSRecord wraps an event as SNS does for Lambda (https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html).
func inSNSRecord(t testing.TB, message []byte) []byte {
	t.Helper()
	return marshal(t, map[string]any{"Records": []any{map[string]any{"EventSource": "aws:sns", "Sns": json.RawMessage(inSNS(t, message))}}})
}

// Redaction is structural: a value can only leak through a field that could hold it.
func TestSignalHasNoFieldForAValue(t *testing.T) {
	for _, of := range []reflect.Type{reflect.TypeFor[events.Signal](), reflect.TypeFor[events.Result]()} {
		for i := range of.NumField() {
			name := strings.ToLower(of.Field(i).Name)
			if strings.Contains(name, "value") || strings.Contains(name, "string") || strings.Contains(name, "binary") ||
				strings.Contains(name, "detail") && name != "detailtype" || of.Field(i).Type.Kind() == reflect.Slice || of.Field(i).Type.Kind() == reflect.Interface {
				t.Errorf("%s.%s could hold a secret's value", of.Name(), of.Field(i).Name)
			}
		}
	}
}
