package dynamodb_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// TestAManifestIsKeptInParts: as many as its text needs, none of them split within a character.
func TestAManifestIsKeptInParts(t *testing.T) {
	w := newWorld(t)
	for text, parts := range map[string]int{
		"services: []\n":                   1,
		strings.Repeat("x", 300_000):       1,
		strings.Repeat("x", 300_001):       2,
		"x" + strings.Repeat("€", 700_000): 8, // 2.1 MB, the largest that there may be
	} {
		before := w.transport.count("PutItem")
		for range 2 {
			if err := w.store.Keep(t.Context(), []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.transport.count("PutItem") - before; n != 2*parts {
			t.Errorf("%d bytes: %d parts written, want twice %d", len(text), n, parts)
		}
		got, err := w.store.Manifest(t.Context(), subscribers.Digest([]byte(text)))
		if err != nil || string(got) != text {
			t.Errorf("%d bytes: got %d back, %v", len(text), len(got), err)
		}
	}
	if _, err := w.store.Manifest(t.Context(), subscribers.Digest([]byte("unknown"))); err == nil {
		t.Error("a manifest that was never kept is there")
	}
}

// TestWhichManifestHolds: it and the record of the command are written together, on condition of what was read.
func TestWhichManifestHolds(t *testing.T) {
	w := newWorld(t)
	if h, err := w.store.Holding(t.Context()); err != nil || h != (invalidation.Holding{}) {
		t.Errorf("of nothing: got %+v, %v", h, err)
	}
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	packaged := invalidation.Holding{Digest: "d1", Packaged: true, At: at}
	applied := invalidation.Holding{Digest: "d2", By: "arn:aws:iam::111122223333:user/ci", Reason: "PAY-12", At: at.Add(time.Hour), Previous: "d1", Sequence: 1}
	record := invalidation.Command{Name: "apply", By: applied.By, Reason: applied.Reason, At: applied.At, RequestID: "r1", About: "d2"}
	if err := w.store.Hold(t.Context(), packaged, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Hold(t.Context(), applied, &record); err != nil {
		t.Fatal(err)
	}
	other := record
	other.RequestID = "r2"
	for name, c := range map[string]struct {
		h  invalidation.Holding
		by invalidation.Command
	}{
		"from nothing":         {packaged, other},
		"from what was before": {applied, other},
		"recorded already":     {invalidation.Holding{Digest: "d3", Sequence: 2}, record},
	} {
		if err := w.store.Hold(t.Context(), c.h, &c.by); !errors.Is(err, invalidation.ErrConflict) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	applied.Sequence = 2
	if h, err := w.store.Holding(t.Context()); err != nil || h != applied {
		t.Errorf("got %+v, %v", h, err)
	}
	got, err := w.store.Commands(t.Context())
	if diff := cmp.Diff([]invalidation.Command{record}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}
