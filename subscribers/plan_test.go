package subscribers_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

type service = subscribers.Service

func TestChanges(t *testing.T) {
	was := payments(
		service{Name: "stays", Function: "f", Secrets: []string{"neon/*", "redis/*"}},
		service{Name: "goes", Secrets: []string{"neon/*"}},
		service{Name: "pulls", Secrets: []string{"neon/*"}},
		service{Name: "moves", Function: "f:live", Secrets: []string{"neon/*"}},
		service{Name: "wants-more", Secrets: []string{"neon/*"}},
	)
	is := payments(
		service{Name: "comes", Secrets: []string{"neon/*"}},
		service{Name: "wants-more", Secrets: []string{"neon/*", "redis/*"}},
		service{Name: "moves", Function: "f:next", Secrets: []string{"neon/*"}},
		service{Name: "pulls", Secrets: []string{"neon/*"}, Deliver: "pull"},
		service{Name: "stays", Function: "f", Secrets: []string{"redis/*", "neon/*"}, Deliver: "push"}, // written in another way
	)
	want := []subscribers.Change{
		{"comes", nil, &is.Services[0]},
		{"goes", &was.Services[1], nil},
		{"moves", &was.Services[3], &is.Services[2]},
		{"pulls", &was.Services[2], &is.Services[3]},
		{"wants-more", &was.Services[4], &is.Services[1]},
	}
	if diff := cmp.Diff(want, was.Changes(is)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if changes := was.Changes(was); len(changes) > 0 {
		t.Errorf("of nothing: %+v", changes)
	}
}

func TestNewCalls(t *testing.T) {
	const root = "/bank/prod/payments/"
	was := subscribed(t,
		service{Name: "stays", Function: "f", Secrets: []string{"neon/*"}},
		service{Name: "pulls", Secrets: []string{"**"}, Deliver: "pull"},
		service{Name: "moves", Function: "f:live", Secrets: []string{"neon/a"}},
	)
	is := subscribed(t,
		service{Name: "stays", Function: "f", Secrets: []string{"neon/*", "redis/*"}},
		service{Name: "pulls", Secrets: []string{"**"}},
		service{Name: "moves", Function: "f:next", Secrets: []string{"neon/a"}},
		service{Name: "nobody", Secrets: []string{"stripe/*"}},
	)
	names := []string{root + "neon/a", root + "neon/b", root + "redis/a", "/bank/prod/kyc/neon/a"}
	want := []subscribers.Call{
		{Service: "moves", Function: "f:next", Secrets: names[:1]},
		{Service: "pulls", Secrets: names[:3]},
		{Service: "stays", Function: "f", Secrets: names[2:3]},
	}
	if diff := cmp.Diff(want, subscribers.NewCalls(was, is, names)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want = []subscribers.Call{{Service: "moves", Function: "f:live", Secrets: names[:1]}}
	if diff := cmp.Diff(want, subscribers.NewCalls(is, was, names)); diff != "" {
		t.Errorf("the other way round (-want +got)\n%s", diff)
	}
	var many []string
	for i := range 25 {
		many = append(many, fmt.Sprintf("%sneon/%02d", root, i))
	}
	if got := subscribers.NewCalls(nil, was, many); len(got) != 1 || len(got[0].Secrets) != 10 || got[0].More != 15 {
		t.Errorf("of many: %+v", got)
	}
}

// TestAPlanTellsOfEveryDifference: without a change nobody is newly called, and who is newly called is in a change.
func TestAPlanTellsOfEveryDifference(t *testing.T) {
	names := []string{"/bank/prod/payments/neon/a", "/bank/prod/payments/neon/b", "/bank/prod/payments/redis/a"}
	manifest := rapid.Custom(func(t *rapid.T) subscribers.Manifest {
		var all []service
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3, rapid.ID).Draw(t, "services") {
			all = append(all, service{
				Name: name, Function: rapid.SampledFrom([]string{"", "f", "g:live"}).Draw(t, "function"),
				Secrets: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"neon/*", "neon/a", "**", "redis/a"}), 1, 3, rapid.ID).Draw(t, "secrets"),
				Deliver: rapid.SampledFrom([]string{"", "push", "pull"}).Draw(t, "deliver"),
			})
		}
		return payments(all...)
	})
	rapid.Check(t, func(r *rapid.T) {
		was, is := manifest.Draw(r, "was"), manifest.Draw(r, "is")
		before, err := subscribers.New(was, "prod", "payments")
		if err != nil {
			r.Fatal(err)
		}
		after, err := subscribers.New(is, "prod", "payments")
		if err != nil {
			r.Fatal(err)
		}
		changed := map[string]bool{}
		for _, c := range was.Changes(is) {
			changed[c.Service] = true
		}
		for _, c := range append(subscribers.NewCalls(before, after, names), subscribers.NewCalls(after, before, names)...) {
			if !changed[c.Service] {
				r.Fatalf("%+v, and its entry does not change", c)
			}
		}
		for _, name := range names {
			calls := map[string]bool{}
			for _, c := range subscribers.NewCalls(before, after, []string{name}) {
				calls[c.Service+" "+c.Function] = true
			}
			for _, sub := range after.Match([]string{name}) {
				if !sub.Push || calls[key(sub)] {
					continue
				}
				was := false
				for _, old := range before.Match([]string{name}) {
					was = was || old.Push && key(old) == key(sub)
				}
				if !was {
					r.Fatalf("%s is called for %s and the plan does not say so", key(sub), name)
				}
			}
		}
	})
}

func key(s subscribers.Subscription) string {
	if s.ByReport {
		return s.Service + " "
	}
	return s.Service + " " + s.Function
}
