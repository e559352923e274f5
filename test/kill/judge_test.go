package kill_test

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// judgeEnvironments: every environment serves what is current of every secret, at its next read later than CheckEvery. Most
// have been frozen since they were warm, and no TTL ends meanwhile: it is the log that tells them.
func (w *world) judgeEnvironments() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	pause(ctx, checkEvery+time.Millisecond) // the time that the guarantee speaks of
	all := w.allEnvironments()
	if len(all) < len(w.functions)*environments {
		w.t.Errorf("%d environments are left, want %d of each of %d functions", len(all), environments, len(w.functions))
	}
	for _, e := range all {
		versions, problems, err := w.askOne(ctx, e)
		if err != nil {
			w.t.Errorf("asking %s: %v", e, err)
			continue
		}
		for _, s := range w.all {
			got, problem := versions[s.name], problems[s.name]
			switch {
			case s.now.deleted && !strings.Contains(problem, "deleted"):
				w.t.Errorf("%s has %q (%s) of %s, which is deleted", e, got, problem, s.name)
			case !s.now.deleted && got != s.now.version:
				w.t.Errorf("%s has %q (%s) of %s, want %s", e, got, problem, s.name, s.now.version)
			}
		}
	}
}

// judgeStore: the chain is whole, every change has one revision, every secret's row is what Secrets Manager says, and
// nobody is owed anything.
func (w *world) judgeStore() {
	w.t.Helper()
	rows := w.chain()
	w.judgeHistory(rows)
	snapshot, err := w.store.Load(w.t.Context(), w.names())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range w.all {
		row := snapshot.Secrets[s.name]
		is, err := w.secrets.DescribeSecret(s.name)
		if err != nil {
			w.t.Fatal(err)
		}
		want := invalidation.SecretRow{ARN: s.arn, Current: s.now.version, Previous: s.previous, State: invalidation.Active, LastChanged: is.LastChangedDate}
		if s.now.deleted {
			want.State = invalidation.Deleted
		}
		same := row.ARN == want.ARN && row.Current == want.Current && row.Previous == want.Previous && row.State == want.State &&
			row.LastChanged.Equal(want.LastChanged) && row.MissingSince.IsZero()
		if !same {
			w.t.Errorf("the row of %s is\n%+v, want\n%+v", s.name, row, want)
		}
	}
	open, err := w.store.Open(w.t.Context())
	if err != nil || len(open) > 0 {
		w.t.Errorf("%d fan-outs are left open, %v: %+v", len(open), err, open)
	}
	w.judgeDeliveries(rows)
}

// chain returns the whole log, after proving that each row is of the form and hash it says, and in its place in the chain.
func (w *world) chain() []wire.Row {
	w.t.Helper()
	var rows []wire.Row
	pages := awsdynamodb.NewQueryPaginator(w.client, &awsdynamodb.QueryInput{
		TableName: aws.String(changesTable), KeyConditionExpression: aws.String("pk = :log"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":log": &types.AttributeValueMemberS{Value: wire.LogPartition}},
	})
	previous := ""
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, item := range page.Items {
			body, hash, at := text(item["detail"]), text(item["hash"]), int64(len(rows)+1)
			row, err := wire.OpenRow([]byte(body), hash)
			switch {
			case err != nil:
				w.t.Fatalf("revision %d: %v", at, err)
			case wire.Verify([]byte(body), hash) != nil:
				w.t.Errorf("revision %d is not what its hash was made of", at)
			case row.Revision != at || text(item["sk"]) != wire.RevisionKey(at):
				w.t.Errorf("row %d calls itself %d and stands at %s", at, row.Revision, text(item["sk"]))
			case row.PreviousHash != previous:
				w.t.Errorf("revision %d stands on %q, the row before is %q", at, row.PreviousHash, previous)
			}
			previous = hash
			rows = append(rows, row)
		}
	}
	return rows
}

func text(value types.AttributeValue) string {
	s, ok := value.(*types.AttributeValueMemberS)
	if !ok {
		return ""
	}
	return s.Value
}

