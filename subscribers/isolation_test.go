package subscribers_test

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// places are names of environments and domains that may be taken for each other, and what is none.
func places() *rapid.Generator[string] {
	names := rapid.SampledFrom([]string{"payments", "payments-archive", "payment", "kyc", "prod", "bank"})
	return rapid.OneOf(names, names, names, names, rapid.SampledFrom([]string{
		"Payments", "payments/", "payments/kyc", "..", ".", "", "*", "**", "pay*", "[a-z]", "?", "pаyments", "payments ", "payments\n", "payments\x00",
	}))
}

// hostileSegments are what somebody may write into a pattern or a secret's name to get out of a domain.
func hostileSegments() *rapid.Generator[string] {
	plain := rapid.SampledFrom([]string{"neon", "password", "db-a1B2c3", "...", "a+b=c@d"})
	return rapid.OneOf(plain, plain, plain, places(), rapid.SampledFrom([]string{
		"**x", "a**", "***", "*-archive", `\`, `..\`, "%2e%2e", "%2f", "․․", "‥", "\u200b", "\u202e", "é", "e\u0301", "\xff",
		"a\x00b", "\t", "~", ":", "bank/prod/kyc", "../..", strings.Repeat("a", 600),
	}))
}

func hostilePaths() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		root := rapid.SampledFrom([]string{
			"", "", "", "", "", "", "/", "//", "../", "/bank/prod/payments/", "/bank/prod/kyc/", "bank/prod/kyc/",
		}).Draw(t, "root")
		end := rapid.SampledFrom([]string{"", "", "", "", "", "", "/", "/.", "/..", "\n"}).Draw(t, "end")
		return root + strings.Join(rapid.SliceOfN(hostileSegments(), 1, 5).Draw(t, "segments"), "/") + end
	})
}

func hostileNames(env, domain string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		own := "/bank/" + env + "/" + domain + "/"
		root := rapid.SampledFrom([]string{
			own, own, own, own, own, own, own, own, "/bank/" + env + "/" + domain, "/bank/" + env + "/" + domain + "-archive/", "/bank/" + env + "/kyc/",
			"/bank/" + env + "/" + domain + "/../kyc/", "/bank/" + env + "/./" + domain + "/",
			"/bank//" + env + "/" + domain + "/", "/BANK/" + env + "/" + domain + "/",
			"bank/" + env + "/" + domain + "/", "/x/bank/" + env + "/" + domain + "/", " /bank/" + env + "/" + domain + "/", "/bank/", "/", "",
			"arn:aws:secretsmanager:eu-west-2:111122223333:secret:/bank/" + env + "/" + domain + "/",
		}).Draw(t, "root")
		return root + hostilePaths().Draw(t, "path")
	})
}

// inside is when a name is a secret's name of the domain, also for whoever would clean it as a path.
func inside(name, env, domain string) bool {
	root := "/bank/" + env + "/" + domain + "/"
	return strings.HasPrefix(name, root) && len(name) > len(root) && len(name) <= 512 && path.Clean(name) == name &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_+=.@-") == "" && strings.Count(root, "/") == 4
}

// Whatever a manifest says that loads, and whatever a secret is called, nobody is told of a secret outside of the domain.
func TestNothingMatchesOutsideOfTheDomain(t *testing.T) {
	loaded, matched := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		env, domain := places().Draw(t, "env"), places().Draw(t, "domain")
		patterns := rapid.SliceOfNDistinct(hostilePaths(), 1, 4, rapid.ID)
		m := subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: env, Domain: domain}
		for _, pattern := range patterns.Draw(t, "patterns") {
			alone := m
			alone.Services = []subscribers.Service{{Name: "api", Secrets: []string{pattern}}}
			if _, err := subscribers.New(alone, env, domain); err == nil { // one refused pattern would spare us the others
				m.Services = alone.Services
			}
		}
		m.Services = append(m.Services, subscribers.Service{Name: "wants-everything", Secrets: []string{"**"}})
		s, err := subscribers.New(m, env, domain)
		if err != nil {
			return
		}
		loaded++
		for _, name := range rapid.SliceOfN(hostileNames(env, domain), 4, 20).Draw(t, "names") {
			if got := s.Match([]string{name}); len(got) > 0 {
				matched++
				if !inside(name, env, domain) {
					t.Fatalf("%v of %s/%s matches %q", m.Services, env, domain, name)
				}
			}
		}
	})
	if loaded < 20 || matched < 20 {
		t.Errorf("%d manifests loaded, %d names matched: this shows nothing", loaded, matched)
	}
}

// A manifest of another domain is not taken for this one's.
func TestAManifestIsOfItsOwnDomainOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := payments(subscribers.Service{Name: "api", Secrets: []string{"**"}})
		m.Env, m.Domain = places().Draw(t, "its env"), places().Draw(t, "its domain")
		env, domain := places().Draw(t, "env"), places().Draw(t, "domain")
		s, err := subscribers.New(m, env, domain)
		if err == nil && (m.Env != env || m.Domain != domain) {
			t.Fatalf("%q/%q is taken for %q/%q", m.Env, m.Domain, env, domain)
		}
		if err != nil && s != nil {
			t.Fatalf("subscriptions beside %v", err)
		}
	})
}

// A pattern without wildcards matches the secret it spells and nothing else.
func TestAPlainPatternIsAName(t *testing.T) {
	segment := rapid.SampledFrom([]string{
		"payments", "payments-archive", "payment", "prod", "bank", "neon", "x", "db-a1B2c3", "Payments", "a.b", "...",
	})
	paths := rapid.Map(rapid.SliceOfN(segment, 2, 4), func(s []string) string { return strings.Join(s, "/") })
	rapid.Check(t, func(t *rapid.T) {
		pattern := paths.Filter(func(s string) bool { return !strings.HasPrefix(s, "bank/prod/payments/") }).Draw(t, "pattern")
		s, err := subscribers.New(payments(subscribers.Service{Name: "api", Secrets: []string{pattern}}), "prod", "payments")
		if err != nil {
			t.Fatal(err)
		}
		name := "/bank/prod/payments/" + paths.Draw(t, "name")
		if got, want := len(s.Match([]string{name})) == 1, name == "/bank/prod/payments/"+pattern; got != want {
			t.Fatalf("%s matches %s: %t, want %t", pattern, name, got, want)
		}
		if len(s.Match([]string{"/bank/prod/payments/" + pattern})) != 1 {
			t.Fatalf("%s does not match itself", pattern)
		}
	})
}
