//go:build !lambdaartifact

package main

import (
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

func TestAPauseIsTold(t *testing.T) {
	is := invalidation.Pause{Paused: true, By: "alice", Reason: "INC-4711", At: day("10:15:00")}
	const paused, left = "paused since 2026-11-23T10:15:00Z, by alice: INC-4711\n", "revisions of prod/payments with deliveries left: 0\n"
	for name, c := range map[string]struct {
		answer pauseAnswer
		want   string
	}{
		"a pause":              {pauseAnswer{Is: is}, "was: pushed\nis:  " + paused + left},
		"a dry run":            {pauseAnswer{Is: is, DryRun: true}, "is:           pushed\nwould become: " + paused + left},
		"a pause over a pause": {pauseAnswer{Was: is, Is: is}, "is as it was: " + paused + left},
		"its dry run":          {pauseAnswer{Was: is, Is: is, DryRun: true}, "is as it was: " + paused + left},
	} {
		var out strings.Builder
		if err := c.answer.print(&out, place{env: "prod", domain: "payments"}); err != nil || out.String() != c.want {
			t.Errorf("%s: %v\n%s", name, err, &out)
		}
	}
}
