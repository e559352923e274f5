package history_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/history/historytest"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const stripe = "stripe/api-key"

// noon is when the histories begin.
func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func TestWhatAReaderNeeds(t *testing.T) {
	_, err := history.New(history.Config{})
	if want := "Env is missing\nDomain is missing\nStore is missing\nReports is missing\nManifests is missing"; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestTheNameOfASecretsARN(t *testing.T) {
	h := historytest.New(t)
	h.Moved(neon, 1, noon())
	h.Moved("neon/with-a1b2c3", 1, noon()) // an end like an ARN's suffix, of which only the ARN tells
	partial := func(name string) string { return "arn:aws:secretsmanager:eu-west-2:111122223333:secret:" + name }
	for _, c := range []struct{ id, want string }{
		{historytest.ARN(neon), historytest.Name(neon)},
		{partial(historytest.Name(neon)), historytest.Name(neon)},
		{historytest.ARN("neon/with-a1b2c3"), historytest.Name("neon/with-a1b2c3")},
		{partial(historytest.Name("neon/with-a1b2c3")), historytest.Name("neon/with-a1b2c3")},
		{historytest.ARN("neon/other"), "not known to the broadcaster"},
	} {
		name, err := readerOf(t, on(h)).NameOfARN(t.Context(), c.id)
		if name != c.want && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %q, %v", c.id, name, err)
		}
	}
}

