package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// emfSchema holds CloudWatch's rules for the format.
func emfSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("testdata/emf.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("test:///emf", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("test:///emf")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// A measured is what CloudWatch makes of lines: every value of each metric, with the metric's unit.
type measured struct {
	values map[metricName][]float64
	units  map[metricName]string
}

// read returns what CloudWatch makes of the lines, each of which must be a valid document.
func readEMF(t *testing.T, lines string) measured {
	t.Helper()
	schema := emfSchema(t)
	m := measured{map[metricName][]float64{}, map[metricName]string{}}
	for line := range strings.Lines(lines) {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
		var is struct {
			AWS struct {
				CloudWatchMetrics []struct {
					Metrics []struct{ Name, Unit string }
				}
			} `json:"_aws"`
		}
		var members map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal([]byte(line), &is), json.Unmarshal([]byte(line), &members)); err != nil {
			t.Fatal(err)
		}
		for _, d := range is.AWS.CloudWatchMetrics[0].Metrics {
			var values []float64
			if json.Unmarshal(members[d.Name], &values) != nil {
				values = make([]float64, 1)
				if err := json.Unmarshal(members[d.Name], &values[0]); err != nil {
					t.Errorf("%s has no values: %v", d.Name, err)
				}
			}
			m.values[metricName(d.Name)] = append(m.values[metricName(d.Name)], values...)
			m.units[metricName(d.Name)] = d.Unit
			delete(members, d.Name)
		}
		if len(members) != 3 { // _aws, env and domain
			t.Errorf("members that are no metric: %v", members)
		}
	}
	return m
}

func TestReadingsAreEmbeddedMetrics(t *testing.T) {
	r := readings{}
	r.count(received, 2)
	r.count(received, 3)
	r.count(failed, 0)
	for i := range 2*maxValues + 1 {
		r.took(eventToAppend, time.Duration(i)*time.Millisecond)
	}
	r.took(appendToAck, -time.Second) // clocks differ
	r[behind] = nil
	var out bytes.Buffer
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	if err := r.write(&out, at, "prod", "payments"); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d documents, want 3: one has %d values of a metric at the most", n, maxValues)
	}
	if !strings.Contains(out.String(), fmt.Sprintf(`"Timestamp":%d`, at.UnixMilli())) {
		t.Errorf("the time is missing in\n%s", &out)
	}
	m := readEMF(t, out.String())
	if times := m.values[eventToAppend]; len(times) != 2*maxValues+1 || times[0] != 0 || times[2*maxValues] != 2*maxValues {
		t.Errorf("%d durations are left", len(times))
	}
	delete(m.values, eventToAppend)
	if diff := cmp.Diff(map[metricName][]float64{received: {5}, failed: {0}, appendToAck: {0}}, m.values); diff != "" {
		t.Errorf("values (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[metricName]string{received: "Count", failed: "Count", appendToAck: "Milliseconds", eventToAppend: "Milliseconds"}, m.units); diff != "" {
		t.Errorf("units (-want +got)\n%s", diff)
	}
}

func TestWithoutReadingsThereIsNoLine(t *testing.T) {
	var out bytes.Buffer
	if err := (readings{behind: nil}).write(&out, time.Now(), "prod", "payments"); err != nil || out.Len() > 0 {
		t.Errorf("got %q, %v", &out, err)
	}
}

func TestMetricsThatCannotBeWrittenAreAnError(t *testing.T) {
	if err := (readings{behind: {1}}).write(closedPipe{}, time.Now(), "prod", "payments"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }
