package fleet

import (
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// TestFleet plays random runs against the guarantees.
func TestFleet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		var violations []string
		synctest.Test(t, func(*testing.T) { violations = run(p) })
		if len(violations) > 0 {
			rt.Fatalf("%s\nthe plan:\n%s", strings.Join(violations, "\n"), p)
		}
	})
}