// TestHowEnvironmentsStand by their own reports, whatever stands in the deliveries of another row of the same revision.
func TestHowEnvironmentsStand(t *testing.T) {
	h := historytest.New(t)
	h.Moved(stripe, 1, noon())
	row := h.Moved(neon, 2, noon().Add(time.Minute))
	other := row
	other.Hash = "of before a restore"
	h.Record(other, historytest.Owed(row, "api", 0, invalidation.Undelivered, invalidation.Throttled))
	first, last := historytest.Acked(row, "api", "e1", time.Second, wire.Applied), historytest.Acked(row, "api", "e2", 3*time.Second, wire.NotCached)
	last.Function = "api:canary"
	h.Deliver(row, first, last, historytest.Owed(row, "cron", 2*time.Second, invalidation.Undelivered, invalidation.NoAck))
	late := row.Time.Add(2100 * time.Millisecond)
	slow := historytest.Report("api", "e4", late, 1)
	slow.CheckEverySeconds = 5
	h.Report(
		historytest.Report("api", "e1", late, 2, historytest.Holding(neon, 2)),
		historytest.Report("api", "e2", late, 1),
		historytest.Report("api", "e3", row.Time, 1),
		slow,
		historytest.Report("api", "e5", late, 9), // of a log that was restored to before what it knows
		historytest.Report("reader", "r1", late, 2, historytest.Holding(neon, 2)),
		historytest.Report("stranger", "s1", late, 2, historytest.Holding(stripe, 1)),
	)
	is, err := readerOf(t, on(h)).Secret(t.Context(), historytest.Name(neon))
	if err != nil {
		t.Fatal(err)
	}
	if is.Revision != 2 || is.Kind != wire.Moved || is.Version != historytest.Version(2) || is.Open || len(is.Causes) != 1 || !is.Appended.Equal(row.Time) {
		t.Errorf("got %+v", is)
	}
	want := []history.Service{
		{
			Service: "api", Subscribed: true, Outcome: invalidation.Acknowledged, FirstAck: row.Time.Add(time.Second), LastAck: row.Time.Add(3 * time.Second),
			Current: 1, Behind: 2, Silent: 2, SilentSince: late,
		},
		{
			Service: "cron", Subscribed: true, Outcome: invalidation.Undelivered, Reason: invalidation.NoAck,
			LastFailure: &history.Failure{Time: row.Time.Add(2 * time.Second), Reason: "no-ack", Function: "cron"},
		},
		{Service: "reader", Current: 1},
	}
	if diff := cmp.Diff(want, is.Services); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestASecretAndAServiceAreCountedAlike: who asks in the one way reads what who asks in the other does.
func TestASecretAndAServiceAreCountedAlike(t *testing.T) {
	h := historytest.New(t)
	row := h.Moved(neon, 1, noon())
	h.Deliver(row, historytest.Acked(row, "api", "e1", time.Second, wire.Applied))
	late := row.Time.Add(time.Minute)
	h.Report(
		historytest.Report("api", "e1", late, 1, historytest.Holding(neon, 1)),
		historytest.Report("api", "e2", late, 0),
		historytest.Report("api", "e3", row.Time, 0),
		historytest.Report("reader", "r1", late, 1, historytest.Holding(neon, 1)),
		historytest.Report("reader", "r2", row.Time, 0),
	)
	r := readerOf(t, on(h))
	secret, err := r.Secret(t.Context(), historytest.Name(neon))
	if err != nil || len(secret.Services) != 2 {
		t.Fatalf("%+v, %v", secret, err)
	}
	for _, is := range secret.Services {
		service, err := r.Service(t.Context(), is.Service)
		if err != nil || len(service.Secrets) != 1 {
			t.Fatalf("%+v, %v", service, err)
		}
		if s := service.Secrets[0]; s.Current != is.Current || s.Behind != is.Behind || s.Silent != is.Silent {
			t.Errorf("%s: %+v, but of the secret %+v", is.Service, s, is)
		}
	}
}

func TestWhatIsNotKnown(t *testing.T) {
	h := historytest.New(t)
	r := readerOf(t, on(h))
	if _, err := r.Secret(t.Context(), historytest.Name(neon)); !errors.Is(err, history.ErrUnknown) {
		t.Errorf("a secret: %v", err)
	}
	if _, err := r.At(t.Context(), historytest.Name(neon), noon()); !errors.Is(err, history.ErrUnknown) {
		t.Errorf("a secret in the past: %v", err)
	}
	if _, err := r.Service(t.Context(), "api"); !errors.Is(err, history.ErrUnknown) {
		t.Errorf("a service: %v", err)
	}
}

func TestASecretThatDidNotChange(t *testing.T) {
	h := historytest.New(t)
	h.Note(neon, func(s *invalidation.SecretRow) {
		s.Current, s.Changed, s.State = historytest.Version(1), noon(), invalidation.Active
	})
	h.Report(historytest.Report("api", "e1", noon(), 0, historytest.Holding(neon, 1)))
	r := readerOf(t, on(h))
	is, err := r.Secret(t.Context(), historytest.Name(neon))
	if err != nil || is.Revision != 0 || len(is.Services) != 1 || is.Services[0].Current != 1 {
		t.Errorf("%+v, %v", is, err)
	}
	then, err := r.At(t.Context(), historytest.Name(neon), noon().Add(time.Hour))
	if err != nil || then.Version != historytest.Version(1) || then.Revision != 0 {
		t.Errorf("later %+v, %v", then, err)
	}
	if then, err = r.At(t.Context(), historytest.Name(neon), noon().Add(-time.Hour)); err != nil || then.Version != "" {
		t.Errorf("before %+v, %v", then, err)
	}
}

// TestHowASecretStoodAtATime: between two of its changes, with other secrets' in between.
func TestHowASecretStoodAtATime(t *testing.T) {
	h := historytest.New(t)
	for minute := range 60 {
		secret := stripe
		if minute%20 == 10 {
			secret = neon
		}
		row := h.Moved(secret, minute, noon().Add(time.Duration(minute)*time.Minute))
		h.Deliver(row, historytest.Acked(row, "api", "e1", 2*time.Second, wire.Applied), historytest.Owed(row, "batch", 0, invalidation.Skipped, invalidation.Pull))
	}
	for _, c := range []struct {
		minute  int
		second  int
		version string
		applied string
	}{
		{9, 0, "", ""},
		{10, 0, "", ""}, // 0.9 s before it was appended
		{10, 1, historytest.Version(10), ""},
		{10, 3, historytest.Version(10), "api"},
		{29, 59, historytest.Version(10), "api"},
		{30, 1, historytest.Version(30), ""},
		{59, 59, historytest.Version(50), "api"},
		{999, 0, historytest.Version(50), "api"},
	} {
		at := noon().Add(time.Duration(c.minute)*time.Minute + time.Duration(c.second)*time.Second)
		then, err := readerOf(t, on(h)).At(t.Context(), historytest.Name(neon), at)
		others := "batch"
		switch {
		case c.version == "":
			others = ""
		case c.applied == "":
			others = "api, batch"
		}
		if err != nil || then.Version != c.version || strings.Join(then.Applied, ", ") != c.applied || strings.Join(then.Others, ", ") != others {
			t.Errorf("at minute %d, second %d: %+v, %v", c.minute, c.second, then, err)
		}
	}
}

// TestAServiceHasAppliedItWhenAllItsFunctionsHave: one of them is not enough.
func TestAServiceHasAppliedItWhenAllItsFunctionsHave(t *testing.T) {
	h := historytest.New(t)
	row := h.Moved(neon, 1, noon())
	h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied), historytest.Owed(row, "api", 0, invalidation.Undelivered, invalidation.Throttled))
	then, err := readerOf(t, on(h)).At(t.Context(), historytest.Name(neon), noon().Add(time.Minute))
	if err != nil || len(then.Applied) != 0 || !slices.Equal(then.Others, []string{"api"}) {
		t.Errorf("%+v, %v", then, err)
	}
}

