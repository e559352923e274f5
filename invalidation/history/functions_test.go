package history_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const named = `apiVersion: secret-broadcaster/v1
env: prod
domain: payments
owner: payments-oncall@bank.example
services:
  - {name: well, function: "well:live", secrets: ["neon/*"]}
  - {name: by-report, secrets: ["neon/*"]}
  - {name: gone, function: gone, secrets: ["neon/*"]}
  - name: untagged
    function: untagged
    secrets: ["neon/*"]
  - {name: pulls, function: untagged, secrets: ["neon/*"], deliver: pull}
  - {name: others, function: of-kyc, secrets: ["neon/*"]}
  - {name: hidden, function: hidden, secrets: ["neon/*"]}
`

// tagged knows the tags of functions, or why they are not known.
type tagged map[string]any

func (f tagged) Tags(_ context.Context, function string) (map[string]string, error) {
	if err, failed := f[function].(error); failed {
		return nil, err
	}
	tags, _ := f[function].(map[string]string)
	return tags, nil
}

func TestWrongFunctions(t *testing.T) {
	f, err := subscribers.Parse("payments.yaml", []byte(named), "prod", "payments")
	if err != nil {
		t.Fatal(err)
	}
	tagsOf := func(domain string) map[string]string {
		return map[string]string{"secret-broadcaster:push": "true", "secret-broadcaster:env": "prod", "secret-broadcaster:domain": domain}
	}
	functions := tagged{
		"well:live": tagsOf("payments"), "of-kyc": tagsOf("kyc"), "untagged": map[string]string{},
		"gone": fmt.Errorf("looking: %w", invalidation.ErrNoFunction), "hidden": invalidation.ErrNotPermitted,
	}
	got, err := history.WrongFunctions(t.Context(), f, functions)
	var lines []string
	for _, p := range got {
		lines = append(lines, p.Error())
	}
	const without, remedy = "services[3].function: nothing is pushed to it without the tags ", ": set them with the wrapped handler, or write deliver: pull"
	want := []string{
		"payments.yaml:8:28: services[2].function: there is no such function, or no such alias of it, in this account and Region",
		"payments.yaml:10:15: " + without + "secret-broadcaster:push=true, secret-broadcaster:env=prod, secret-broadcaster:domain=payments" + remedy,
		"payments.yaml:13:30: services[5].function: nothing is pushed to it without the tags secret-broadcaster:domain=payments" + remedy,
		"payments.yaml:14:30: services[6].function: these credentials may not look at it: it is not there, lacks the tags secret-broadcaster:env=prod, secret-broadcaster:domain=payments, " +
			"or lambda:GetAlias and lambda:ListTags are not allowed",
	}
	if diff := cmp.Diff(want, lines); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	functions["gone"] = errors.New("no network")
	if _, err := history.WrongFunctions(t.Context(), f, functions); err == nil || err.Error() != "looking at function gone: no network" {
		t.Errorf("got %v", err)
	}
}
