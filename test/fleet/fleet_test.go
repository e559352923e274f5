package fleet

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// TestFleet plays random runs against the guarantees.
func TestFleet(t *testing.T) {
	r := &reporter{T: t, counts: map[happening]int{}}
	rapid.Check(r, func(rt *rapid.T) {
		p := drawPlan(rt)
		var (
			violations []string
			counts     map[happening]int
		)
		synctest.Test(t, func(*testing.T) { violations, counts = run(p, newGoClient) })
		r.note(p, violations, counts)
		if len(violations) > 0 {
			rt.Fatalf("%s\nthe plan:\n%s", strings.Join(violations, "\n"), p)
		}
	})
	r.judgeCounts()
}

// A reporter tells what rapid does not: the first run that failed as it was, before rapid plays it again and makes it
// smaller, since goroutines run as they like and not every seed fails again; and whether everything happened.
type reporter struct {
	*testing.T
	runs   int
	counts map[happening]int
	first  string
}

func (r *reporter) note(p plan, violations []string, counts map[happening]int) {
	if r.first != "" {
		return
	}
	r.runs++
	for what, n := range counts {
		r.counts[what] += n
	}
	if len(violations) > 0 {
		r.first = fmt.Sprintf("violated in run %d: %s\nthe plan:\n%s", r.runs, strings.Join(violations, "\n"), p)
	}
}

// Errorf is what rapid reports a failure with.
func (r *reporter) Errorf(format string, args ...any) {
	r.Helper()
	text := fmt.Sprintf(format, args...)
	if seed := regexp.MustCompile(`-rapid\.seed=(\d+)`).FindStringSubmatch(text); seed != nil && r.first != "" {
		r.T.Errorf("%s\nplay it again, ten times since not every time need fail:\n"+
			"go test ./test/fleet -run '^TestFleet$' -count=10 -rapid.checks=1 -rapid.nofailfile -rapid.seed=%s\n", r.first, seed[1])
	}
	r.T.Errorf("%s", text)
}

// manyRuns is how many runs have to see everything that the model is there for.
const manyRuns = 100

func (r *reporter) judgeCounts() {
	for _, what := range happenings() {
		r.Logf("%6d × %s", r.counts[what], what)
		if r.runs >= manyRuns && r.counts[what] == 0 {
			r.T.Errorf("in %d runs it never happened that %s", r.runs, what)
		}
	}
}
