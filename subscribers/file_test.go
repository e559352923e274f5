package subscribers_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

func TestAFilesProblemsStandAtTheirFields(t *testing.T) {
	const text = `apiVersion: secret-broadcaster/v1
env: prod
domain: payments
owner: team
services:
  - name: payments-api
    function: payments-api:live
    secrets: ["neon/*"]
  - {name: payments-batch, secrets: ["**"]}
`
	f, err := subscribers.Parse("payments.yaml", []byte(text), "prod", "payments")
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]subscribers.Problem{
		"services[0].function": {File: "payments.yaml", Line: 7, Column: 15, Text: "services[0].function: is wrong"},
		"services[1].function": {File: "payments.yaml", Line: 9, Column: 5, Text: "services[1].function: is wrong"}, // it is not there
		"onDelete":             {File: "payments.yaml", Line: 1, Column: 1, Text: "onDelete: is wrong"},
	} {
		got := f.Problem(field, "is wrong")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", field, diff)
		}
	}
	if want := "payments.yaml:7:15: services[0].function: is wrong"; f.Problem("services[0].function", "is wrong").Error() != want {
		t.Errorf("got %v, want %s", f.Problem("services[0].function", "is wrong"), want)
	}
	// printf %s "$text" | sha256sum
	const digest = "945983dff7061f8a64d5d27f227e7cc36c401907501ed5e6860c5a3b227451c0"
	if f.Digest() != digest || string(f.Text) != text {
		t.Errorf("digest %s", f.Digest())
	}
}

func TestOf(t *testing.T) {
	s := subscribed(t, service{Name: "a", Secrets: []string{"neon/*"}}, service{Name: "b", Function: "f", Secrets: []string{"neon/*"}})
	if sub, ok := s.Of("b"); !ok || sub.Function != "f" || !sub.Push {
		t.Errorf("b: %+v, %t", sub, ok)
	}
	if sub, ok := s.Of("c"); ok {
		t.Errorf("c: %+v", sub)
	}
}
