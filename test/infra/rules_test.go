package infra

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/events"
)

// neighbours are a domain with its lookalikes, another one, and one whose name has a hyphen.
func neighbours() []string {
	return []string{"payments", "payments-archive", "payment", "kyc", "risk-platform"}
}

// patterns returns a domain's rules, but for the schedule's.
func patterns(s stack) map[string]any {
	all := map[string]any{}
	for id, rule := range s.of("AWS::Events::Rule") {
		if pattern, has := rule.Properties["EventPattern"]; has {
			all[id] = pattern
		}
	}
	return all
}

// A sample is an event that EventBridge might carry.
type sample struct {
	name string
	text []byte
}

// samples are package events' testdata as far as they are events, with each name of prod/payments moved to another domain.
func samples(t testing.TB, domain string) []sample {
	t.Helper()
	var all []sample
	dir := filepath.Join(root, "events", "testdata")
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".golden.json") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if name == "label-updated/deep-in-what-is-not-read.json" {
			return err // deeper than AWS's matcher reads: EventBridge does not carry it
		}
		moved := []byte(strings.ReplaceAll(string(text), "/bank/prod/payments/", "/bank/prod/"+domain+"/"))
		for _, one := range bare(moved) {
			all = append(all, sample{name, one})
		}
		return err
	})
	if err != nil || len(all) < 150 {
		t.Fatalf("finding events: %d, %v", len(all), err)
	}
	return all
}

// bare returns the events in a text: itself, or those of a list. EventBridge sends neither what is no JSON object nor what is
// wrapped.
func bare(text []byte) []json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(text, &list) != nil {
		list = []json.RawMessage{text}
	}
	return slices.DeleteFunc(list, func(one json.RawMessage) bool {
		var event struct {
			Source any `json:"source"`
		}
		return json.Unmarshal(one, &event) != nil || event.Source == nil
	})
}

// made are events with the secret's identity in each place in which the parser reads it, by name and by ARN.
func made(t testing.TB, domain string) []sample {
	t.Helper()
	name := "/bank/prod/" + domain + "/neon/connection-string"
	arn := fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s-a1B2c3", region, account, name)
	places := []struct {
		within, key string
		values      []string
	}{
		{"requestParameters", "secretId", []string{name, arn}},
		{"requestParameters", "name", []string{name}},
		{"responseElements", "arn", []string{arn}},
		{"responseElements", "aRN", []string{arn}},
		{"responseElements", "name", []string{name}},
		{"additionalEventData", "SecretId", []string{name, arn}},
		{"additionalEventData", "secretId", []string{name, arn}}, // AWS has corrected such a spelling before
		{"additionalEventData", "ARN", []string{arn}},
		{"additionalEventData", "Name", []string{name}},
		{"serviceEventDetails", "secretId", []string{name, arn}},
	}
	details := map[string][]string{
		"AWS API Call via CloudTrail": {
			"PutSecretValue", "UpdateSecretVersionStage", "UpdateSecret", "CreateSecret", "DeleteSecret", "RestoreSecret",
			"RotateSecret", "CancelRotateSecret", "TagResource", "PutResourcePolicy", "ReplicateSecretToRegions", "GetSecretValue", "NobodyKnows",
		},
		"AWS Service Event via CloudTrail": {
			"RotationSucceeded", "ReplicationSucceeded", "RotationFailed", "RotationAbandoned", "ReplicationFailed",
			"RotationStarted", "TestRotationSucceeded", "TestRotationFailed", "ReplicationStarted", "SecretVersionDeletion", "NobodyKnows",
		},
	}
	extras := map[string]tree{
		" that failed":     {"errorCode": "AccessDenied"},
		" without error":   {"errorCode": ""},
		" of null error":   {"errorCode": nil},
		" that is read":    {"readOnly": true},
		" not read only":   {"readOnly": false},
		" null read only":  {"readOnly": nil},
		" of null answer":  {"responseElements": nil},
		" of null details": {"serviceEventDetails": nil},
	}
	labels := map[string]map[string]tree{ // only these calls have a parameter of labels
		"PutSecretValue": {
			" of AWSCURRENT":         {"versionStages": []string{"AWSCURRENT"}},
			" of AWSPENDING":         {"versionStages": []string{"AWSPENDING"}},
			" of several labels":     {"versionStages": []string{"mine", "AWSCURRENT"}},
			" of no label in a list": {"versionStages": []string{}},
			" of null for labels":    {"versionStages": nil},
		},
		"UpdateSecretVersionStage": {
			" of AWSCURRENT":       {"versionStage": "AWSCURRENT"},
			" of AWSPENDING":       {"versionStage": "AWSPENDING"},
			" of an empty label":   {"versionStage": ""},
			" of null for a label": {"versionStage": nil},
		},
	}
	var all []sample
	add := func(what, kind, within, key, value string, detail tree) {
		if detail["requestParameters"] == nil {
			detail["requestParameters"] = tree{}
		}
		in, isThere := detail[within].(tree)
		if !isThere {
			in = tree{}
			detail[within] = in
		}
		in[key] = value
		detail["eventSource"] = "secretsmanager.amazonaws.com"
		all = append(all, envelope(t, what, tree{"detail-type": kind, "detail": detail}))
	}
	for kind, eventNames := range details {
		for _, eventName := range eventNames {
			for _, place := range places {
				for _, value := range place.values {
					add(fmt.Sprintf("%s by %s.%s %.4s", eventName, place.within, place.key, value), kind, place.within, place.key, value, tree{"eventName": eventName})
				}
			}
			for extraName, extra := range extras {
				detail := maps.Clone(extra)
				detail["eventName"] = eventName
				add(eventName+extraName, kind, "additionalEventData", "Name", name, detail)
			}
			for label, parameter := range labels[eventName] {
				add(eventName+label, kind, "additionalEventData", "Name", name, tree{"eventName": eventName, "requestParameters": parameter})
			}
		}
	}
	return slices.Concat(all, strange(t, name), foreign(t, name))
}

