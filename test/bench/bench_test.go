// Package bench measures what the project costs, each time beside a baseline in the same run: only the ratio of the two
// says something on another machine, or on this one while it does something else besides. docs/performance.md says what
// each figure means.
package bench

import (
	"slices"
	"testing"
	"time"
)

// A comparison holds what ours and its baseline took, turn by turn: they take turns so that whatever else the machine
// does meets both alike.
type comparison struct{ ours, baseline, ratios, added []float64 }

func (c *comparison) add(ours, baseline time.Duration) {
	c.ours = append(c.ours, float64(ours))
	c.baseline = append(c.baseline, float64(baseline))
	c.ratios = append(c.ratios, float64(ours)/float64(baseline))
	c.added = append(c.added, float64(ours-baseline))
}

// reportTimes reports the medians, for one of the n operations that each turn had: what ours takes, what the baseline of
// that name takes, and the difference.
func (c *comparison) reportTimes(b *testing.B, name string, n int) {
	b.ReportMetric(median(c.ours)/float64(n), "ns/op")
	b.ReportMetric(median(c.baseline)/float64(n), "ns/"+name)
	b.ReportMetric(median(c.added)/float64(n), "ns-added")
}

// report reports the times and their ratio.
func (c *comparison) report(b *testing.B, name string, n int) {
	c.reportTimes(b, name, n)
	b.ReportMetric(median(c.ratios), "x-"+name)
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}
