package history_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// TestOverdueRotationsComeFirst: the longest first; then what is not rotated, then what is next.
func TestOverdueRotationsComeFirst(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	all := []history.Rotation{
		{Name: "next-month", Enabled: true, Next: now.Add(720 * time.Hour)},
		{Name: "off-b"},
		{Name: "overdue-a-day", Enabled: true, Next: now.Add(-24 * time.Hour)},
		{Name: "just-now", Enabled: true, Next: now},
		{Name: "off-but-once-on", Next: now.Add(-time.Hour)},
		{Name: "overdue-a-year", Enabled: true, Next: now.Add(-8760 * time.Hour)},
		{Name: "never-yet", Enabled: true},
	}
	history.JudgeRotations(all, now)
	var got []string
	for _, r := range all {
		if r.Overdue {
			got = append(got, r.Name+"!")
		} else {
			got = append(got, r.Name)
		}
	}
	if want := "overdue-a-year! overdue-a-day! off-b off-but-once-on never-yet just-now next-month"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