// judgeHistory holds the log against what happened to each secret: what it tells are states that the secret had, in their
// order, each at most once, and the last one is the last. It may leave out a state that was over before anybody looked; it
// may say once more that what is there has to be fetched.
func (w *world) judgeHistory(rows []wire.Row) {
	w.t.Helper()
	told := map[string][]wire.Change{}
	for _, row := range rows {
		for _, c := range row.Changes {
			told[c.Name] = append(told[c.Name], c)
		}
	}
	for _, s := range w.all {
		at := 0 // in the history: the first state was there before anybody looked
		for _, c := range told[s.name] {
			from := at + 1
			if c.Kind == wire.Refresh {
				from = at
			}
			next := s.find(from, c)
			if next < 0 {
				w.t.Errorf("the log has %v of %s after state %d of %v", c, s.name, at, s.history)
				break
			}
			at = next
		}
		if s.history[at] != s.now {
			w.t.Errorf("the log ends with %v of %s, which is %v", s.history[at], s.name, s.now)
		}
	}
}

// find returns the first state from an index on that a change tells of, or -1.
func (s *secret) find(from int, c wire.Change) int {
	want := state{version: c.VersionID}
	for i := from; i < len(s.history); i++ {
		if c.Kind == wire.Deleted && s.history[i].deleted || c.Kind != wire.Deleted && s.history[i] == want {
			return i
		}
	}
	return -1
}

// judgeDeliveries: each revision has an outcome for each subscription that it concerns. One that failed for good is the
// answer of an environment that could not get what the push told of, since it had been deleted meanwhile.
func (w *world) judgeDeliveries(rows []wire.Row) {
	w.t.Helper()
	outcomes := map[invalidation.Outcome]int{}
	changes := 0
	for _, row := range rows {
		changes += len(row.Changes)
		all, err := w.store.Deliveries(w.t.Context(), row.Revision)
		if err != nil {
			w.t.Fatal(err)
		}
		told := map[string]bool{}
		for _, d := range all {
			told[d.Subscription] = true
			outcomes[d.Outcome]++
			switch {
			case d.Outcome == invalidation.Acknowledged:
			case d.Outcome == invalidation.Skipped && d.Subscription == "payments-report":
			case d.Outcome == invalidation.Undelivered && d.Reason == invalidation.NotApplied:
			default:
				w.t.Errorf("revision %d to %s is %s: %s %s", row.Revision, d.Subscription, d.Outcome, d.Reason, d.Error)
			}
		}
		for _, f := range w.functions {
			if !told[f] && w.concerns(f, row) {
				w.t.Errorf("revision %d has no outcome for %s", row.Revision, f)
			}
		}
	}
	w.t.Logf("%d revisions with %d changes; deliveries: %v; %d messages given up by the queue", len(rows), changes, outcomes, len(w.queue.Dead()))
	if outcomes[invalidation.Acknowledged] == 0 {
		w.t.Error("nothing was delivered")
	}
}

// concerns reports whether the manifest has a function told of a row.
func (w *world) concerns(function string, row wire.Row) bool {
	for _, c := range row.Changes {
		if function != "payments-cards" || strings.Contains(c.Name, "/service-1/") || strings.Contains(c.Name, "/service-2/") {
			return true
		}
	}
	return false
}

// judgeTrouble: a run in which nothing was killed, or nothing lost, shows nothing.
func (w *world) judgeTrouble(lasts time.Duration) {
	w.t.Helper()
	c := &w.counts
	w.t.Logf("%d kills, %d of them with a fan-out open; %d of %d invocations by the queue failed; %d ticks", c.kills.Load(), c.killsInFanout.Load(),
		c.failed.Load(), c.invocations.Load(), c.ticks.Load())
	w.t.Logf("%d changes, all events of %d of them lost; %d pushes, %d answered; %d reads under way", c.changes.Load(), c.lost.Load(),
		c.pushes.Load(), c.acks.Load(), c.reads.Load())
	least := int64(lasts / killedEvery)
	for what, n := range map[string][2]int64{
		"kills":                       {c.kills.Load(), least},
		"kills with a fan-out open":   {c.killsInFanout.Load(), least / 2},
		"invocations that failed":     {c.failed.Load(), least / 2},
		"changes":                     {c.changes.Load(), 2 * least},
		"changes that nobody told of": {c.lost.Load(), 1},
		"answered pushes":             {c.acks.Load(), least},
		"reads":                       {c.reads.Load(), 10 * least},
	} {
		if n[0] < n[1] {
			w.t.Errorf("%d %s, want %d at least: nothing is shown", n[0], what, n[1])
		}
	}
}
