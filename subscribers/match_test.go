package subscribers_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// naive is what Match means, in the plainest way: it compares every name with every pattern, segment by segment.
func naive(m subscribers.Manifest, names []string) []string {
	matched := []string{}
	for _, s := range m.Services {
		if slices.ContainsFunc(s.Secrets, func(pattern string) bool {
			return slices.ContainsFunc(names, func(name string) bool {
				return segmentsMatch(strings.Split("/bank/"+m.Env+"/"+m.Domain+"/"+pattern, "/"), strings.Split(name, "/"))
			})
		}) {
			matched = append(matched, s.Name)
		}
	}
	return matched
}

// segmentsMatch: ** stands for one or more segments.
func segmentsMatch(pattern, name []string) bool {
	switch {
	case len(pattern) == 0 || len(name) == 0:
		return len(pattern) == len(name)
	case pattern[0] == "**":
		return segmentsMatch(pattern[1:], name[1:]) || segmentsMatch(pattern, name[1:])
	}
	ok, err := path.Match(pattern[0], name[0])
	return err == nil && ok && segmentsMatch(pattern[1:], name[1:])
}

func TestMatchAgreesWithComparingEverything(t *testing.T) {
	// Few letters and segments, so that most patterns meet names that they match or all but match.
	segment := rapid.StringMatching(`[ab.]{1,3}`).Filter(func(s string) bool { return s != "." && s != ".." })
	wild := rapid.StringMatching(`(\*?[ab]){1,3}\*?`)
	pattern := rapid.Map(rapid.SliceOfN(rapid.OneOf(segment, wild, rapid.SampledFrom([]string{"*", "**"})), 2, 5), func(s []string) string {
		return strings.Join(s, "/")
	})
	name := rapid.Map(rapid.SliceOfN(segment, 1, 6), func(s []string) string { return "/bank/prod/payments/" + strings.Join(s, "/") })
	matched, total := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var all []subscribers.Service
		for i := range rapid.IntRange(1, 6).Draw(t, "services") {
			secrets := rapid.SliceOfNDistinct(pattern, 1, 5, rapid.ID).Draw(t, "secrets")
			all = append(all, subscribers.Service{Name: fmt.Sprintf("s%d", i), Secrets: secrets})
		}
		m := payments(all...)
		s, err := subscribers.New(m, "prod", "payments")
		if err != nil {
			t.Fatal(err)
		}
		names := rapid.SliceOfN(name, 1, 4).Draw(t, "names")
		want := naive(m, names)
		if diff := cmp.Diff(want, services(s.Match(names))); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
		total += len(all)
		matched += len(want)
	})
	if matched < total/20 || matched > total*19/20 {
		t.Errorf("%d of %d subscriptions match: this shows nothing", matched, total)
	}
}

// Patterns that make a backtracking matcher try for years.
func TestMatchDoesNotBacktrack(t *testing.T) {
	s := subscribed(t, subscribers.Service{Name: "api", Secrets: []string{
		strings.Repeat("**/a/", 60) + "b", strings.Repeat("**/*a*/", 50) + "b", "x/" + strings.Repeat("*a", 200) + "*b",
	}})
	for _, name := range []string{strings.Repeat("a/", 230) + "c", "x/" + strings.Repeat("a", 480)} {
		if got := s.Match([]string{"/bank/prod/payments/" + name}); len(got) > 0 {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if got := s.Match([]string{"/bank/prod/payments/" + strings.Repeat("a/", 230) + "b"}); len(got) != 1 {
		t.Errorf("got %v, want a match", got)
	}
}

func TestMatchIsSafeForConcurrentUse(t *testing.T) {
	s := subscribed(t, subscribers.Service{Name: "api", Secrets: []string{"**/a/**", "neon/*-*"}})
	done := make(chan int)
	for range 4 {
		go func() {
			n := 0
			for range 1000 {
				n += len(s.Match([]string{"/bank/prod/payments/x/a/y", "/bank/prod/payments/neon/a-b"}))
			}
			done <- n
		}()
	}
	for range 4 {
		if n := <-done; n != 1000 {
			t.Errorf("%d matches, want 1000", n)
		}
	}
}
