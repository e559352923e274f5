package subscribers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// BenchmarkMatch looks a secret up in the subscriptions of payments, first with more and more of them in other domains, then
// with more and more in payments itself. "x-of-10" is the time as a multiple of that with 10, measured in turns with it.
func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct {
		name string
		load func(b *testing.B, n int) func() int // returns the lookup: how many subscriptions match
	}{{"others", inOtherDomains}, {"own", inItsOwn}} {
		ten := c.load(b, 10)
		for _, n := range []int{10, 1000, 100000} {
			b.Run(fmt.Sprintf("%s=%d", c.name, n), func(b *testing.B) {
				lookup := c.load(b, n)
				if got := lookup(); got != ten() || got == 0 {
					b.Fatalf("%d matches, and %d with 10", got, ten())
				}
				for b.Loop() {
					lookup()
				}
				b.ReportMetric(ratio(lookup, ten), "x-of-10")
			})
		}
	}
}

// ratio measures two functions in turns, so that whatever else this machine does meets both, and compares the medians.
func ratio(f, base func() int) float64 {
	const turns, calls = 101, 500
	measure := func(f func() int) time.Duration {
		start := time.Now()
		for range calls {
			f()
		}
		return time.Since(start)
	}
	var fs, bases []time.Duration
	for range turns {
		fs, bases = append(fs, measure(f)), append(bases, measure(base))
	}
	slices.Sort(fs)
	slices.Sort(bases)
	return float64(fs[turns/2]) / float64(bases[turns/2])
}

const changed = "/bank/prod/payments/neon/connection-string"

// inOtherDomains loads a few subscriptions of payments and n in other domains, at most 1000 in each.
func inOtherDomains(b *testing.B, n int) func() int {
	b.Helper()
	fsys := fstest.MapFS{"payments.yaml": manifest("prod", "payments", `services:
  - {name: payments-api, secrets: ["neon/*", "stripe/api-key"]}
  - {name: payments-batch, secrets: ["**"]}
  - {name: payments-mail, secrets: ["*/smtp-*", "**/password"]}
`)}
	for ; n > 0; n -= 1000 {
		var rest strings.Builder
		rest.WriteString("services:\n")
		for i := range min(n, 1000) {
			fmt.Fprintf(&rest, "  - {name: service-%d, secrets: [\"neon/*\", \"**\"]}\n", i)
		}
		domain := fmt.Sprintf("domain-%d", n)
		fsys[domain+".yaml"] = manifest("prod", domain, rest.String())
	}
	domains, err := subscribers.LoadDir(fsys, ".")
	if err != nil {
		b.Fatal(err)
	}
	return func() int {
		return len(domains[subscribers.Domain{Env: "prod", Name: "payments"}].Match([]string{changed}))
	}
}

// inItsOwn makes n subscriptions of payments of which one matches.
func inItsOwn(b *testing.B, n int) func() int {
	b.Helper()
	m := payments(subscribers.Service{Name: "payments-api", Secrets: []string{"neon/*"}})
	for i := range n - 1 {
		secrets := []string{fmt.Sprintf("service-%d/*", i), fmt.Sprintf("neon/key-%d", i)}
		m.Services = append(m.Services, subscribers.Service{Name: fmt.Sprintf("service-%d", i), Secrets: secrets})
	}
	s, err := subscribers.New(m, "prod", "payments")
	if err != nil {
		b.Fatal(err)
	}
	return func() int { return len(s.Match([]string{changed})) }
}
