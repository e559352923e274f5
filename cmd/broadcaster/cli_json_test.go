//go:build !lambdaartifact

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/doctor"
	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/replays"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// TestTheJSONOfCommandsIsAsDocumented: docs/cli-json.md shows what the broadcaster answers, as the command line prints it.
func TestTheJSONOfCommandsIsAsDocumented(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(tick))
		l.on(func(w *world) {
			w.answer = func(out http.ResponseWriter, _ wire.Invalidation) bool {
				_, err := io.WriteString(out, `{"no":"ack"}`)
				return err == nil
			}
		})
		version := l.put(t, neon, "one")
		l.receive(messages(moved(neon, version)))
		l.on(func(w *world) { w.answer = nil })

		r := replaying{where: place{env: "prod", domain: "payments"}, from: fromStore, order: order{Reason: "INC-4711"}, asJSON: true, asked: time.Now().UTC()}
		report, err := r.sendAll(t.Context(), []invalidation.Missed{{Revision: 2, Subscription: "payments-api", Function: functionARN}},
			func(_ context.Context, o order, answer *replayAnswer) (err error) {
				*answer, err = give[replayAnswer](l, "replay", false, o.Details)
				return err
			})
		if err != nil {
			t.Fatal(err)
		}
		documented(t, "replay", report, version, "")

		announced, err := give[invalidateAnswer](l, "invalidate", false, invalidateDetails{neon})
		if err != nil {
			t.Fatal(err)
		}
		documented(t, "invalidate", announced, version, announced.Is.Hash)
		paused, err := l.order(":pause", pauseOrder())
		if err != nil {
			t.Fatal(err)
		}
		documented(t, "pause", paused, version, "")
	})
}

// TestTheJSONOfWhatIsDoneElsewhereIsAsDocumented: the broadcaster only keeps the record of it.
func TestTheJSONOfWhatIsDoneElsewhereIsAsDocumented(t *testing.T) {
	r := replaying{where: place{env: "prod", domain: "payments"}, from: fromDLQ, order: order{Reason: "INC-4711"}, asked: day("10:30:00")}
	parked := r.report()
	parked.By, parked.Redrive = oncall, &redriven{Queue: "prod-payments-broadcaster-dead-letters", Moved: 2, Received: 1}
	documented(t, "replay-dlq", parked, "", "")

	r.from = fromArchive
	archived := r.report()
	archived.By, archived.Archive = oncall, &archiveReplayed{
		Archive: "prod-secretsmanager", From: day("09:00:00"), To: day("10:00:00"), Rules: []string{"arn:aws:events:eu-west-2:111122223333:rule/prod-payments-secrets"},
		Replay: replays.Replay{Name: "prod-payments-20261123T103000Z", State: "COMPLETED", At: day("09:59:40")},
	}
	documented(t, "replay-archive", archived, "", "")

	documented(t, "doctor", found([]doctor.Finding{
		{Check: "queue", OK: true},
		{Check: "canary", OK: true, Note: "there is none"},
		{Check: "alarms", Problem: "these credentials may not cloudwatch:DescribeAlarms: api error AccessDenied", Fix: "look with credentials that may", Lacks: "cloudwatch:DescribeAlarms"},
		{Check: "event source", Problem: "it is disabled: no message is handled", Fix: "aws lambda update-event-source-mapping --uuid u --enabled"},
	}), "", "")
}

// TestTheJSONOfAReplayOfNothing says so: a script need not ask whether a field is there.
func TestTheJSONOfAReplayOfNothing(t *testing.T) {
	var out bytes.Buffer
	r := replaying{from: fromStore, asJSON: true, out: &out}
	report, err := r.sendAll(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.print(report); err != nil || !strings.Contains(out.String(), `"selected": 0,`) || !strings.Contains(out.String(), `"deliveries": []`) {
		t.Errorf("%v\n%s", err, &out)
	}
}

// documented compares with what docs/cli-json.md shows, where a version's id and a hash are examples, and the day is that of the
// other ones.
func documented(t *testing.T, part string, what any, version, hash string) {
	t.Helper()
	var out bytes.Buffer
	if err := printJSON(&out, what); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(out.String(), "2000-01-01T00:0", "2026-11-23T10:3")
	if version != "" {
		text = strings.ReplaceAll(text, version, "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE")
	}
	if hash != "" {
		text = strings.ReplaceAll(text, hash, strings.Repeat("77ab", 16))
	}
	generated(t, "../../docs/cli-json.md", part, "```json\n"+text+"```")
}