func TestChangesOfATime(t *testing.T) {
	h := historytest.New(t)
	for minute := range 30 {
		row := h.Moved(neon, minute, noon().Add(time.Duration(minute)*time.Minute-900*time.Millisecond))
		if minute < 29 {
			h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied), historytest.Owed(row, "cron", 0, invalidation.Undelivered, invalidation.Throttled))
		}
	}
	list := func(since, until int) string {
		var all []string
		for told, err := range readerOf(t, on(h)).Changes(t.Context(), noon().Add(time.Duration(since)*time.Minute), noon().Add(time.Duration(until)*time.Minute)) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprint(told.Revision))
			switch d := told.Deliveries; {
			case told.Open != (told.Revision == 30):
				t.Errorf("revision %d is open: %v", told.Revision, told.Open)
			case !told.Open && (d.Acknowledged != 1 || d.Failed != 1 || d.Reasons[invalidation.Throttled] != 1):
				t.Errorf("revision %d: %+v", told.Revision, d)
			}
		}
		return strings.Join(all, " ")
	}
	for _, c := range []struct {
		since, until int
		want         string
	}{
		{-5, 2, "1 2 3"},
		{5, 7, "6 7 8"},
		{27, 99, "28 29 30"},
		{40, 99, ""},
		{3, 2, ""},
	} {
		if got := list(c.since, c.until); got != c.want {
			t.Errorf("from minute %d to %d: %s, want %s", c.since, c.until, got, c.want)
		}
	}
	if got := strings.Count(list(-100, 100), " "); got != 29 {
		t.Errorf("all: %d", got+1)
	}
	for _, err := range readerOf(t, on(h)).Changes(t.Context(), noon(), noon().Add(time.Hour)) {
		if err != nil {
			t.Error(err)
		}
		break // whoever ends early ends all
	}
}

func TestChangesThatCannotBeRead(t *testing.T) {
	h := historytest.New(t)
	h.Moved(neon, 1, noon())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for _, err := range readerOf(t, on(h)).Changes(ctx, noon(), noon().Add(time.Hour)) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d answers", n)
	}
}

// parked is a queue with dead letters.
type parked int

func (p parked) Depths(context.Context) (history.Depths, error) {
	return history.Depths{DeadLetters: int(p)}, nil
}

