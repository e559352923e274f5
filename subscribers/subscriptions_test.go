package subscribers_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// payments is a manifest of prod/payments with the given services.
func payments(services ...subscribers.Service) subscribers.Manifest {
	return subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: "prod", Domain: "payments", Owner: "team-payments", Services: services}
}

func subscribed(t *testing.T, services ...subscribers.Service) *subscribers.Subscriptions {
	t.Helper()
	s, err := subscribers.New(payments(services...), "prod", "payments")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func services(matched []subscribers.Subscription) []string {
	names := []string{}
	for _, s := range matched {
		names = append(names, s.Service)
	}
	return names
}

func TestLoad(t *testing.T) {
	const manifest = `apiVersion: secret-broadcaster/v1
env: prod
domain: payments
owner: team-payments
onDelete: ttl
services:
  - name: payments-api
    function: payments-api:live
    secrets: ["neon/connection-string", "stripe/*"]
  - name: payments-batch
    secrets: ["**"]
    deliver: pull
`
	s, err := subscribers.Load(fstest.MapFS{"payments.yaml": {Data: []byte(manifest)}}, "payments.yaml", "prod", "payments")
	if err != nil {
		t.Fatal(err)
	}
	if !s.IgnoreDeletions {
		t.Error("onDelete: ttl must ignore deletions")
	}
	got := s.Match([]string{"/bank/prod/payments/stripe/api-key"})
	want := []subscribers.Subscription{
		{Service: "payments-api", Function: "payments-api:live", Push: true, Pattern: "stripe/*"},
		{Service: "payments-batch", Function: "payments-batch", ByReport: true, Pattern: "**"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWithoutAManifestNobodySubscribes(t *testing.T) {
	s, err := subscribers.Load(fstest.MapFS{}, "", "prod", "payments")
	if err != nil || s.IgnoreDeletions || len(s.Match([]string{"/bank/prod/payments/neon/connection-string"})) > 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	for name, s := range map[string]*subscribers.Subscriptions{"the zero value": {}, "nil": nil} {
		if got := s.Match([]string{"/bank/prod/payments/neon/connection-string", "neon/connection-string", ""}); len(got) > 0 {
			t.Errorf("%s has subscriptions: %v", name, got)
		}
	}
}

func TestNewTellsAllProblems(t *testing.T) {
	m := subscribers.Manifest{APIVersion: "v2", Env: "prod", Domain: "payments-archive", Owner: "a\nb", OnDelete: "keep"}
	m.Services = []subscribers.Service{
		{Name: "payments-api", Secrets: []string{"neon/*"}},
		{Name: "payments-api", Secrets: []string{"neon/*"}, Deliver: "poll", Function: "a b"},
		{Secrets: nil},
		{Name: "payments-batch", Secrets: []string{"", "/bank/prod/core/neon/x", "neon//x", "../core/neon", "neon/[ab]"}},
	}
	s, err := subscribers.New(m, "prod", "payments")
	if err == nil || s != nil {
		t.Fatalf("got %v, %v", s, err)
	}
	want := []string{
		`apiVersion: must be secret-broadcaster/v1`,
		`domain: must be payments: this broadcaster serves no other`,
		`owner: must be one line of at most 256 bytes that says whom to ask, as payments-oncall@bank.example`,
		`onDelete: must be evict or ttl`,
		`services[1].name: is services[0]'s name too: put both entries' secrets into one`,
		`services[1].function: must be a function's name, name:alias or ARN`,
		`services[1].deliver: must be push or pull`,
		`services[2].name: must be the service's name as it reports it: letters, digits, . _ and -, at most 128`,
		`services[2].secrets: must name at least one secret, as ["neon/*"]`,
		`services[3].secrets[0]: is empty: write a pattern of secrets below /bank/prod/payments/, as neon/*`,
		`services[3].secrets[1]: begins with /: it is relative to /bank/prod/payments/, and no other secrets can be subscribed to`,
		`services[3].secrets[2]: has an empty segment: write single slashes, and none at the end`,
		`services[3].secrets[3]: has a segment . or ..: a pattern cannot leave its domain`,
		`services[3].secrets[4]: has a wildcard that there is not: * stands for anything within a segment, ** for one or more segments`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNewNeedsNoOwner(t *testing.T) {
	m := payments(subscribers.Service{Name: "payments-api", Secrets: []string{"neon/*"}})
	m.Owner = ""
	if _, err := subscribers.New(m, "prod", "payments"); err != nil {
		t.Error(err)
	}
}

func TestPatterns(t *testing.T) {
	const root = "/bank/prod/payments/"
	for _, c := range []struct {
		pattern    string
		match, not []string
	}{
		{
			"neon/connection-string",
			[]string{root + "neon/connection-string"},
			[]string{root + "neon/connection-strings", root + "neon/connection-string/replica", root + "neon", root + "x/neon/connection-string"},
		},
		{
			"neon/*",
			[]string{root + "neon/connection-string", root + "neon/x"},
			[]string{root + "neon/replica/connection-string", root + "neons/x"},
		},
		{
			"neon/db-*",
			[]string{root + "neon/db-a1B2c3", root + "neon/db-"},
			[]string{root + "neon/db", root + "neon/my-db-a"},
		},
		{
			"neon/*-*-eu",
			[]string{root + "neon/db-a-eu", root + "neon/--eu", root + "neon/a-b-c-eu"},
			[]string{root + "neon/db-eu", root + "neon/-eu", root + "neon/db-a-eu-"},
		},
		{
			"neon/*a*a*",
			[]string{root + "neon/aa", root + "neon/banana"},
			[]string{root + "neon/a", root + "neon/bab"},
		},
		{
			"*/connection-string",
			[]string{root + "neon/connection-string", root + "redis/connection-string"},
			[]string{root + "neon/replica/connection-string"},
		},
		{
			"neon/**",
			[]string{root + "neon/x", root + "neon/replica/x", root + "neon/a/b/c/d"},
			[]string{root + "neon", root + "neons/x"},
		},
		{
			"**/connection-string",
			[]string{root + "neon/connection-string", root + "neon/replica/connection-string"},
			[]string{root + "connection-string", root + "neon/connection-string/old"},
		},
		{
			"**",
			[]string{root + "neon/x", root + "neon/a/b"},
			[]string{
				"/bank/prod/payments-archive/neon/x", "/bank/prod/paymentsx/neon/x", "/bank/prod/payment/neon/x", "/bank/prod/core/neon/x",
				"/bank/dev/payments/neon/x", "/bank/prod2/payments/neon/x", "bank/prod/payments/neon/x", "/x/bank/prod/payments/neon/x",
				"/bank/prod/payments", "/bank/prod/Payments/neon/x", "",
			},
		},
	} {
		s := subscribed(t, subscribers.Service{Name: "payments-api", Secrets: []string{c.pattern}})
		for _, name := range c.match {
			if len(s.Match([]string{name})) != 1 {
				t.Errorf("%s must match %s", c.pattern, name)
			}
		}
		for _, name := range c.not {
			if len(s.Match([]string{name})) != 0 {
				t.Errorf("%s must not match %q", c.pattern, name)
			}
		}
	}
}

func TestMatchNamesEachSubscriptionOnceInTheManifestsOrder(t *testing.T) {
	s := subscribed(t,
		subscribers.Service{Name: "b", Secrets: []string{"neon/*", "**"}},
		subscribers.Service{Name: "a", Secrets: []string{"redis/*"}},
		subscribers.Service{Name: "c", Secrets: []string{"stripe/*"}},
	)
	got := services(s.Match([]string{"/bank/prod/payments/redis/x", "/bank/prod/payments/neon/x", "/bank/prod/payments/neon/y"}))
	if want := []string{"b", "a"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := s.Match(nil); len(got) > 0 {
		t.Errorf("no secret: got %v", got)
	}
}
