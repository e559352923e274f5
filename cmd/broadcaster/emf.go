package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// namespace is where CloudWatch keeps the metrics.
const namespace = "SecretBroadcaster"

// maxValues is how many values one metric may have in one document
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
const maxValues = 100

// readings are the values that were measured, by metric. CloudWatch counts each of them, so that percentiles are right.
type readings map[metricName][]float64

// count adds to a metric that has one value.
func (r readings) count(name metricName, n int) {
	if len(r[name]) == 0 {
		r[name] = []float64{0}
	}
	r[name][0] += float64(n)
}

// took adds one duration, which clocks that differ may make negative.
func (r readings) took(name metricName, d time.Duration) {
	r[name] = append(r[name], float64(max(0, d).Milliseconds()))
}

// write writes the readings in CloudWatch's embedded metric format, a line per document: one, unless a metric has more values
// than a document takes. There is no text in it but env, domain and the metrics' names.
func (r readings) write(out io.Writer, at time.Time, env, domain string) error {
	left := readings{}
	for name, values := range r {
		left[name] = values
	}
	for len(left) > 0 {
		document := map[string]any{"env": env, "domain": domain}
		var definitions []map[string]string
		for _, m := range metrics() {
			values := left[m.name]
			delete(left, m.name)
			if len(values) == 0 {
				continue
			}
			if len(values) > maxValues {
				left[m.name] = values[maxValues:]
				values = values[:maxValues]
			}
			definitions = append(definitions, map[string]string{"Name": string(m.name), "Unit": m.unit})
			if document[string(m.name)] = values; len(values) == 1 {
				document[string(m.name)] = values[0]
			}
		}
		if len(definitions) == 0 {
			return nil // what is left was empty
		}
		document["_aws"] = map[string]any{
			"Timestamp": at.UnixMilli(),
			"CloudWatchMetrics": []map[string]any{{
				"Namespace": namespace, "Dimensions": [][]string{{"env", "domain"}}, "Metrics": definitions,
			}},
		}
		line, err := json.Marshal(document)
		if err != nil {
			return fmt.Errorf("encoding metrics: %w", err)
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("writing metrics: %w", err)
		}
	}
	return nil
}
