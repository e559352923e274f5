package invalidation_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// TestWhichEnvironmentsAreBehind: those that said, later than CheckEvery after a revision's append, that they do not know it.
func TestWhichEnvironmentsAreBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		for v := 3; v <= 5; v++ {
			w.put(neon) // takes ten seconds
			w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(v)))
		}
		rows := w.rows()
		at := func(revision int64, later time.Duration) time.Time { return rows[revision-1].Time.Add(later) }
		reports := []wire.Report{
			{Environment: "current", Revision: 4, Time: at(4, time.Hour)},
			{Environment: "of another log", Revision: 9, Time: at(4, time.Hour)},
			{Environment: "silent since before", Revision: 1, Time: at(2, -time.Second)},
			{Environment: "just in time", Revision: 2, Time: at(3, 2*time.Second)},
			{Environment: "behind by one", Revision: 3, Time: at(4, 2001*time.Millisecond)},
			{Environment: "behind by two", Revision: 2, Time: at(4, 0)},
			{Environment: "never read the log", Revision: 0, Time: at(1, time.Minute)},
			{Environment: "checks rarely", Revision: 3, Time: at(4, 9*time.Second), CheckEverySeconds: 10},
		}
		for i := range reports {
			if reports[i].CheckEverySeconds == 0 {
				reports[i].CheckEverySeconds = 2
			}
		}
		late, err := b.Behind(t.Context(), reports)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, r := range late {
			got = append(got, r.Environment)
		}
		if diff := cmp.Diff([]string{"behind by one", "behind by two", "never read the log"}, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestNobodyIsBehindARowThatIsGone: who wrote into the log by hand does not page everybody.
func TestNobodyIsBehindARowThatIsGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.known(b)
		w.put(neon)
		w.confirm(b, invalidation.Appended, w.event(events.Moved, neon, version(3)))
		key := map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: wire.LogPartition}, "sk": &types.AttributeValueMemberS{Value: wire.RevisionKey(1)},
		}
		if _, err := w.client.DeleteItem(t.Context(), &awsdynamodb.DeleteItemInput{TableName: aws.String(changesTable), Key: key}); err != nil {
			t.Fatal(err)
		}
		late, err := b.Behind(t.Context(), []wire.Report{{Environment: "e", Time: time.Now()}})
		if err != nil || len(late) > 0 {
			t.Errorf("got %v, %v", late, err)
		}
	})
}

func TestNobodyIsBehindAnEmptyLog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		late, err := w.broadcaster().Behind(t.Context(), []wire.Report{{Environment: "e", Time: time.Now()}})
		if err != nil || len(late) > 0 {
			t.Errorf("got %v, %v", late, err)
		}
	})
}

// TestWhoIsBehindCannotBeToldWithoutTheLog.
func TestWhoIsBehindCannotBeToldWithoutTheLog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.broadcaster()
		w.drop(changesTable)
		if late, err := b.Behind(t.Context(), []wire.Report{{Environment: "e", Time: time.Now()}}); err == nil {
			t.Errorf("got %v and no error", late)
		}
	})
}

func TestWhichSecretsAreHeld(t *testing.T) {
	now := time.Now()
	report := func(age time.Duration, names ...string) wire.Report {
		r := wire.Report{Time: now.Add(-age)}
		for _, name := range names {
			r.Secrets = append(r.Secrets, wire.SecretOutcome{Name: name})
		}
		return r
	}
	reports := []wire.Report{report(time.Minute, stripe), report(2*time.Hour, neon), report(time.Hour, stripe, "/bank/prod/payments/visa/key")}
	got := invalidation.Held([]string{stripe, neon, "/bank/prod/payments/visa/key", "/bank/prod/payments/amex/key"}, reports, now.Add(-time.Hour))
	if diff := cmp.Diff([]string{stripe, "/bank/prod/payments/visa/key"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
