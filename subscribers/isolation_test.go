package subscribers_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// Few and alike names, so that patterns often meet a name that they must, or all but do, match.
func segments() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"payments", "payments-archive", "payment", "prod", "bank", "neon", "x", "db-a1B2c3", "Payments"})
}

func patterns() *rapid.Generator[string] {
	segment := rapid.OneOf(segments(), rapid.SampledFrom([]string{"*", "**", "pay*", "*-archive", "..", ".", "", "***", "*?", "[a-z]*", "**x", "a**"}))
	return rapid.Map(rapid.SliceOfN(segment, 1, 5), func(s []string) string { return strings.Join(s, "/") })
}

func secrets() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		root := rapid.SampledFrom([]string{"/bank/", "/bank/", "/bank/", "bank/", "/", "/x/bank/"}).Draw(t, "root")
		return root + strings.Join(rapid.SliceOfN(segments(), 1, 6).Draw(t, "path"), "/")
	})
}

// No pattern that New accepts matches a secret outside of /bank/{env}/{domain}/.
func TestNoPatternLeavesItsDomain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		env, domain := segments().Draw(t, "env"), segments().Draw(t, "domain")
		service := subscribers.Service{Name: "api", Secrets: rapid.SliceOfN(patterns(), 1, 4).Draw(t, "patterns")}
		m := subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: env, Domain: domain, Services: []subscribers.Service{service}}
		s, err := subscribers.New(m, env, domain)
		if err != nil {
			return
		}
		names := rapid.SliceOfN(secrets(), 1, 8).Draw(t, "names")
		ours := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasPrefix(name, "/bank/"+env+"/"+domain+"/") })
		if all, own := len(s.Match(names)), len(s.Match(ours)); all != own {
			t.Fatalf("%v of %s/%s match one of %v", service.Secrets, env, domain, names)
		}
	})
}

// A pattern without wildcards matches the secret it spells and nothing else.
func TestAPlainPatternIsAName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := strings.Join(rapid.SliceOfN(segments(), 1, 4).Draw(t, "path"), "/")
		m := subscribers.Manifest{
			APIVersion: subscribers.APIVersion, Env: "prod", Domain: "payments",
			Services: []subscribers.Service{{Name: "api", Secrets: []string{path}}},
		}
		s, err := subscribers.New(m, "prod", "payments")
		if err != nil {
			t.Fatal(err)
		}
		name := secrets().Draw(t, "name")
		if got, want := len(s.Match([]string{name})) == 1, name == "/bank/prod/payments/"+path; got != want {
			t.Fatalf("%s matches %s: %t, want %t", path, name, got, want)
		}
		if len(s.Match([]string{"/bank/prod/payments/" + path})) != 1 {
			t.Fatalf("%s does not match itself", path)
		}
	})
}
