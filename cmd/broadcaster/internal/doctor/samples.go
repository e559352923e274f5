package doctor

import (
	"encoding/json"
	"fmt"
	"time"
)

// A sample is an event about a secret of a domain, of a kind that has to arrive.
type sample struct {
	name, event string
	ofAWS       bool
}

// sampleName is the name of a secret that nobody has.
func sampleName(env, domain string) string { return "/bank/" + env + "/" + domain + "/doctor/sample" }

func (p *patient) samples(domain string) []sample {
	name := sampleName(p.cfg.Env, domain)
	secret := fmt.Sprintf("arn:%s:secretsmanager:%s:%s:secret:%s-a1B2c3", p.function.Partition, p.function.Region, p.function.AccountID, name)
	of := func(detailType, source string, resources []string, detail map[string]any) string {
		text, _ := json.Marshal(map[string]any{ // strings
			"version": "0", "id": "0d0b4a3e-5b0f-4b43-9d3c-2f6d5a1b7c11", "detail-type": detailType, "source": source,
			"account": p.function.AccountID, "time": p.cfg.Now().UTC().Format(time.RFC3339), "region": p.function.Region, "resources": resources, "detail": detail,
		})
		return string(text)
	}
	const aws, trail, service = "aws.secretsmanager", "AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"
	const from = "secretsmanager.amazonaws.com"
	return []sample{
		{"Secret Label Updated", of("Secret Label Updated", aws, []string{secret}, map[string]any{"name": name, "labelUpdated": "AWSCURRENT", "versionId": "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE"}), true},
		{"DeleteSecret", of(trail, aws, []string{}, map[string]any{
			"eventSource": from, "eventName": "DeleteSecret", "requestParameters": map[string]any{"secretId": name}, "responseElements": map[string]any{"arn": secret, "name": name},
		}), true},
		{"RotationSucceeded", of(service, aws, []string{}, map[string]any{
			"eventSource": from, "eventName": "RotationSucceeded", "additionalEventData": map[string]any{"SecretId": secret},
		}), true},
		{"Secret Change Hint", of("Secret Change Hint", "secret-broadcaster", []string{}, map[string]any{"name": name}), false},
	}
}
