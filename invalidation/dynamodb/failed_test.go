package dynamodb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// TestTheDeliveriesOwedOfASelection: five revisions, an hour apart, of two secrets in turn. Of each, one of two deliveries
// failed, of the last one another is pending, and one that did is of a row that a restore took away.
func TestTheDeliveriesOwedOfASelection(t *testing.T) {
	w := newWorld(t)
	began := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	head := invalidation.Position{}
	for revision := int64(1); revision <= 5; revision++ {
		row := rowOf(head, []string{neon, stripe}[revision%2])
		row.Time = began.Add(time.Duration(revision) * time.Hour)
		head = positionOf(w.append(invalidation.Append{Head: head, Row: row}))
		deliveries := []invalidation.Delivery{
			{Revision: revision, Hash: head.Hash, Subscription: "a", Outcome: invalidation.Undelivered},
			{Revision: revision, Hash: head.Hash, Subscription: "b", Outcome: invalidation.Acknowledged},
			{Revision: revision, Hash: "taken away", Subscription: "a", Outcome: invalidation.Undelivered},
		}
		if revision >= 4 {
			deliveries[1].Outcome = invalidation.Undelivered
		}
		if revision == 5 {
			deliveries[1].Outcome = invalidation.Pending
		}
		if err := w.store.Record(t.Context(), deliveries); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		s    history.Selection
		want []string
	}{
		"all":             {history.Selection{}, []string{"5 a", "5 b", "4 a", "4 b", "3 a", "2 a", "1 a"}},
		"a service":       {history.Selection{Service: "b"}, []string{"5 b", "4 b"}},
		"a secret":        {history.Selection{Secret: neon}, []string{"4 a", "4 b", "2 a"}},
		"a revision":      {history.Selection{Revision: 4}, []string{"4 a", "4 b"}},
		"no revision":     {history.Selection{Revision: 9}, nil},
		"since":           {history.Selection{Since: began.Add(4 * time.Hour)}, []string{"5 a", "5 b", "4 a", "4 b"}},
		"until":           {history.Selection{Until: began.Add(2 * time.Hour)}, []string{"2 a", "1 a"}},
		"all at once":     {history.Selection{Secret: neon, Service: "b", Since: began, Until: began.Add(4 * time.Hour)}, []string{"4 b"}},
		"nothing is owed": {history.Selection{Service: "c"}, nil},
	} {
		var got []string
		for d, err := range history.Owed(t.Context(), w.store, w.store, c.s) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(d.Revision, " ", d.Subscription))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	before := w.transport.count("Query")
	for _, err := range history.Owed(t.Context(), w.store, w.store, history.Selection{Since: began.Add(5 * time.Hour)}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if queries := w.transport.count("Query") - before; queries != 3 { // log, audit records, and one revision's deliveries
		t.Errorf("%d queries: what is too old was read", queries)
	}
	w.transport.refuse(`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`)
	for _, err := range history.Owed(t.Context(), w.store, w.store, history.Selection{}) {
		if err == nil {
			t.Error("nothing can be read, and it says so not")
		}
	}
}
