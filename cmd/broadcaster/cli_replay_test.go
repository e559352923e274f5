package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history/historytest"
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
	want := `replay from store of prod/payments, 2026-11-23T10:00:00Z
by:     ` + oncall + `
reason: INC-4711
5 of 7 failed deliveries were sent again, as revision 12, which is current, once to each function

SERVICE                 FUNCTION                    OUTCOME                       REVISIONS
a-very-long-name-a-ve…  a-very-long-name-a-very-l…  pending: throttled            9
payments-api            payments-api:live           acknowledged                  3-5, 9
payments-batch          payments-batch              left: it is acknowledged      9
payments-batch          payments-batch              left: the service is not su…  10
left: the service is not subscribed any more
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
		"no revision":                 {[]string{"--revision", "0"}, "--revision must be at least 1, the first there is", time.Time{}},
		"below all revisions":         {[]string{"--revision", "-5"}, "--revision must be at least 1, the first there is", time.Time{}},
		"a service without a name":    {[]string{"--service", ""}, "--service must be a service's name", time.Time{}},
		"a secret without a name":     {[]string{"--secret", ""}, "--secret must be a secret's name", time.Time{}},
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
				n, err := strconv.ParseInt(value, 10, 64)
				must(t, err)
				r.revision = n
			case "--service":
				r.service = value
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

// TestAReplayOfWhatThereIsNot is refused: that nothing failed there would be no good news.
func TestAReplayOfWhatThereIsNot(t *testing.T) {
	p := payments(t)
	for selection, want := range map[string]string{
		"--service ghosst":   "broadcaster: the service ghosst is not known to the broadcaster: it is not subscribed, and no environment has reported that name in the last day\n",
		"--revision 999":     "broadcaster: the log has no revision 999: broadcaster changes lists those that it has\n",
		"--secret neon/typo": "broadcaster: the secret /bank/prod/payments/neon/typo is not known to the broadcaster\n",
	} {
		if stdout, stderr := p.show(t, example{command: "replay --reason INC-4711 " + selection, code: exitFailed}); stdout != "" || stderr != want {
			t.Errorf("%s: stdout %q, stderr %q", selection, stdout, stderr)
		}
	}
	p.Holds(invalidation.Holding{}, "subscribed")
	for _, selection := range []string{"--service subscribed", "--service payments-batch", "--revision 6", "--secret stripe/api-key"} {
		if stdout, stderr := p.show(t, example{command: "replay --reason INC-4711 " + selection}); stderr != "" ||
			!strings.HasSuffix(stdout, "no delivery failed among those selected: there is nothing to send again\n") {
			t.Errorf("%s: stdout %q, stderr %q", selection, stdout, stderr)
		}
	}
}

// TestAReplayTellsOfWhatIsPending, and what ends a pause.
func TestAReplayTellsOfWhatIsPending(t *testing.T) {
	p := newPast(t)
	row := p.Moved(neonLogin, 1, time.Now().Add(-time.Hour)) // a replay selects by the clock
	p.Record(row, historytest.Owed(row, "slow", 0, invalidation.Pending, invalidation.TimedOut),
		historytest.Owed(row, "held", 0, invalidation.Pending, invalidation.Paused), historytest.Owed(row, "held-too", 0, invalidation.Pending, invalidation.Paused))
	const want = `no delivery failed among those selected: there is nothing to send again
1 delivery pending: tried again without a replay
2 deliveries held back by a pause
next: broadcaster resume --env prod --domain payments --reason REASON
`
	if stdout, stderr := p.show(t, example{command: "replay --reason INC-4711"}); !strings.HasSuffix(stdout, want) || stderr != "" {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	if stdout, _ := p.show(t, example{command: "replay --reason INC-4711 --json"}); !strings.Contains(stdout, `"pending": 3`) || !strings.Contains(stdout, `"paused": 2`) {
		t.Errorf("got %s", stdout)
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