// TestWhatWasMissed: what failed and was not made good, what is pending however old, what is parked, what was found.
func TestWhatWasMissed(t *testing.T) {
	h := historytest.New(t)
	minute := func(n int) time.Time { return noon().Add(time.Duration(n) * time.Minute) }
	failed := func(row wire.Row, service string, reason invalidation.Reason) invalidation.Delivery {
		return historytest.Owed(row, service, 0, invalidation.Undelivered, reason)
	}
	old := h.Moved(neon, 1, minute(0)) // its fan-out stays open
	h.Record(old, historytest.Owed(old, "stuck", 0, invalidation.Pending, invalidation.TimedOut))
	row := h.Moved(neon, 2, minute(1)) // too long ago
	h.Deliver(row, failed(row, "forgotten", invalidation.Throttled))
	row = h.Moved(neon, 3, minute(30))
	h.Deliver(row, failed(row, "mended", invalidation.Throttled), failed(row, "throttled", invalidation.Throttled), failed(row, "gone", invalidation.NoFunction))
	row = h.Moved(neon, 4, minute(31))
	mended := historytest.Acked(row, "mended", "e1", 0, wire.Applied)
	mended.Function = "mended"
	h.Deliver(row, mended, failed(row, "throttled", invalidation.Throttled), failed(row, "sick", invalidation.NotApplied))
	row = h.Found(stripe, 5, minute(10), minute(32))
	h.Deliver(row, historytest.Owed(row, "batch", 0, invalidation.Skipped, invalidation.Pull))
	row = h.Moved(neon, 6, minute(33))
	h.Record(row, historytest.Owed(row, "held", 0, invalidation.Pending, invalidation.Paused))
	h.Moved(neon, 7, minute(34)) // nobody has tried
	row = h.Moved(neon, 8, minute(35))
	h.Deliver(row, failed(row, "ghost", invalidation.NoFunction), historytest.Owed(row, "left", 0, invalidation.Skipped, invalidation.Pull))
	h.Holds(invalidation.Holding{At: minute(40)}, "stuck", "mended", "throttled", "gone", "sick", "held", "batch")
	groups, err := readerOf(t, on(h)).Missed(t.Context(), minute(20), parked(3))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range groups {
		got = append(got, fmt.Sprintf("%s %s: %d of %s, %d to %d: %s", g.How, g.Reason, g.Count, strings.Join(slices.Concat(g.Services, g.Secrets), ", "), g.First, g.Last, g.Next))
	}
	const at = " --env prod --domain payments"
	want := []string{
		"failed no-function: 1 of gone, 3 to 3: broadcaster subscriptions drift" + at,
		"failed not-applied: 1 of sick, 4 to 4: broadcaster status" + at + " --service sick",
		"failed throttled: 2 of throttled, 3 to 4: broadcaster replay" + at + " --service throttled --reason REASON",
		"parked : 3 of , 0 to 0: broadcaster replay" + at + " --from dlq --reason REASON",
		"pending paused: 1 of held, 6 to 6: broadcaster resume" + at + " --reason REASON",
		"pending timed-out: 1 of stuck, 1 to 1: broadcaster status" + at + " --service stuck",
		"pending untried: 1 of , 7 to 7: broadcaster status" + at,
		"found : 1 of " + historytest.Name(stripe) + ", 5 to 5: broadcaster doctor" + at,
		"unsubscribed : 1 of ghost, 8 to 8: ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestHealth(t *testing.T) {
	h := historytest.New(t)
	cfg := on(h)
	cfg.Now = func() time.Time { return noon().Add(time.Hour) }
	r := readerOf(t, cfg)
	is, err := r.Health(t.Context(), h.Store, nil)
	if err != nil || is.Revision != 0 || is.Lag != 0 || is.QueueProblem == "" || is.Canary.Revision != 0 {
		t.Errorf("of an empty domain: %+v, %v", is, err)
	}
	h.Deliver(h.Moved(neon, 1, noon().Add(time.Minute)))
	row := h.Moved("secret-broadcaster/canary", 2, noon().Add(2*time.Minute))
	h.Found(stripe, 3, noon(), noon().Add(3*time.Minute)) // no event, no lag
	is, err = r.Health(t.Context(), h.Store, parked(2))
	if err != nil || is.Revision != 3 || is.Lag != 0.6 || is.LongestLag != 0.6 || is.OpenFanouts != 2 || !is.OldestOpen.Equal(row.Time) || is.Queue.DeadLetters != 2 {
		t.Errorf("got %+v, %v", is, err)
	}
	if is.Canary.Revision != 2 || is.Canary.Served != 0 {
		t.Errorf("a canary that has not reported: %+v", is.Canary)
	}
	h.Report(historytest.Report("secret-broadcaster-canary", "c1", row.Time.Add(3*time.Second), 2, historytest.Holding("secret-broadcaster/canary", 2)))
	if is, err = r.Health(t.Context(), h.Store, parked(0)); err != nil || is.Canary.Served != 2 || !is.Canary.Reported.Equal(row.Time.Add(3*time.Second)) {
		t.Errorf("a canary that has reported: %+v, %v", is.Canary, err)
	}
	cannot := historytest.Holding("secret-broadcaster/canary", 2)
	cannot.Outcome = wire.Failed
	h.Report(historytest.Report("secret-broadcaster-canary", "c1", row.Time.Add(4*time.Second), 2, cannot))
	if is, err = r.Health(t.Context(), h.Store, parked(0)); err != nil || is.Canary.Served != 0 {
		t.Errorf("a canary that cannot use it: %+v, %v", is.Canary, err)
	}
	cfg.Now = func() time.Time { return noon().Add(3 * time.Hour) }
	if is, err = readerOf(t, cfg).Health(t.Context(), h.Store, parked(0)); err != nil || is.Lag != 0 || is.LongestLag != 0 {
		t.Errorf("two hours later: %+v, %v", is, err)
	}
}

// TestFollowingALongLog tells every row once, in order, also those of which no delivery is looked at.
func TestFollowingALongLog(t *testing.T) {
	const rows = 120
	h := historytest.New(t)
	for n := range rows {
		h.Moved(neon, n, noon().Add(time.Duration(n)*time.Minute))
	}
	next := int64(1)
	for e, err := range readerOf(t, on(h)).Follow(t.Context(), rows) {
		if err != nil || e.Row == nil || e.Row.Revision != next {
			t.Fatalf("in the place of row %d: %+v, %v", next, e, err)
		}
		if next++; next > rows {
			break
		}
	}
}

// TestFollow: the last rows, then what comes, each delivery once for each time it was written.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := historytest.New(t)
		for n := range 5 {
			row := h.Moved(neon, n, time.Now())
			h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied))
		}
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			time.Sleep(3500 * time.Millisecond)
			row := h.Moved(stripe, 5, time.Now())
			h.Record(row, historytest.Owed(row, "api", 0, invalidation.Pending, invalidation.Throttled))
			time.Sleep(2 * time.Minute) // it is watched for as long as it is open
			h.Deliver(row, historytest.Owed(row, "api", time.Hour, invalidation.Undelivered, invalidation.Throttled))
			time.Sleep(10 * time.Second)
			stop()
		}()
		var got []string
		for e, err := range readerOf(t, on(h)).Follow(ctx, 2) {
			switch {
			case err != nil:
				t.Fatal(err)
			case e.Row != nil:
				got = append(got, fmt.Sprint("revision ", e.Row.Revision))
			default:
				got = append(got, fmt.Sprint(e.Delivery.Revision, " ", e.Delivery.Outcome))
			}
		}
		want := []string{"revision 4", "revision 5", "4 acknowledged", "5 acknowledged", "revision 6", "6 pending", "6 failed"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		for _, err := range readerOf(t, on(h)).Follow(t.Context(), 2) {
			if err != nil {
				t.Error(err)
			}
			break
		}
	})
}

