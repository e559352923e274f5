package invalidation_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// TestAnEventThatHasOnlyAnARN: its name is asked of DescribeSecret, never cut out of the ARN.
func TestAnEventThatHasOnlyAnARN(t *testing.T) {
	const trap = "/bank/prod/payments/neon/db-a1B2c3" // it ends as an ARN's suffix does
	partial := func(name string) events.Signal {
		return events.Signal{
			Kind: events.Moved, Env: "prod", Domain: "payments", Service: "neon", Trusted: true, Time: time.Now().Truncate(time.Second),
			ARN: "arn:aws:secretsmanager:eu-west-2:111122223333:secret:" + name, EventID: "event-1", Account: "111122223333", Region: "eu-west-2",
		}
	}
	for name, c := range map[string]struct {
		signal func(w *world) events.Signal
		want   invalidation.Handling
		log    []string
	}{
		"without its suffix": {func(w *world) events.Signal {
			w.create(trap)
			s := partial(trap)
			s.Time = s.Time.Add(-10 * time.Second) // when it was created
			return s
		}, invalidation.Appended, []string{"1 moved " + trap + " " + version(1)}},
		"of a secret that is not there yet": {func(*world) events.Signal { return partial(trap) }, invalidation.Failed, []string{}},
		"of a secret that is not there any more": {func(*world) events.Signal {
			s := partial(trap)
			s.Time = s.Time.Add(-late - 2*time.Second)
			return s
		}, invalidation.Unchanged, []string{}},
		"of another account": {func(w *world) events.Signal {
			w.create(trap)
			s := partial(trap)
			s.Account = "444455556666"
			return s
		}, invalidation.Misrouted, []string{}},
		"of another Region": {func(w *world) events.Signal {
			w.create(trap)
			s := partial(trap)
			s.Region = "eu-west-1"
			return s
		}, invalidation.Misrouted, []string{}},
		"whose parts are not the name's": {func(w *world) events.Signal {
			w.create("/bank/prod/kyc/neon/key")
			return partial("/bank/prod/kyc/neon/key")
		}, invalidation.Failed, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.confirm(w.broadcaster(), c.want, c.signal(w))
				if diff := cmp.Diff(c.log, w.changes()); diff != "" {
					t.Errorf("the log (-want +got):\n%s", diff)
				}
			})
		})
	}
}
