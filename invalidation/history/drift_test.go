package history_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const drifted = `apiVersion: secret-broadcaster/v1
env: prod
domain: payments
owner: payments-oncall@bank.example
services:
  - {name: zebra, function: gone, secrets: ["neon/*"]}
  - {name: uses, function: uses, secrets: ["neon/*"]}
  - {name: holds-others, secrets: ["stripe/*"]}
  - {name: silent, secrets: ["neon/*"]}
  - {name: hidden, function: hidden, secrets: ["neon/*"]}
`

// account knows which functions exist.
type account map[string]error

func (a account) Tags(_ context.Context, function string) (map[string]string, error) {
	return nil, a[function]
}

func held(service string, at time.Time, names ...string) wire.Report {
	r := wire.Report{Schema: wire.Schema, Service: service, Time: at}
	for _, name := range names {
		r.Secrets = append(r.Secrets, wire.SecretOutcome{Name: name})
	}
	return r
}

func TestDrift(t *testing.T) {
	f, err := subscribers.Parse("payments.yaml", []byte(drifted), "prod", "payments")
	if err != nil {
		t.Fatal(err)
	}
	const neon, stripe = "/bank/prod/payments/neon/password", "/bank/prod/payments/stripe/key"
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	reports := []wire.Report{
		held("uses", at, neon, stripe),
		held("uses", at.Add(time.Hour), neon, stripe, "/bank/prod/payments/redis/password"),
		held("holds-others", at, neon, "/bank/prod/kyc/neon/password", "elsewhere"),
		held("unknown", at, neon),
		held("nothing-of-ours", at, "/bank/prod/kyc/neon/password"),
	}
	functions := account{"gone": fmt.Errorf("looking: %w", invalidation.ErrNoFunction), "hidden": invalidation.ErrNotPermitted}
	want := history.Drift{
		Unsubscribed: []history.Holder{
			{"holds-others", []string{neon}, at},
			{"unknown", []string{neon}, at},
			{"uses", []string{"/bank/prod/payments/redis/password", stripe}, at.Add(time.Hour)},
		},
		Unused: []history.Unused{
			{"hidden", history.NoReport}, {"holds-others", history.NotHeld}, {"silent", history.NoReport}, {"zebra", history.NoFunction},
		},
	}
	got, err := history.DriftOf(t.Context(), f, reports, functions)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	functions["hidden"] = errors.New("no network")
	if _, err := history.DriftOf(t.Context(), f, reports, functions); err == nil || err.Error() != "looking at function hidden: no network" {
		t.Errorf("got %v", err)
	}
}