// foreign are calls from this account about another account's secret of the same name, with its ARN in one place, or in each.
func foreign(t testing.TB, name string) []sample {
	t.Helper()
	other := fmt.Sprintf("arn:aws:secretsmanager:%s:444455556666:secret:%s-a1B2c3", region, name)
	var all []sample
	for _, eventName := range []string{"PutSecretValue", "DeleteSecret", "RestoreSecret"} {
		for _, spelled := range []string{"arn", "aRN"} {
			for what, request := range map[string]tree{"by ARN": {"secretId": other}, "by nothing": nil} {
				all = append(all, envelope(t, eventName+" of another account's, "+what+", "+spelled, tree{
					"detail-type": "AWS API Call via CloudTrail",
					"detail":      tree{"eventName": eventName, "requestParameters": request, "responseElements": tree{spelled: other, "name": name}},
				}))
			}
			all = append(all, envelope(t, "rotation of another account's, "+spelled, tree{
				"detail-type": "AWS Service Event via CloudTrail",
				"detail":      tree{"eventName": "RotationSucceeded", "responseElements": tree{spelled: other, "name": name}},
			}))
		}
	}
	return all
}

// strange are events of a secret that differ from right ones in one field of the envelope.
func strange(t testing.TB, name string) []sample {
	t.Helper()
	arn := fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s-a1B2c3", region, account, name)
	right := map[string]tree{
		"Secret Label Updated":             {"resources": []string{arn}, "detail": tree{"name": name, "labelUpdated": "AWSCURRENT", "versionId": "v1"}},
		"AWS API Call via CloudTrail":      {"detail": tree{"eventName": "DeleteSecret", "requestParameters": tree{"secretId": name}}},
		"AWS Service Event via CloudTrail": {"detail": tree{"eventName": "RotationSucceeded", "additionalEventData": tree{"Name": name}}},
		"Secret Change Hint":               {"source": "secret-broadcaster", "detail": tree{"name": name}},
	}
	var all []sample
	for kind, event := range right {
		for field, value := range map[string]string{
			"id": "2", "detail-type": "Another", "source": "aws.another", "account": "444455556666", "region": "eu-central-1",
		} {
			changed := maps.Clone(event)
			if kind == "Secret Label Updated" { // where the secret is stands in its ARN, too
				in := map[string]string{"account": account, "region": region}
				in[field] = value
				changed["resources"] = []string{strings.NewReplacer(account, in["account"], region, in["region"]).Replace(arn)}
			}
			changed["detail-type"] = kind
			changed[field] = value
			all = append(all, envelope(t, fmt.Sprintf("%s with %s %s", kind, field, value), changed))
		}
	}
	return all
}

