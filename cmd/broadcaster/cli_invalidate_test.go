//go:build !lambdaartifact

package main

import (
	"testing"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// TestAnAnnouncementThatDoesNotArrive: the exit code says so, as a replay's does; a dry run's does not.
func TestAnAnnouncementThatDoesNotArrive(t *testing.T) {
	a := invalidateAnswer{Deliveries: []sentTo{
		{Outcome: invalidation.Acknowledged}, {Outcome: invalidation.Undelivered, Reason: invalidation.Throttled}, {Outcome: invalidation.Pending},
	}}
	if err := a.failed(); err == nil || err.Error() != "1 delivery failed: broadcaster missed says what to do next" {
		t.Errorf("got %v", err)
	}
	a.DryRun = true
	if err := a.failed(); err != nil {
		t.Errorf("of a dry run: %v", err)
	}
}
