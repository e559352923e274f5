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
		ARN        string    `json:",omitempty"`
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
		EventID    string  `json:",omitempty"`
		DetailType string  `json:",omitempty"`
		MessageID  string  `json:",omitempty"`
	}
	all := make([]result, 0, len(results))
	for _, r := range results {
		one := result{Outcome: r.Outcome, Reason: r.Reason, EventID: r.EventID, DetailType: r.DetailType, MessageID: r.MessageID}
		if r.Outcome == events.Signaled {
			s := signal(r.Signal)
			one.Signal = &s
		} else if r.Signal != (events.Signal{}) {
			t.Errorf("outcome %s with a signal: %+v", r.Outcome, r.Signal)
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
			got := shown(t, events.Parse(read(t, file)))
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
		})
	}
}

func TestParseIsTheSameInAMessage(t *testing.T) {
	for _, file := range cases(t) {
		payload := read(t, file)
		var event map[string]any
		if json.Unmarshal(payload, &event) != nil || event["Records"] != nil {
			continue // not a single event
		}
		want := events.Parse(payload)
		for i := range want {
			want[i].MessageID = "message-1"
		}
		if diff := cmp.Diff(want, events.Parse(message(t, payload))); diff != "" {
			t.Errorf("%s (-bare +in a message):\n%s", file, diff)
		}
	}
}

// message wraps an event as an SQS event source does
// (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).
func message(t testing.TB, body []byte) []byte {
	t.Helper()
	type record struct {
		MessageID   string `json:"messageId"`
		Body        string `json:"body"`
		EventSource string `json:"eventSource"`
	}
	text, err := json.Marshal(map[string][]record{"Records": {{"message-1", string(body), "aws:sqs"}}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParseWhatIsNoJSON(t *testing.T) {
	for _, payload := range []string{"", canary, "{", `{"detail":`, "\x00\xff", `{"id":"` + canary} {
		for _, r := range append(events.Parse([]byte(payload)), events.Parse(message(t, []byte(payload)))...) {
			if r.Outcome != events.Malformed || !strings.HasPrefix(r.Reason, "$") || strings.Contains(r.Reason, canary) {
				t.Errorf("%q: got %+v", payload, r)
			}
		}
	}
}

// Redaction is structural: a value can only leak through a field that could hold it.
func TestSignalHasNoFieldForAValue(t *testing.T) {
	s := reflect.TypeFor[events.Signal]()
	for i := range s.NumField() {
		name := strings.ToLower(s.Field(i).Name)
		if strings.Contains(name, "value") || strings.Contains(name, "string") || strings.Contains(name, "binary") || strings.Contains(name, "detail") && name != "detailtype" {
			t.Errorf("Signal.%s could hold a secret's value", s.Field(i).Name)
		}
	}
}

// FuzzParse: nothing makes Parse panic or end without a known outcome, and fields that it does not read change nothing, so
// that no value in one can come out.
func FuzzParse(f *testing.F) {
	for _, file := range cases(f) {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, r := range events.Parse(payload) {
			check(t, r)
		}
		var decoded any
		if json.Unmarshal(payload, &decoded) != nil {
			return
		}
		plain, err := json.Marshal(decoded)
		if err != nil {
			t.Fatal(err)
		}
		planted, err := json.Marshal(plant(decoded))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(events.Parse(plain), events.Parse(planted)); diff != "" {
			t.Errorf("a field that is not read made a difference (-without +with):\n%s", diff)
		}
	})
}

func check(t *testing.T, r events.Result) {
	t.Helper()
	switch r.Outcome {
	case events.Signaled:
		s := r.Signal
		if s.Name != "/bank/"+s.Env+"/"+s.Domain+"/"+s.Service+"/"+s.Key || s.Kind == "" || s.Env == "" || s.Domain == "" || s.Service == "" || s.Key == "" {
			t.Errorf("a signal about no secret of the scheme: %+v", s)
		}
		if strings.Contains(s.Env+s.Domain+s.Service, "/") {
			t.Errorf("a segment has a slash: %+v", s)
		}
	case events.Ignored:
		if r.Reason == "" {
			t.Error("ignored without a reason")
		}
	case events.Malformed:
		if !strings.HasPrefix(r.Reason, "$") {
			t.Errorf("malformed without a path: %q", r.Reason)
		}
	case events.Unknown, events.Scheduled:
	default:
		t.Errorf("outcome %q", r.Outcome)
	}
}

// plant puts a canary into every object, also into the events in the bodies of messages.
func plant(v any) any {
	switch v := v.(type) {
	case []any:
		with := make([]any, len(v))
		for i, element := range v {
			with[i] = plant(element)
		}
		return with
	case map[string]any:
		with := map[string]any{"secretString": canary, "SecretBinary": []any{canary}, "requestParameters": map[string]any{"secretString": canary}}
		for key, element := range v {
			if body, ok := element.(string); ok && strings.EqualFold(key, "body") {
				with[key] = plantInBody(body)
				continue
			}
			with[key] = plant(element)
		}
		return with
	default:
		return v
	}
}

func plantInBody(body string) string {
	var event map[string]any
	if json.Unmarshal([]byte(body), &event) != nil || event == nil {
		return body
	}
	text, err := json.Marshal(plant(event))
	if err != nil {
		return body
	}
	return string(text)
}
