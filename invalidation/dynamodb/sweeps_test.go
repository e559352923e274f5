package dynamodb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// TestSecretsAreAllRowsAsTheyStand: each with the sequence that the next write is conditional on.
func TestSecretsAreAllRowsAsTheyStand(t *testing.T) {
	w := newWorld(t)
	if got, err := w.store.Secrets(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("of nothing: got %v, %v", got, err)
	}
	at := time.Date(2026, 11, 23, 9, 59, 59, 713_000_000, time.UTC)
	want := []invalidation.SecretRow{
		{Name: neon, ARN: "arn", Current: "two", Previous: "one", LastChanged: at, Changed: at, State: invalidation.Active, Revision: 1},
		{Name: stripe, State: invalidation.Empty, MissingSince: at, LastChanged: at},
	}
	w.append(invalidation.Append{Row: rowOf(invalidation.Position{}, neon), Secrets: want[:1]}) // and beside it an audit record and a marker
	for range 3 {
		if err := w.store.Note(t.Context(), want[1]); err != nil {
			t.Fatal(err)
		}
		want[1].Sequence++
	}
	want[0].Sequence = 1
	got, err := w.store.Secrets(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for _, row := range got {
		if err := w.store.Note(t.Context(), row); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	}
}

// TestSecretsReadsEveryPage: DynamoDB's pages end at 1 MB.
func TestSecretsReadsEveryPage(t *testing.T) {
	w := newWorld(t)
	const all = 900
	var want []string
	for i := range all {
		row := invalidation.SecretRow{Name: fmt.Sprintf("/bank/prod/payments/neon/%04d-%s", i, strings.Repeat("x", 480)), ARN: strings.Repeat("y", 580)}
		if err := w.store.Note(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		want = append(want, row.Name)
	}
	before := w.transport.count("Query")
	rows, err := w.store.Secrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if pages := w.transport.count("Query") - before; pages < 2 {
		t.Errorf("read %d pages: the test needs more than one", pages)
	}
	var got []string
	for _, row := range rows {
		got = append(got, row.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestProgress is zero before the first word, and the last word after it.
func TestProgress(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 11, 23, 9, 59, 59, 713_123_456, time.UTC)
	for _, want := range []invalidation.Progress{
		{},
		{First: at},
		{First: at, Completed: at.Add(time.Minute), Full: at.Add(time.Second)},
		{First: at, Completed: at.Add(time.Hour)},
	} {
		if want != (invalidation.Progress{}) {
			if err := w.store.SaveProgress(t.Context(), want); err != nil {
				t.Fatal(err)
			}
		}
		got, err := w.store.Progress(t.Context())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
	}
	if rows, err := w.store.Secrets(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("the progress is taken for secrets: %v, %v", rows, err)
	}
}
