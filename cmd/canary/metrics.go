package main

import (
	"encoding/json"
	"fmt"
	"time"
)

// measure writes a run's metrics in CloudWatch's embedded metric format, where the broadcaster's are:
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
func (c *canary) measure(r run, failure error) error {
	definitions := []map[string]string{{"Name": "CanarySucceeded", "Unit": "Count"}}
	document := map[string]any{"env": c.env, "domain": c.domain, "CanarySucceeded": 0}
	if failure == nil {
		definitions = append(definitions, map[string]string{"Name": "ChangeToServed", "Unit": "Milliseconds"})
		document["CanarySucceeded"], document["ChangeToServed"] = 1, r.Milliseconds
	}
	document["_aws"] = map[string]any{
		"Timestamp": time.Now().UnixMilli(),
		"CloudWatchMetrics": []map[string]any{{
			"Namespace": "SecretBroadcaster", "Dimensions": [][]string{{"env", "domain"}}, "Metrics": definitions,
		}},
	}
	line, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encoding metrics: %w", err)
	}
	if _, err := c.metrics.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing metrics: %w", err)
	}
	return nil
}