// envelope is an event with all that EventBridge puts around it.
func envelope(t testing.TB, what string, fields tree) sample {
	t.Helper()
	event := tree{
		"id": "1", "source": "aws.secretsmanager", "account": account, "region": region, "time": "2026-11-23T10:00:00Z", "resources": []string{},
	}
	maps.Copy(event, fields)
	text, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return sample{what, text}
}

// wanted reports whether an event is for the broadcaster of a domain; either is true of what nobody can tell.
func wanted(t testing.TB, one sample, domain string) (wants, either bool) {
	t.Helper()
	results := events.Parse(one.text)
	if len(results) != 1 {
		t.Fatalf("%s is %d events", one.name, len(results))
	}
	prefix := "/bank/prod/" + domain + "/"
	switch r := results[0]; {
	case r.Outcome == events.Signaled:
		s := r.Signal
		// As invalidation.Broadcaster takes it: what says nothing of an account or a Region is of this one.
		wants = s.Env == "prod" && s.Domain == domain && (s.Account == account || s.Account == "") && (s.Region == region || s.Region == "")
		return wants, wants && decidedByNull(t, one)
	case r.Warning:
		own := fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s", region, account, prefix)
		return strings.HasPrefix(r.About, prefix) || strings.HasPrefix(r.About, own), false
	case r.Outcome == events.Malformed:
		// A malformed event that says that it is of this domain may come, and be parked for people to see.
		return false, strings.Contains(string(one.text), prefix)
	case r.Outcome == events.Ignored && strings.Contains(r.Reason, "is outside /bank/"):
		// A prefix cannot tell /bank/prod/payments/x from /bank/prod/payments/x/y. A wildcard could, but a bus has 30.
		return false, strings.Contains(string(one.text), prefix)
	default:
		return false, false
	}
}

