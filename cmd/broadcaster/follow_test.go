package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A step is what a log line says of an event's way.
type step struct {
	Msg, EventID, Outcome, Hash, Subscription, Environment, LogStream, Reason string
	EventIDs                                                                  []string
	Revision                                                                  int64
}

// following returns the log lines that have an event's id, in their order.
func (l *lab) following(eventID string) []step {
	l.Helper()
	var all []step
	for text := range strings.Lines(l.logs.String()) {
		var s step
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			l.Fatal(err)
		}
		if s.EventID == eventID || slices.Contains(s.EventIDs, eventID) {
			all = append(all, s)
		}
	}
	return all
}

// TestOneIDLeadsFromTheEventToTheAck: in the log lines, the audit record and the deliveries; and what the push carries leads
// there too.
func TestOneIDLeadsFromTheEventToTheAck(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.on(func(w *world) {
			w.answer = func(out http.ResponseWriter, inv wire.Invalidation) bool {
				_ = json.NewEncoder(out).Encode(wire.Ack{
					Schema: wire.Schema, Client: "test/1", Environment: "7f3c", LogStream: "2026/11/23/[12]0f3a", Revision: inv.Detail.Revision, Hash: inv.Detail.Hash,
				})
				return true
			}
		})
		event := moved(neon, l.put(t, neon, "one"))
		var is struct{ ID string }
		if err := json.Unmarshal([]byte(event), &is); err != nil {
			t.Fatal(err)
		}
		l.receive(messages(event, hint(neon)))
		push := l.pushes()[0]
		ids := []string{is.ID, "hint-1"}
		want := []step{
			{Msg: "appended", EventIDs: ids, Revision: 2, Hash: push.ID},
			{Msg: "event", EventID: is.ID, Outcome: "appended", Revision: 2},
			{Msg: "a push was acknowledged", EventIDs: ids, Revision: 2, Hash: push.ID, Subscription: "payments-api", Environment: "7f3c", LogStream: "2026/11/23/[12]0f3a"},
		}
		if diff := cmp.Diff(want, l.following(is.ID)); diff != "" {
			t.Errorf("log lines (-want +got)\n%s", diff)
		}
		deliveries, _ := l.deliveries(t, 2)
		for _, d := range deliveries {
			if diff := cmp.Diff(ids, d.EventIDs); diff != "" || d.Hash != push.ID {
				t.Errorf("delivery to %s with hash %s (-want +got)\n%s", d.Subscription, d.Hash, diff)
			}
		}
		if len(deliveries) != 2 || deliveries[0].Ack.Environment != "7f3c" {
			t.Errorf("deliveries %+v", deliveries)
		}
		if causes := l.audit(t, 2); len(causes) != 2 || causes[0].EventID != is.ID {
			t.Errorf("audit record %+v", causes)
		}
		l.receive(messages(event)) // doubled: it says where what became of it is found
		if again := l.following(is.ID); again[len(again)-1].Outcome != "duplicate" || again[len(again)-1].Revision != 2 {
			t.Errorf("got %+v", again[len(again)-1])
		}
	})
}

// TestADeliveryThatIsTriedAgainKeepsItsEvents, in another process too.
func TestADeliveryThatIsTriedAgainKeepsItsEvents(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.on(func(w *world) {
			w.answer = func(out http.ResponseWriter, _ wire.Invalidation) bool {
				out.Header().Set("X-Amzn-Errortype", "TooManyRequestsException")
				out.WriteHeader(http.StatusTooManyRequests)
				return true
			}
		})
		version := l.put(t, neon, "one")
		l.receive(messages(moved(neon, version)))
		if s := l.following("event-of-" + version); s[len(s)-1].Msg != "a push is pending" || s[len(s)-1].Reason != string(invalidation.Throttled) {
			t.Errorf("got %+v", s)
		}
		l.on(func(w *world) { w.answer = nil })
		l.restart()
		time.Sleep(l.resumes[0].after)
		l.receive(messages(l.resumes[0].body))
		if s := l.following("event-of-" + version); len(s) != 1 || s[0].Msg != "a push was acknowledged" || s[0].Environment != "environment-1" {
			t.Errorf("got %+v", s)
		}
	})
}

// audit returns what caused a revision.
func (l *lab) audit(t *testing.T, revision int64) []invalidation.Cause {
	t.Helper()
	out, err := awsdynamodb.NewFromConfig(l.config(l.tables.RoundTripper())).GetItem(t.Context(), &awsdynamodb.GetItemInput{
		TableName: aws.String(operationsTable), Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: "audit"}, "sk": &types.AttributeValueMemberS{Value: wire.RevisionKey(revision)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	data, _ := out.Item["data"].(*types.AttributeValueMemberS)
	var causes []invalidation.Cause
	if err := json.Unmarshal([]byte(data.Value), &causes); err != nil {
		t.Fatal(err)
	}
	return causes
}
