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
	type subscription struct {
		Service, Function string
		Push              bool
	}
	var got []subscription
	for _, m := range s.Match([]string{"/bank/prod/payments/stripe/api-key"}) {
		got = append(got, subscription{m.Service, m.Function, m.Push})
	}
	want := []subscription{{"payments-api", "payments-api:live", true}, {"payments-batch", "payments-batch", false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWithoutAManifestNobodySubscribes(t *testing.T) {
	s, err := subscribers.Load(fstest.MapFS{}, "", "prod", "payments")
	if err != nil || s.IgnoreDeletions || len(s.Match([]string{"/bank/prod/payments/neon/connection-string"})) > 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	if zero := new(subscribers.Subscriptions); len(zero.Match([]string{"/bank/prod/payments/neon/connection-string"})) > 0 {
		t.Error("the zero value has subscriptions")
	}
}

func TestLoadRefuses(t *testing.T) {
	const head = "apiVersion: secret-broadcaster/v1\nenv: prod\ndomain: payments\n"
	for name, c := range map[string]struct{ text, want string }{
		"an unknown field":          {head + "onDeletion: ttl\n", "onDeletion"},
		"an unknown service field":  {head + "services: [{name: a, secret: [b/c]}]\n", "secret"},
		"a field of the wrong type": {head + "services: payments-api\n", "services"},
		"what is no YAML":           {head + "services: [", "payments.yaml"},
		"an empty file":             {"", "apiVersion must be secret-broadcaster/v1"},
	} {
		_, err := subscribers.Load(fstest.MapFS{"payments.yaml": {Data: []byte(c.text)}}, "payments.yaml", "prod", "payments")
		if err == nil || !strings.HasPrefix(err.Error(), "reading subscriptions payments.yaml: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
	if _, err := subscribers.Load(fstest.MapFS{}, "payments.yaml", "prod", "payments"); err == nil || !strings.HasPrefix(err.Error(), "reading subscriptions: ") {
		t.Errorf("a missing file: got %v", err)
	}
}

func TestNewTellsAllProblems(t *testing.T) {
	m := subscribers.Manifest{APIVersion: "v2", Env: "prod", Domain: "payments-archive", OnDelete: "keep", Services: []subscribers.Service{
		{Name: "payments-api", Secrets: []string{"neon/*"}},
		{Name: "payments-api", Secrets: []string{"neon/*"}, Deliver: "poll"},
		{Secrets: nil},
		{Name: "payments-batch", Secrets: []string{"", "/bank/prod/core/neon/x", "neon//x", "../core/neon", "neon/./x", "neon/[ab]", "neon/?", `neon\x`}},
	}}
	_, err := subscribers.New(m, "prod", "payments")
	if err == nil {
		t.Fatal("no problem at all")
	}
	want := []string{
		`apiVersion must be secret-broadcaster/v1, not "v2"`,
		`the manifest is of prod/payments-archive, this broadcaster serves prod/payments`,
		`onDelete must be evict or ttl, not "keep"`,
		`services[1].name must be set and stand once`,
		`services[1].deliver must be push or pull, not "poll"`,
		`services[2].name must be set and stand once`,
		`services[2].secrets must name at least one secret`,
		`services[3].secrets[0]: "" must be relative to the domain, without empty segments`,
		`services[3].secrets[1]: "/bank/prod/core/neon/x" must be relative to the domain, without empty segments`,
		`services[3].secrets[2]: "neon//x" must be relative to the domain, without empty segments`,
		`services[3].secrets[3]: "../core/neon" leaves its domain`,
		`services[3].secrets[4]: "neon/./x" leaves its domain`,
		`services[3].secrets[5]: "neon/[ab]": the wildcards are * within a segment and ** across`,
		`services[3].secrets[6]: "neon/?": the wildcards are * within a segment and ** across`,
		`services[3].secrets[7]: "neon\\x": the wildcards are * within a segment and ** across`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
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
