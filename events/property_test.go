package events_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/events"
)

// names are such that are almost ours, or lie about their domain.
func names() *rapid.Generator[string] {
	segment := rapid.OneOf(
		rapid.SampledFrom([]string{
			"prod", "payments", "payments-archive", "Payments", "payments ", "kyc", "neon", "connection-string", "x", "..", ".", "", "bank",
			"-abcdef", "a-abcdef", "abcdef", "*", "payments%2Fneon", "p\u0430yments", "a\x00b", "a\nb", "\xff", ":secret:", "secret:/bank/prod/kyc/x", strings.Repeat("y", 500),
		}),
		rapid.StringMatching(`[A-Za-z0-9_+=.@-]{1,12}`),
		rapid.String(),
	)
	return rapid.Custom(func(t *rapid.T) string {
		root := rapid.SampledFrom([]string{"/bank/", "/bank/", "/bank/", "/bank/", "bank/", "//bank/", "/Bank/", "/bank", ""}).Draw(t, "root")
		return root + strings.Join(rapid.SliceOfN(segment, 0, 6).Draw(t, "segments"), "/")
	})
}

// ways are those in which an event says which secret it is about. Where a typed ARN is all there is, the name is not certain.
func ways() map[string]func(t testing.TB, name string) []byte {
	const arn = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:"
	event := func(t testing.TB, source, detailType string, resources []string, detail map[string]any) []byte {
		return marshal(t, map[string]any{
			"id": "1", "source": source, "detail-type": detailType, "account": "111122223333", "region": "eu-west-2",
			"time": "2026-11-23T10:00:00Z", "resources": resources, "detail": detail,
		})
	}
	call := func(t testing.TB, request, response string) []byte {
		return event(t, "aws.secretsmanager", "AWS API Call via CloudTrail", nil, map[string]any{
			"eventName": "PutSecretValue", "requestParameters": map[string]any{"secretId": request}, "responseElements": map[string]any{"arn": response},
		})
	}
	return map[string]func(testing.TB, string) []byte{
		"hint": func(t testing.TB, name string) []byte {
			return event(t, events.HintSource, events.HintDetailType, nil, map[string]any{"name": name})
		},
		"native": func(t testing.TB, name string) []byte {
			return event(t, "aws.secretsmanager", "Secret Label Updated", []string{arn + name + "-a1B2c3"},
				map[string]any{"name": name, "labelUpdated": "AWSCURRENT", "versionId": "v1"})
		},
		"service event": func(t testing.TB, name string) []byte {
			return event(t, "aws.secretsmanager", "AWS Service Event via CloudTrail", nil,
				map[string]any{"eventName": "RotationSucceeded", "additionalEventData": map[string]any{"SecretId": arn + name + "-a1B2c3"}})
		},
		"call by name":                func(t testing.TB, name string) []byte { return call(t, name, arn+name+"-a1B2c3") },
		"call by name alone":          func(t testing.TB, name string) []byte { return call(t, name, "") },
		"call by ARN":                 func(t testing.TB, name string) []byte { return call(t, arn+name+"-a1B2c3", arn+name+"-a1B2c3") },
		"call by ARN, no suffix":      func(t testing.TB, name string) []byte { return call(t, arn+name, arn+name+"-a1B2c3") },
		"call by typed ARN":           func(t testing.TB, name string) []byte { return call(t, arn+name+"-a1B2c3", "") },
		"call by typed ARN, as typed": func(t testing.TB, name string) []byte { return call(t, arn+name, "") },
	}
}

// A signal is of the domain that is the third segment of the secret's name, exactly, in whatever way the event names the
// secret and in whatever it is wrapped; and of a name of the scheme there is a signal.
func TestASignalIsOfTheNamesOwnDomain(t *testing.T) {
	scheme := regexp.MustCompile(`^/bank/[A-Za-z0-9_+=.@-]+/[A-Za-z0-9_+=.@-]+/[A-Za-z0-9_+=.@-]+/[A-Za-z0-9/_+=.@-]+$`)
	for way, event := range ways() {
		t.Run(way, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				name := names().Draw(r, "name")
				payload := event(t, name)
				switch rapid.IntRange(0, 4).Draw(r, "wrapping") {
				case 1:
					payload = inSQS(t, payload)
				case 2:
					payload = inSNSRecord(t, payload)
				case 3:
					payload = inSQS(t, inSNS(t, payload))
				case 4:
					payload = []byte("[" + string(payload) + "]")
				}
				results := events.Parse(payload)
				ours := scheme.MatchString(name) && len(name) <= 512
				if way == "call by typed ARN" && !ours { // the name alone may be outside although the ARN, taken for a name, is not
					ours = scheme.MatchString(name+"-a1B2c3") && len(name) <= 512
				}
				if len(results) != 1 || (results[0].Outcome == events.Signaled) != ours {
					r.Fatalf("%q: want a signal: %t, got %+v", name, ours, results)
				}
				if !ours {
					return
				}
				s, segments := results[0].Signal, strings.Split(name, "/")
				checkSignal(t, s)
				if s.Env != segments[2] || s.Domain != segments[3] || s.Service != segments[4] {
					r.Fatalf("%q: got %+v", name, s)
				}
				if certain := !strings.Contains(way, "typed"); (s.Name != "") != certain || certain && s.Name != name {
					r.Fatalf("%q: got the name %q", name, s.Name)
				}
			})
		})
	}
}