// TestAServiceAndItsSecrets: a failure is told once, by the delivery or by the report.
func TestAServiceAndItsSecrets(t *testing.T) {
	h := historytest.New(t)
	row := h.Moved(neon, 1, noon())
	d := historytest.Acked(row, "api", "e1", 0, wire.Failed)
	d.Outcome, d.Reason, d.Error = invalidation.Undelivered, invalidation.NotApplied, "it could not apply it"
	h.Deliver(row, d, historytest.Owed(row, "api-2", 0, invalidation.Undelivered, invalidation.Throttled))
	sick := historytest.Holding(neon, 1)
	sick.Outcome, sick.Reason = wire.Failed, wire.ReasonRefused
	h.Report(
		historytest.Report("api", "e1", row.Time.Add(3*time.Second), 1, sick),
		historytest.Report("api", "e2", row.Time.Add(4*time.Second), 1, sick, historytest.Holding(stripe, 1)),
	)
	cfg := on(h)
	cfg.Now = func() time.Time { return noon().Add(7 * time.Hour) } // the deliveries are too old to count, the reports are not
	c, err := readerOf(t, cfg).Service(t.Context(), "api")
	if err != nil || len(c.Environments) != 2 || c.Environments[0].Environment != "e2" || len(c.Secrets) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	var told []string
	for _, f := range c.Secrets[0].Failures {
		told = append(told, f.Environment+" "+f.Reason)
	}
	if want := []string{"e1 it could not apply it", "e2 " + wire.ReasonRefused}; !slices.Equal(told, want) || c.Secrets[0].Reason != invalidation.NotApplied {
		t.Errorf("told %q, want %q: %+v", told, want, c.Secrets[0])
	}
	if s := c.Secrets[1]; s.Revision != 0 || s.Current != 1 || len(s.Failures) != 0 {
		t.Errorf("a secret that nobody announced: %+v", s)
	}
}

// TestWhatWasDeliveredCounts although no environment reports that it holds it yet.
func TestWhatWasDeliveredCounts(t *testing.T) {
	h := historytest.New(t)
	row := h.Moved(neon, 1, noon())
	h.Deliver(row, historytest.Owed(row, "api", 0, invalidation.Undelivered, invalidation.NoAck))
	row = h.Moved(stripe, 1, noon())
	h.Deliver(row, historytest.Owed(row, "api-2", 0, invalidation.Undelivered, invalidation.NoAck))
	cfg := on(h)
	cfg.Now = func() time.Time { return noon().Add(time.Hour) }
	c, err := readerOf(t, cfg).Service(t.Context(), "api")
	if err != nil || len(c.Environments) != 0 || len(c.Secrets) != 1 || c.Secrets[0].Reason != invalidation.NoAck || len(c.Secrets[0].Failures) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	cfg.Now = func() time.Time { return noon().Add(7 * time.Hour) }
	if _, err = readerOf(t, cfg).Service(t.Context(), "api"); !errors.Is(err, history.ErrUnknown) {
		t.Errorf("much later: %v", err)
	}
}
