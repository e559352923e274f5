package invalidation_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

func TestNewTellsAllThatIsMissing(t *testing.T) {
	_, err := invalidation.New(invalidation.Config{})
	if err == nil {
		t.Fatal("nothing is missing")
	}
	want := []string{
		"Account is missing", "Region is missing", "Env is missing", "Domain is missing", "Secrets is missing", "Log is missing",
		"Fanouts is missing", "Pusher is missing", "Audience is missing", "Lister is missing", "Sweeps is missing", "Control is missing", "Subscribed is missing",
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
