package dynamodb_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

func TestAPauseAndTheRecordOfWhoSetIt(t *testing.T) {
	w := newWorld(t)
	if p, err := w.store.Pause(t.Context()); err != nil || p != (invalidation.Pause{}) {
		t.Errorf("of nothing: got %+v, %v", p, err)
	}
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	first := invalidation.Pause{Paused: true, By: "arn:aws:iam::111122223333:user/oncall", Reason: "INC-4711", At: at}
	second := invalidation.Pause{By: first.By, Reason: "fixed", At: at.Add(time.Hour)}
	records := []invalidation.Command{
		{Name: "pause", By: first.By, Reason: first.Reason, At: first.At, RequestID: "r1"},
		{Name: "resume", By: second.By, Reason: second.Reason, At: second.At, RequestID: "r2"},
	}
	for i, p := range []invalidation.Pause{first, second} {
		if err := w.store.SetPause(t.Context(), p, records[i]); err != nil {
			t.Fatal(err)
		}
		got, err := w.store.Pause(t.Context())
		if diff := cmp.Diff(p, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
	}
	// The same record again is refused, and what it would have set with it.
	if err := w.store.SetPause(t.Context(), first, records[0]); err == nil {
		t.Error("a record was written twice")
	}
	if got, err := w.store.Pause(t.Context()); err != nil || got != second {
		t.Errorf("after a refused command: got %+v, %v", got, err)
	}
	got, err := w.store.Commands(t.Context())
	if diff := cmp.Diff(records, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestTheCountOfFailedChecks(t *testing.T) {
	w := newWorld(t)
	if told, err := w.store.CheckFailures(t.Context()); err != nil || len(told) > 0 {
		t.Errorf("of nothing: got %v, %v", told, err)
	}
	want := map[string]int64{"e1": 3, "e2": 1 << 60}
	if err := w.store.SaveCheckFailures(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, err := w.store.CheckFailures(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}
