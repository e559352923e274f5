package dynamodb_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// TestOpenReadsEveryPageInOrder: DynamoDB's pages end at 1 MB.
func TestOpenReadsEveryPageInOrder(t *testing.T) {
	w := newWorld(t)
	head := invalidation.Position{}
	var want []int64
	for revision := int64(1); revision <= 105; revision++ {
		var names []string
		for i := range 25 {
			names = append(names, fmt.Sprintf("/bank/prod/payments/neon/%s-%d", strings.Repeat("x", 450), i))
		}
		head = positionOf(w.append(invalidation.Append{Head: head, Row: rowOf(head, names...)}))
		want = append(want, revision)
	}
	before := w.transport.count("Query")
	fanouts, err := w.store.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if pages := w.transport.count("Query") - before; pages < 2 {
		t.Errorf("read %d pages: the test needs more than one", pages)
	}
	var got []int64
	for _, f := range fanouts {
		got = append(got, f.Revision)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if last := fanouts[len(fanouts)-1]; last.Position != head || len(last.Names) != 25 {
		t.Errorf("the last is %+v with %d names, want %+v with 25", last.Position, len(last.Names), head)
	}
}

func TestCloseEndsOnlyThisFanout(t *testing.T) {
	w := newWorld(t)
	first := positionOf(w.append(invalidation.Append{Row: rowOf(invalidation.Position{}, neon)}))
	second := positionOf(w.append(invalidation.Append{Head: first, Row: rowOf(first, stripe)}))
	for _, c := range []struct {
		why   string
		close invalidation.Position
		left  []invalidation.Position
	}{
		{"another hash: its row is gone", invalidation.Position{Revision: 1, Hash: second.Hash}, []invalidation.Position{first, second}},
		{"a revision that never was", invalidation.Position{Revision: 3, Hash: first.Hash}, []invalidation.Position{first, second}},
		{"the first", first, []invalidation.Position{second}},
		{"the first again", first, []invalidation.Position{second}},
		{"the second", second, nil},
	} {
		if err := w.store.Close(t.Context(), invalidation.Fanout{Position: c.close}); err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
		fanouts, err := w.store.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var left []invalidation.Position
		for _, f := range fanouts {
			left = append(left, f.Position)
		}
		if diff := cmp.Diff(c.left, left); diff != "" {
			t.Errorf("%s: left open (-want +got):\n%s", c.why, diff)
		}
	}
}

// TestReopenWritesAllOrNothing: only in the place of failed deliveries, and only for the row that is meant.
func TestReopenWritesAllOrNothing(t *testing.T) {
	w := newWorld(t)
	first := positionOf(w.append(invalidation.Append{Row: rowOf(invalidation.Position{}, neon)}))
	delivery := func(service string, outcome invalidation.Outcome) invalidation.Delivery {
		return invalidation.Delivery{Revision: 1, Hash: first.Hash, Subscription: service, Function: service, Outcome: outcome}
	}
	failed := []invalidation.Delivery{delivery("a", invalidation.Undelivered), delivery("b", invalidation.Undelivered), delivery("c", invalidation.Acknowledged)}
	if err := w.store.Record(t.Context(), failed); err != nil {
		t.Fatal(err)
	}
	closed := invalidation.Fanout{Position: first}
	if err := w.store.Close(t.Context(), closed); err != nil {
		t.Fatal(err)
	}
	pending := []invalidation.Delivery{delivery("a", invalidation.Pending), delivery("b", invalidation.Pending), delivery("c", invalidation.Pending)}
	for name, c := range map[string]struct {
		again []invalidation.Delivery
	}{
		"one is acknowledged": {pending},
		"one is not there":    {[]invalidation.Delivery{pending[0], delivery("d", invalidation.Pending)}},
	} {
		err := w.store.Reopen(t.Context(), invalidation.Fanout{Position: first, Reopened: "r1"}, c.again)
		if all, _ := w.store.Deliveries(t.Context(), 1); !errors.Is(err, invalidation.ErrConflict) || !cmp.Equal(all, failed) {
			t.Errorf("%s: %v, then %+v", name, err, all)
		}
	}
	opened := invalidation.Fanout{Position: first, Names: []string{neon}, Reopened: "r1"}
	if err := w.store.Reopen(t.Context(), opened, pending[:1]); err != nil {
		t.Fatal(err)
	}
	other := opened
	other.Hash = "another"
	if err := w.store.Reopen(t.Context(), other, pending[1:2]); !errors.Is(err, invalidation.ErrConflict) {
		t.Errorf("of another row: %v", err)
	}
	opened.Reopened = "r2"
	if err := w.store.Reopen(t.Context(), opened, pending[1:2]); err != nil {
		t.Fatal(err)
	}
	for _, before := range []string{"", "r1"} { // as it was read before it was reopened
		if err := w.store.Close(t.Context(), invalidation.Fanout{Position: first, Reopened: before}); err != nil {
			t.Fatal(err)
		}
	}
	open, err := w.store.Open(t.Context())
	if diff := cmp.Diff([]invalidation.Fanout{opened}, open); err != nil || diff != "" {
		t.Errorf("%v, open (-want +got)\n%s", err, diff)
	}
	if err := w.store.Close(t.Context(), open[0]); err != nil {
		t.Fatal(err)
	}
	if open, err := w.store.Open(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("left open: %+v, %v", open, err)
	}
}

// TestDeliveriesAreOfOneRevision: the last word on each subscription, and none of a revision that looks alike.
func TestDeliveriesAreOfOneRevision(t *testing.T) {
	w := newWorld(t)
	record := func(deliveries ...invalidation.Delivery) {
		t.Helper()
		if err := w.store.Record(t.Context(), deliveries); err != nil {
			t.Fatal(err)
		}
	}
	first := invalidation.Delivery{Revision: 1, Hash: "1", Subscription: "payments-api", Outcome: invalidation.Pending, Attempts: 3, Error: "throttled"}
	other := invalidation.Delivery{Revision: 1, Hash: "1", Subscription: "payments-batch", Outcome: invalidation.Skipped}
	later := invalidation.Delivery{Revision: 11, Hash: "11", Subscription: "payments-api", Outcome: invalidation.Undelivered}
	record(first, other, later)
	first.Outcome, first.Attempts, first.Error = invalidation.Acknowledged, 4, ""
	record(first)
	for revision, want := range map[int64][]invalidation.Delivery{1: {first, other}, 11: {later}, 2: nil} {
		got, err := w.store.Deliveries(t.Context(), revision)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("revision %d: %v (-want +got)\n%s", revision, err, diff)
		}
	}
}

