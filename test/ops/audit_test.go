package ops_test

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/audit"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// theEvidenceIsWhole: a change, its ack and a pause are in every format; they verify against the lines that the broadcaster
// really logged, in a file and in CloudWatch; a row that was changed afterwards does not.
func theEvidenceIsWhole(w *world) {
	t := w.T
	w.begin()
	event := w.change(1)
	w.order("pause", "--reason", "INC-4711")
	w.change(2)
	w.order("resume", "--reason", "INC-4711: fixed")

	var kinds []string
	for line := range strings.Lines(w.succeed(on("audit")...)) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		switch {
		case r.Command != nil:
			kinds = append(kinds, r.Command.Name)
		case r.Change.Revision == 2 && r.Change.Causes[0].EventID == event && r.Change.Deliveries[0].Outcome == invalidation.Acknowledged:
			kinds = append(kinds, "change 1")
		case r.Change.Revision == 3 && r.Change.Deliveries[0].Outcome == invalidation.Acknowledged:
			kinds = append(kinds, "change 2")
		}
	}
	if got := strings.Join(kinds, ", "); got != "change 1, pause, change 2, resume" {
		t.Errorf("the evidence: %s", got)
	}
	if lines, err := csv.NewReader(strings.NewReader(w.succeed(on("audit", "--format", "csv", "--since", "1h")...))).ReadAll(); err != nil || len(lines) != 5 {
		t.Errorf("%d lines of CSV, %v", len(lines), err)
	}
	if page := w.succeed(on("audit", "--format", "html")...); !strings.Contains(page, event) || !strings.Contains(page, "INC-4711: fixed") || !strings.HasSuffix(page, "</html>\n") {
		t.Errorf("the page lacks something:\n%s", page)
	}
	if got := w.succeed(on("audit", "--until", "1h")...); got != "" {
		t.Errorf("of before there was anything: %s", got)
	}

	if code, _, stderr := w.command(on("invalidate", "no/such-secret", "--reason", "INC-4711: it failed")...); code != 1 {
		t.Errorf("of a secret that is not there: exit code %d, %s", code, stderr)
	}
	file := filepath.Join(w.dir, "archived-log.jsonl")
	if err := os.WriteFile(file, []byte(w.written()), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "ok: 3 rows up to revision 3, hash " + w.row(3).Hash + "\n3 of them and 3 commands compared with the broadcaster's log lines\n"
	if got := w.succeed(on("audit", "verify", "--log", file)...); got != want {
		t.Errorf("verified: %s, want %s", got, want)
	}
	w.keepLog()
	if got := w.succeed(on("audit", "verify")...); got != want {
		t.Errorf("verified with CloudWatch: %s, want %s", got, want)
	}
	if got := w.succeed(on("audit", "rotation")...); got != "off      "+neon+"\n" {
		t.Errorf("rotations: %s", got)
	}
	w.runDocumented("audit", 5, "docs/security.md")

	w.tamper(2)
	code, stdout, stderr := w.command("audit", "verify", "--env", "prod", "--domain", "payments", "--log", file, "--json")
	var v audit.Verified
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != 1 || stderr != "broadcaster: the store is not what was written\n" || len(v.Problems) != 2 || v.Problems[0].Revision != 2 {
		t.Errorf("of a row that was changed: exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
}

func (w *world) row(revision int64) wire.Row {
	w.Helper()
	row, err := w.store.Row(w.Context(), revision)
	if err != nil {
		w.Fatal(err)
	}
	return row
}

// keepLog does what Lambda does with what a function writes.
func (w *world) keepLog() {
	w.Helper()
	client := cloudwatchlogs.New(cloudwatchlogs.Options{
		Region: region, BaseEndpoint: &w.sts, Credentials: credentials.NewStaticCredentialsProvider(oncallAccount, "placeholder", ""),
	})
	group, stream := aws.String("/aws/lambda/"+broadcaster), aws.String("stream")
	if _, err := client.CreateLogGroup(w.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group}); err != nil {
		w.Fatal(err)
	}
	if _, err := client.CreateLogStream(w.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}); err != nil {
		w.Fatal(err)
	}
	var events []types.InputLogEvent
	for line := range strings.Lines(w.written()) {
		events = append(events, types.InputLogEvent{Timestamp: aws.Int64(time.Now().UnixMilli()), Message: aws.String(strings.TrimSpace(line))})
	}
	_, err := client.PutLogEvents(w.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: events})
	if err != nil {
		w.Fatal(err)
	}
}

// tamper has somebody write a row of the log anew who may write the table.
func (w *world) tamper(revision int64) {
	w.Helper()
	row := w.row(revision)
	row.Changes[0].VersionID = "another"
	body, err := row.Seal()
	if err != nil {
		w.Fatal(err)
	}
	text := func(s string) ddb.AttributeValue { return &ddb.AttributeValueMemberS{Value: s} }
	_, err = w.client.PutItem(w.Context(), &awsdynamodb.PutItemInput{TableName: aws.String(changesTable), Item: map[string]ddb.AttributeValue{
		"pk": text(wire.LogPartition), "sk": text(wire.RevisionKey(revision)), "hash": text(row.Hash), "detail": text(string(body)),
	}})
	if err != nil {
		w.Fatal(err)
	}
}
