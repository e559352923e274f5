package doctor

import (
	"encoding/json"
	"time"
)

// A sample is an event about a secret of a domain, of a kind that has to arrive.
type sample struct {
	name, event string
	ofAWS       bool
}

// A place is what secrets are of.
type place struct{ env, domain string }

func (w place) String() string { return w.env + "/" + w.domain }

func (w place) sampleName() string { return "/bank/" + w.env + "/" + w.domain + "/doctor/sample" }

// sampleName is the name of a secret of the domain that nobody has.
func (p *patient) sampleName() string { return p.place().sampleName() }

// place is the domain's.
func (p *patient) place() place { return place{p.cfg.Env, p.cfg.Domain} }

// lookalike is a domain that a prefix without its slash takes for this one.
func (p *patient) lookalike() string { return p.cfg.Domain + "-archive" }

// samples are an event of each kind that tells of a change or of a failure, about a secret of a place.
func (p *patient) samples(of place) []sample {
	const aws, from = "aws.secretsmanager", "secretsmanager.amazonaws.com"
	name := of.sampleName()
	secret := p.secretARN(name)
	event := func(source, detailType string, resources []string, detail map[string]any) string {
		text, _ := json.Marshal(map[string]any{ // strings
			"version": "0", "id": "0d0b4a3e-5b0f-4b43-9d3c-2f6d5a1b7c11", "detail-type": detailType, "source": source,
			"account": p.function.AccountID, "time": p.cfg.Now().UTC().Format(time.RFC3339), "region": p.function.Region, "resources": resources, "detail": detail,
		})
		return string(text)
	}
	all := []sample{
		{"Secret Label Updated", event(aws, "Secret Label Updated", []string{secret}, map[string]any{"name": name, "labelUpdated": "AWSCURRENT", "versionId": "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE"}), true},
		{"Secret Change Hint", event("secret-broadcaster", "Secret Change Hint", []string{}, map[string]any{"name": name}), false},
	}
	for _, call := range []struct {
		name    string
		request map[string]any
	}{
		{"PutSecretValue", map[string]any{"secretId": name}},
		{"UpdateSecretVersionStage", map[string]any{"secretId": name, "versionStage": "AWSCURRENT"}},
		{"UpdateSecret", map[string]any{"secretId": name}},
		{"CreateSecret", map[string]any{"name": name}},
		{"DeleteSecret", map[string]any{"secretId": name}},
		{"RestoreSecret", map[string]any{"secretId": name}},
	} {
		all = append(all, sample{call.name, event(aws, "AWS API Call via CloudTrail", []string{}, map[string]any{
			"eventSource": from, "eventName": call.name, "requestParameters": call.request, "responseElements": map[string]any{"arn": secret, "name": name},
		}), true})
	}
	for _, what := range []string{"RotationSucceeded", "ReplicationSucceeded", "RotationFailed", "RotationAbandoned", "ReplicationFailed"} {
		all = append(all, sample{what, event(aws, "AWS Service Event via CloudTrail", []string{}, map[string]any{
			"eventSource": from, "eventName": what, "additionalEventData": map[string]any{"SecretId": secret},
		}), true})
	}
	return all
}
