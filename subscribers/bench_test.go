package subscribers_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// BenchmarkMatch looks a secret up in the subscriptions of payments, first with more and more of them in other domains, then
// with more and more in payments itself. "x-of-10" is the time as a multiple of that with 10, from the same run.
func BenchmarkMatch(b *testing.B) {
	names := []string{"/bank/prod/payments/neon/connection-string"}
	const own = `services:
  - {name: payments-api, secrets: ["neon/*", "stripe/api-key"]}
  - {name: payments-batch, secrets: ["**"]}
  - {name: payments-mail, secrets: ["*/smtp-*", "**/password"]}
`
	var first float64
	for _, n := range []int{10, 1000, 100000} {
		b.Run(fmt.Sprintf("others=%d", n), func(b *testing.B) {
			domains := withOthers(b, own, n)
			for b.Loop() {
				if got := domains[subscribers.Domain{Env: "prod", Name: "payments"}].Match(names); len(got) != 2 {
					b.Fatalf("got %v", got)
				}
			}
			first = ratio(b, n, first)
		})
	}
	for _, n := range []int{10, 1000, 100000} {
		b.Run(fmt.Sprintf("own=%d", n), func(b *testing.B) {
			m := payments(subscribers.Service{Name: "payments-api", Secrets: []string{"neon/*"}})
			for i := range n - 1 {
				secrets := []string{fmt.Sprintf("service-%d/*", i), fmt.Sprintf("neon/key-%d", i)}
				m.Services = append(m.Services, subscribers.Service{Name: fmt.Sprintf("service-%d", i), Secrets: secrets})
			}
			s, err := subscribers.New(m, "prod", "payments")
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if got := s.Match(names); len(got) != 1 {
					b.Fatalf("got %v", got)
				}
			}
			first = ratio(b, n, first)
		})
	}
}

func ratio(b *testing.B, n int, first float64) float64 {
	ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	if n == 10 {
		first = ns
	}
	b.ReportMetric(ns/first, "x-of-10")
	return first
}

// withOthers loads payments and n subscriptions in other domains, 1000 in each.
func withOthers(b *testing.B, own string, n int) subscribers.Domains {
	b.Helper()
	fsys := fstest.MapFS{"payments.yaml": manifest("prod", "payments", own)}
	for ; n > 0; n -= 1000 {
		domain, rest := fmt.Sprintf("domain-%d", n), "services:\n"
		for i := range min(n, 1000) {
			rest += fmt.Sprintf("  - {name: service-%d, secrets: [\"neon/*\", \"**\"]}\n", i)
		}
		fsys[domain+".yaml"] = manifest("prod", domain, rest)
	}
	domains, err := subscribers.LoadDir(fsys, ".")
	if err != nil {
		b.Fatal(err)
	}
	return domains
}
