package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// give gives an order with details, as somebody who proves who they are.
func give[T any](l *lab, name string, dryRun bool, details any) (T, error) {
	l.Helper()
	var none T
	text, err := json.Marshal(details)
	if err != nil {
		l.Fatal(err)
	}
	o := order{Name: name, Env: "prod", Domain: "payments", Reason: "INC-4711", DryRun: dryRun, Details: text}
	l.handler.callers = vouching{"proof " + o.digest(): oncall}
	is, err := l.carry(":"+name, commandPayload{&command{o, "proof"}})
	if err != nil {
		return none, err
	}
	return is.(T), nil //nolint:forcetypeassert // else the test fails
}

func TestInvalidate(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		for _, dry := range []bool{true, false} {
			before := len(l.pushes())
			a, err := give[invalidateAnswer](l, "invalidate", dry, invalidateDetails{neon})
			if err != nil || a.Name != "invalidate" || a.DryRun != dry || a.By != oncall || a.Problem != "" {
				t.Fatalf("got %+v, %v", a, err)
			}
			if a.Is.Name != neon || a.Is.Revision != 3 || a.Is.State != invalidation.Active || a.Is.Change == nil || a.Is.Change.Kind != wire.Refresh {
				t.Errorf("got %+v", a.Is)
			}
			sent := []sentTo{
				{Revision: 3, Service: "payments-api", Function: functionARN, Outcome: invalidation.Acknowledged},
				{Revision: 3, Service: "payments-batch", Function: "payments-batch", Outcome: invalidation.Skipped, Reason: invalidation.Pull},
			}
			if dry {
				sent[0].Outcome = invalidation.Pending
			}
			if diff := cmp.Diff(sent, a.Deliveries); diff != "" {
				t.Errorf("dry run %t (-want +got)\n%s", dry, diff)
			}
			if pushed := len(l.pushes()) - before; dry != (pushed == 0) {
				t.Errorf("dry run %t: pushed %d times", dry, pushed)
			}
		}
		records, err := l.store().Commands(t.Context())
		if err != nil || len(records) != 1 || records[0].About != neon || records[0].By != oncall {
			t.Fatalf("records %+v, %v", records, err)
		}
		rows := l.audit(t, 3)
		if len(rows) != 1 || rows[0].Actor != oncall || rows[0].DetailType != "Invalidate" || rows[0].EventID != records[0].RequestID {
			t.Errorf("the audit record has %+v", rows)
		}
	})
}

// TestInvalidateRefusesWhatIsNoSecretOfTheDomain before it is recorded.
func TestInvalidateRefusesWhatIsNoSecretOfTheDomain(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		for id, want := range map[string]string{
			"":                        "the secret must identify the secret",
			"mySecret":                "the secret's name is outside /bank/{env}/{domain}/{service}/{name}",
			"/bank/prod/kyc/neon/key": invalidation.ErrElsewhere.Error(),
		} {
			if _, err := give[invalidateAnswer](l, "invalidate", false, invalidateDetails{id}); err == nil || err.Error() != want {
				t.Errorf("%q: got %v, want %s", id, err, want)
			}
		}
		if _, err := give[invalidateAnswer](l, "invalidate", false, []string{"no details"}); err == nil || !strings.HasPrefix(err.Error(), "reading which secret is meant") {
			t.Errorf("no details: %v", err)
		}
		l.wantNoCommand(t)
	})
}

// TestReplay: what failed is sent again as what is current; a dry run says to whom.
func TestReplay(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(tick))
		refuse := func(out http.ResponseWriter, _ wire.Invalidation) bool {
			_, _ = out.Write([]byte(`{"no":"ack"}`))
			return true
		}
		l.on(func(w *world) { w.answer = refuse })
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		l.receive(messages(moved(neon, l.put(t, neon, "two"))))
		l.on(func(w *world) { w.answer = nil })
		l.measured()
		missed := []invalidation.Missed{
			{Revision: 2, Subscription: "payments-api", Function: functionARN},
			{Revision: 3, Subscription: "payments-api", Function: functionARN},
			{Revision: 9, Subscription: "payments-api", Function: functionARN},
		}
		before := len(l.pushes())
		for _, dry := range []bool{true, false} {
			a, err := give[replayAnswer](l, "replay", dry, replayDetails{From: fromStore, Deliveries: missed})
			want := replayAnswer{
				Name: "replay", DryRun: dry, By: oncall, From: fromStore, Revision: 3,
			}
			for revision := int64(2); revision <= 3; revision++ {
				s := sentTo{Revision: revision, Service: "payments-api", Function: functionARN, Outcome: invalidation.Acknowledged}
				if dry {
					s.Outcome = invalidation.Pending
				}
				want.Deliveries = append(want.Deliveries, s)
			}
			want.Deliveries = append(want.Deliveries, sentTo{Revision: 9, Service: "payments-api", Function: functionARN, Left: "the log has no such delivery"})
			if diff := cmp.Diff(want, a); err != nil || diff != "" {
				t.Errorf("dry run %t: %v (-want +got)\n%s", dry, err, diff)
			}
		}
		if pushes := l.pushes()[before:]; len(pushes) != 1 || pushes[0].Detail.Revision != 3 {
			t.Errorf("pushed %d times, want the head once", len(pushes))
		}
		if records, err := l.store().Commands(t.Context()); err != nil || len(records) != 1 || records[0].About != "payments-api: 2, 3, 9" {
			t.Errorf("records %+v, %v", records, err)
		}
		// What it took hours for says nothing of how fast pushes are.
		if values := l.measured()[appendToAck]; len(values) != 0 {
			t.Errorf("measured %v", values)
		}
	})
}

// TestAReplayFromElsewhereIsRecorded: the broadcaster may not do it, but who does is kept.
func TestAReplayFromElsewhereIsRecorded(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		for _, dry := range []bool{true, false} {
			if a, err := give[replayAnswer](l, "replay", dry, replayDetails{From: fromDLQ, About: "3 messages"}); err != nil || a.By != oncall || a.From != fromDLQ {
				t.Errorf("got %+v, %v", a, err)
			}
		}
		if records, err := l.store().Commands(t.Context()); err != nil || len(records) != 1 || records[0].About != "dlq: 3 messages" {
			t.Errorf("records %+v, %v", records, err)
		}
	})
}

func TestAReplayThatIsRefused(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		for name, c := range map[string]struct {
			details any
			want    string
		}{
			"nothing":         {replayDetails{From: fromStore}, "one command replays 1 to 50 deliveries"},
			"too much":        {replayDetails{From: fromStore, Deliveries: make([]invalidation.Missed, 51)}, "one command replays 1 to 50 deliveries"},
			"nowhere":         {replayDetails{From: "s3", About: "x"}, "what is replayed comes from store, dlq or archive"},
			"nothing said":    {replayDetails{From: fromArchive}, "what is replayed must be said in one line of at most 500 bytes"},
			"two lines":       {replayDetails{From: fromArchive, About: "a\nb"}, "what is replayed must be said in one line of at most 500 bytes"},
			"too much said":   {replayDetails{From: fromArchive, About: strings.Repeat("x", 501)}, "what is replayed must be said in one line of at most 500 bytes"},
			"no such details": {"text", "reading what is to be replayed: json: cannot unmarshal string into Go value of type main.replayDetails"},
		} {
			if _, err := give[replayAnswer](l, "replay", false, c.details); err == nil || err.Error() != c.want {
				t.Errorf("%s: got %v, want %s", name, err, c.want)
			}
		}
		l.wantNoCommand(t)
	})
}