// TestRecordWritesAllItIsGiven: also what DynamoDB leaves unprocessed, and more than it takes at once.
func TestRecordWritesAllItIsGiven(t *testing.T) {
	w := newWorld(t)
	var want []invalidation.Delivery
	for i := range 70 {
		want = append(want, invalidation.Delivery{Revision: 1, Subscription: fmt.Sprintf("service-%02d", i), Outcome: invalidation.Acknowledged})
	}
	w.transport.processAtMost(10)
	if err := w.store.Record(t.Context(), slices.Clone(want)); err != nil {
		t.Fatal(err)
	}
	got, err := w.store.Deliveries(t.Context(), 1)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if err := w.store.Record(t.Context(), nil); err != nil {
		t.Errorf("recording nothing: %v", err)
	}
}

// TestAPendingDeliveryTakesNoOutcomeBack: two broadcasters deliver at once, and the one that had no answer is the slower.
// Its fan-out is closed by then, so nobody would come back to what stands as pending.
func TestAPendingDeliveryTakesNoOutcomeBack(t *testing.T) {
	w := newWorld(t)
	delivery := invalidation.Delivery{Revision: 1, Hash: "1", Subscription: "payments-api"}
	for _, outcome := range []invalidation.Outcome{
		invalidation.Pending, invalidation.Undelivered, invalidation.Pending, invalidation.Acknowledged, invalidation.Pending,
	} {
		d := delivery
		d.Outcome = outcome
		if err := w.store.Record(t.Context(), []invalidation.Delivery{d}); err != nil {
			t.Fatal(err)
		}
		if outcome != invalidation.Pending || delivery.Outcome == "" {
			delivery.Outcome = outcome
		}
		got, err := w.store.Deliveries(t.Context(), 1)
		if diff := cmp.Diff([]invalidation.Delivery{delivery}, got); err != nil || diff != "" {
			t.Errorf("after %s: %v (-want +got)\n%s", outcome, err, diff)
		}
	}
	other := invalidation.Delivery{Revision: 1, Hash: "2", Subscription: "payments-api", Outcome: invalidation.Pending}
	if err := w.store.Record(t.Context(), []invalidation.Delivery{other}); err != nil {
		t.Fatal(err)
	}
	got, err := w.store.Deliveries(t.Context(), 1)
	if diff := cmp.Diff([]invalidation.Delivery{delivery, other}, got); err != nil || diff != "" {
		t.Errorf("another row of that revision: %v (-want +got)\n%s", err, diff)
	}
}
