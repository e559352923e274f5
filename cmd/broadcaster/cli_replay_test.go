package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// many are n failed deliveries of one function, of revisions 1 to n.
func many(n int) []invalidation.Missed {
	all := make([]invalidation.Missed, n)
	for i := range all {
		all[i] = invalidation.Missed{Revision: int64(i + 1), Subscription: "payments-api", Function: "payments-api"}
	}
	return all
}

// answering is a broadcaster to which everything it is asked for is acknowledged.
func answering(t *testing.T, asked *[]replayDetails) func(context.Context, order, *replayAnswer) error {
	t.Helper()
	return func(_ context.Context, o order, answer *replayAnswer) error {
		var details replayDetails
		if err := json.Unmarshal(o.Details, &details); err != nil || details.check() != nil || o.Reason != "INC-4711" {
			t.Errorf("ordered %+v, %v", o, err)
		}
		*asked = append(*asked, details)
		answer.By, answer.Revision = oncall, 999
		for _, m := range details.Deliveries {
			answer.Deliveries = append(answer.Deliveries, sentTo{Revision: m.Revision, Service: m.Subscription, Function: m.Function, Outcome: invalidation.Acknowledged})
		}
		return nil
	}
}

func replayingOf(progress *bytes.Buffer) *replaying {
	r := &replaying{order: order{Name: replayCommand, Reason: "INC-4711"}, from: fromStore, out: &bytes.Buffer{}, asked: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	r.where.env, r.where.domain = "prod", "payments"
	if progress != nil {
		r.errs, r.live = progress, true
	}
	return r
}

// TestManyDeliveriesAreReplayedInTurns, and somebody who watches sees how far it is.
func TestManyDeliveriesAreReplayedInTurns(t *testing.T) {
	var (
		asked    []replayDetails
		progress bytes.Buffer
	)
	r := replayingOf(&progress)
	report, err := r.sendAll(t.Context(), many(125), answering(t, &asked))
	if err != nil || len(asked) != 3 || len(report.Deliveries) != 125 || report.Selected != 125 || report.By != oncall {
		t.Fatalf("%d orders, %d deliveries, %v", len(asked), len(report.Deliveries), err)
	}
	want := "\r\x1b[Kreplaying [" + strings.Repeat(".", 30) + "] 0 of 125\r\x1b[Kreplaying [" + strings.Repeat("#", 12) + strings.Repeat(".", 18) +
		"] 50 of 125\r\x1b[Kreplaying [" + strings.Repeat("#", 24) + strings.Repeat(".", 6) + "] 100 of 125\r\x1b[K"
	if progress.String() != want {
		t.Errorf("showed %q, want %q", progress.String(), want)
	}
}

// TestAnInterruptedReplaySaysWhatIsLeft: what was ordered is waited for.
func TestAnInterruptedReplaySaysWhatIsLeft(t *testing.T) {
	var asked []replayDetails
	ctx, interrupt := context.WithCancel(t.Context())
	answer := answering(t, &asked)
	report, err := replayingOf(nil).sendAll(ctx, many(125), func(sent context.Context, o order, a *replayAnswer) error {
		interrupt()
		if sent.Err() != nil {
			t.Error("an order that was sent is not waited for")
		}
		return answer(sent, o, a)
	})
	if !errors.Is(err, errInterrupted) || err.Error() != "interrupted: 75 of 125 deliveries are left, the same command goes on with them" || len(report.Deliveries) != 50 || len(asked) != 1 {
		t.Errorf("%d orders, %d deliveries, %v", len(asked), len(report.Deliveries), err)
	}
}

// TestAReplayThatStops says what was done until then.
func TestAReplayThatStops(t *testing.T) {
	var asked []replayDetails
	answer, broken := answering(t, &asked), errors.New("the function was throttled")
	report, err := replayingOf(nil).sendAll(t.Context(), many(125), func(ctx context.Context, o order, a *replayAnswer) error {
		if len(asked) == 2 {
			return broken
		}
		return answer(ctx, o, a)
	})
	if !errors.Is(err, broken) || len(report.Deliveries) != 100 {
		t.Errorf("%d deliveries, %v", len(report.Deliveries), err)
	}
}

// TestWhatFailsAgainIsNotDone: the exit code says so; a dry run's does not.
func TestWhatFailsAgainIsNotDone(t *testing.T) {
	for _, dry := range []bool{false, true} {
		r := replayingOf(nil)
		r.order.DryRun = dry
		_, err := r.sendAll(t.Context(), many(1), func(_ context.Context, _ order, a *replayAnswer) error {
			a.Deliveries = []sentTo{{Revision: 1, Outcome: invalidation.Undelivered, Reason: invalidation.Throttled}}
			return nil
		})
		if dry != (err == nil) || !dry && err.Error() != "1 deliveries failed again" {
			t.Errorf("dry run %t: %v", dry, err)
		}
	}
}

func TestTheSummaryOfAReplay(t *testing.T) {
	report := replayingOf(nil).report()
	report.By, report.Selected, report.Revision = oncall, 7, 12
	report.Deliveries = []sentTo{
		{Revision: 3, Service: "payments-api", Function: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api:live", Outcome: invalidation.Acknowledged},
		{Revision: 4, Service: "payments-api", Function: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api:live", Outcome: invalidation.Acknowledged},
		{Revision: 5, Service: "payments-api", Function: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api:live", Outcome: invalidation.Acknowledged},
		{Revision: 9, Service: "payments-api", Function: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api:live", Outcome: invalidation.Acknowledged},
		{Revision: 9, Service: strings.Repeat("a-very-long-name-", 4), Function: strings.Repeat("a-very-long-name-", 4), Outcome: invalidation.Pending, Reason: invalidation.Throttled},
		{Revision: 9, Service: "payments-batch", Function: "payments-batch", Outcome: invalidation.Acknowledged, Left: "it is acknowledged"},
		{Revision: 10, Service: "payments-batch", Function: "payments-batch", Outcome: invalidation.Undelivered, Left: "the service is not subscribed any more"},
	}
	r := replayingOf(nil)
	if err := r.print(report); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(r.out)
	want := `replay from store of prod/payments, 2026-11-23T10:00:00Z, by ` + oncall + `
reason: INC-4711
5 of 7 failed deliveries were sent again, as revision 12, which is current, once to each function

SERVICE                 FUNCTION                    OUTCOME                       REVISIONS
a-very-long-name-a-ve…  a-very-long-name-a-very-l…  pending: throttled            9
payments-api            payments-api:live           acknowledged                  3-5, 9
payments-batch          payments-batch              left: it is acknowledged      9
payments-batch          payments-batch              left: the service is not su…  10
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for line := range strings.Lines(got[strings.Index(got, "SERVICE"):]) {
		if len([]rune(line)) > 101 {
			t.Errorf("wider than 100 columns: %s", line)
		}
	}
}

func TestWhatAReplaysFlagsMayBe(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		args []string
		want string // the problem; empty: none
		from time.Time
	}{
		"a day":                       {nil, "", now.Add(-24 * time.Hour)},
		"half an hour":                {[]string{"--since", "30m"}, "", now.Add(-30 * time.Minute)},
		"a time":                      {[]string{"--since", "2026-11-23T09:00:00+01:00"}, "", now.Add(-2 * time.Hour)},
		"one revision, however old":   {[]string{"--revision", "3"}, "", time.Time{}},
		"the wrong way round":         {[]string{"--since", "1h", "--until", "2h"}, "--since must be before --until, and before now", now},
		"from nowhere":                {[]string{"--from", "s3"}, `--from must be store, dlq or archive, not "s3"`, now},
		"an archive since ever":       {[]string{"--from", "archive"}, "say from when on, with --since: an archive holds weeks", now},
		"an archive of one secret":    {[]string{"--from", "archive", "--since", "1h", "--secret", "x/y"}, "--secret does not go with --from archive", now},
		"dead letters since":          {[]string{"--from", "dlq", "--since", "1h"}, "--since does not go with --from dlq", now},
		"the store's archive":         {[]string{"--archive", "x"}, "--archive does not go with --from store", now},
		"a secret by its ARN":         {[]string{"--secret", "arn:aws:secretsmanager:eu-west-2:111122223333:secret:" + neon}, "--secret must be a name, not an ARN: the log has names", now},
		"a secret outside the scheme": {[]string{"--secret", "/other"}, "the secret's name is outside /bank/{env}/{domain}/{service}/{name}", now},
	} {
		r := replayingOf(nil)
		r.since, r.from = timeFlag{}, fromStore
		changed := map[string]bool{}
		for flag, value := range pairs(c.args) {
			changed[strings.TrimPrefix(flag, "--")] = true
			switch flag {
			case "--since":
				must(t, r.since.Set(value))
			case "--until":
				must(t, r.until.Set(value))
			case "--from":
				r.from = value
			case "--secret":
				r.secret = value
			case "--archive":
				r.archive = value
			case "--revision":
				r.revision = 3
			}
		}
		err := r.understand(func(flag string) bool { return changed[flag] })
		got := ""
		if err != nil {
			got = err.Error()
			if !errors.As(err, new(usageError)) {
				t.Errorf("%s: %v is no usage error", name, err)
			}
		}
		if got != c.want || err == nil && !r.sinceAt.Equal(c.from) {
			t.Errorf("%s: got %q, since %v", name, got, r.sinceAt)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pairs(args []string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for pair := range slices.Chunk(args, 2) {
			if !yield(pair[0], pair[1]) {
				return
			}
		}
	}
}

func TestWhereAReplayComesFromIsCompleted(t *testing.T) {
	if _, stdout, _ := cli(t, "__complete", "replay", "--from", ""); !strings.HasPrefix(stdout, "store\ndlq\narchive\n:4\n") {
		t.Errorf("got %q", stdout)
	}
}