// decidedByNull reports whether null stands where a rule has conditions on values. CloudFormation takes no template with a null, so no
// rule here can match it; CloudTrail leaves such a field out. If it sent one after all, a tick would find the change.
func decidedByNull(t testing.TB, one sample) bool {
	t.Helper()
	var event struct {
		Detail struct {
			ErrorCode json.RawMessage `json:"errorCode"`
			ReadOnly  json.RawMessage `json:"readOnly"`
			Request   struct {
				Stages json.RawMessage `json:"versionStages"`
				Stage  json.RawMessage `json:"versionStage"`
			} `json:"requestParameters"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(one.text, &event); err != nil {
		t.Fatal(err)
	}
	is := []byte("null")
	return bytes.Equal(event.Detail.ErrorCode, is) || bytes.Equal(event.Detail.ReadOnly, is) ||
		bytes.Equal(event.Detail.Request.Stages, is) || bytes.Equal(event.Detail.Request.Stage, is)
}

// TestRulesMatchWhatTheParserWants: each domain's rules match an event if, and only if, package events makes a signal or a warning
// of this domain out of it. AWS's own matcher says what matches.
func TestRulesMatchWhatTheParserWants(t *testing.T) {
	for _, domainName := range neighbours() {
		of := rules{patterns: patterns(domain(t, domainName))}
		for _, neighbour := range neighbours() {
			for _, one := range append(samples(t, neighbour), made(t, neighbour)...) {
				of.about = append(of.about, sample{neighbour + ": " + one.name, one.text})
			}
		}
		for _, one := range append(samples(t, domainName), made(t, domainName)...) {
			of.about = append(of.about, sample{"dev: " + one.name, bytes.ReplaceAll(one.text, []byte("/bank/prod/"), []byte("/bank/dev/"))})
		}
		matched, never := 0, map[string]bool{}
		for id := range of.patterns {
			never[id] = true
		}
		for i, found := range matching(t, of) {
			wants, either := wanted(t, of.about[i], domainName)
			if got := len(found) > 0; got != wants && !either {
				t.Errorf("%s's rules, %s: matched by %v, but wanted: %v\n%s", domainName, of.about[i].name, found, wants, of.about[i].text)
			}
			if len(found) > 1 {
				t.Errorf("%s's rules, %s: matched by %v, so it comes twice", domainName, of.about[i].name, found)
			}
			for _, id := range found {
				delete(never, id)
				matched++
			}
			if t.Failed() && i > 50 {
				t.FailNow()
			}
		}
		if len(never) > 0 || matched < 100 {
			t.Errorf("%s's rules match %d events, and %v none: this test shows nothing", domainName, matched, slices.Sorted(maps.Keys(never)))
		}
	}
}

// TestEachPartOfARuleIsNeeded: whatever is taken out of a pattern, an event is decided in another way. So the test above would
// notice each mistake that leaves something out.
func TestEachPartOfARuleIsNeeded(t *testing.T) {
	whole := rules{patterns: patterns(domain(t, "payments"))}
	whole.about = slices.Concat(samples(t, "payments"), samples(t, "payments-archive"), made(t, "payments"))
	sets := []rules{whole}
	var broken []string
	for _, id := range slices.Sorted(maps.Keys(whole.patterns)) {
		without(whole.patterns[id], id, func(what string, pattern any) {
			broken = append(broken, what)
			sets = append(sets, rules{map[string]any{id: pattern}, whole.about})
		}, func(pattern any) any { return pattern })
	}
	if len(broken) < 40 {
		t.Fatalf("only %d parts were found", len(broken))
	}
	decided := slices.Collect(slices.Chunk(matching(t, sets...), len(whole.about)))
	for i, what := range broken {
		id, _, _ := strings.Cut(what, ".")
		if slices.EqualFunc(decided[0], decided[i+1], func(is, now []string) bool { return slices.Contains(is, id) == (len(now) > 0) }) {
			t.Errorf("without %s every event is decided as before", what)
		}
	}
}

// without calls visit with the pattern once for each part, without this part: an alternative of a list, or a whole condition.
func without(part any, at string, visit func(what string, pattern any), in func(any) any) {
	switch part := part.(type) {
	case []any:
		for i, item := range part {
			if len(part) > 1 && !(strings.HasSuffix(at, "$or") && len(part) == 2) { // an $or needs two
				visit(fmt.Sprintf("%s[%d] %v", at, i, item), in(slices.Delete(slices.Clone(part), i, i+1)))
			}
			without(item, fmt.Sprintf("%s[%d]", at, i), visit, func(now any) any {
				other := slices.Clone(part)
				other[i] = now
				return in(other)
			})
		}
	case tree:
		for key, value := range part {
			if _, isOperator := value.(string); isOperator || key == "exists" {
				continue // {"prefix": …} goes as a whole
			}
			if len(part) > 1 {
				other := maps.Clone(part)
				delete(other, key)
				visit(at+"."+key, in(other))
			}
			without(value, at+"."+key, visit, func(now any) any {
				other := maps.Clone(part)
				other[key] = now
				return in(other)
			})
		}
	}
}

// TestRulesFitTheQuotas: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html.
func TestRulesFitTheQuotas(t *testing.T) {
	longest := domain(t, strings.Repeat("d", 22), "Env", strings.Repeat("e", 12),
		"AWS::Partition", "aws-us-gov", "AWS::Region", "ap-southeast-99") // longer than any there is
	all := longest.of("AWS::Events::Rule")
	for id, rule := range all {
		if pattern, has := rule.Properties["EventPattern"]; has {
			text, err := json.Marshal(pattern)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d characters of 2,048", id, len(text))
			if len(text) > 2048 {
				t.Errorf("%s is of %d characters, AWS takes 2,048", id, len(text))
			}
			if strings.Contains(string(text), "wildcard") {
				t.Errorf("%s has a wildcard: a bus has 30 such rules", id)
			}
		}
		if name := rule.Properties["Name"].(string); len(name) > 64 {
			t.Errorf("%s is longer than 64 characters", name)
		}
		if targets := rule.Properties["Targets"].([]any); len(targets) != 1 {
			t.Errorf("%s has %d targets: the quota is counted with one", id, len(targets))
		}
	}
	const domains, environments, perBus = 8, 3, 300
	if got := len(all) * domains * environments; len(all) == 0 || got > perBus/2 {
		t.Errorf("%d domains in %d environments of one account are %d rules: AWS takes %d a bus", domains, environments, got, perBus)
	}
	bucket := platform(t, "Env", strings.Repeat("e", 12), "AWS::Region", "ap-southeast-99").resources["Artifacts"].Properties["BucketName"].(string)
	if len(bucket) > 63 {
		t.Errorf("the name of the bucket, %s, is longer than 63 characters", bucket)
	}
	for kind, most := range map[string]int{"AWS::IAM::Role": 64, "AWS::Lambda::Function": 64, "AWS::SQS::Queue": 80, "AWS::IAM::ManagedPolicy": 128} {
		for id, r := range longest.of(kind) {
			if name := r.Properties[names()[kind][0]].(string); len(name) > most {
				t.Errorf("the name of %s, %s, is longer than %d characters", id, name, most)
			}
		}
	}
}
