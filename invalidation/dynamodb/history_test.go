package dynamodb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// TestTheRowsOfASpanWithWhatMadeThem: in both orders, over many pages, whatever one of the two tables lacks.
func TestTheRowsOfASpanWithWhatMadeThem(t *testing.T) {
	const all = 900 // several pages of rows
	w := newWorld(t)
	head := invalidation.Position{}
	for revision := int64(1); revision <= all; revision++ {
		head = positionOf(w.append(invalidation.Append{
			Head: head, Row: rowOf(head, neon+strings.Repeat("x", 3000)), Causes: []invalidation.Cause{{EventID: fmt.Sprint("event-", revision)}},
		}))
	}
	w.remove(operationsTable, "audit", 2)
	w.remove(changesTable, wire.LogPartition, 4)
	w.remove(changesTable, wire.LogPartition, 5)
	told := func(revision int64) string {
		if revision == 2 {
			return "2: []"
		}
		return fmt.Sprintf("%d: [event-%d]", revision, revision)
	}
	for _, span := range []history.Span{
		{}, {NewestFirst: true}, {From: 2, To: 6}, {From: 2, To: 6, NewestFirst: true}, {From: 899}, {To: 1}, {From: 901}, {From: 4, To: 5},
	} {
		var want, got []string
		for revision := max(span.From, 1); revision <= all && (span.To == 0 || revision <= span.To); revision++ {
			switch {
			case revision == 4 || revision == 5:
			case span.NewestFirst:
				want = append([]string{told(revision)}, want...)
			default:
				want = append(want, told(revision))
			}
		}
		before := w.transport.count("Query")
		for row, err := range w.store.Rows(t.Context(), span) {
			if err != nil {
				t.Fatal(err)
			}
			if err := wire.Verify(row.Body, row.Hash); err != nil || row.Key != wire.RevisionKey(row.Revision) {
				t.Errorf("revision %d at %s: %v", row.Revision, row.Key, err)
			}
			if row.Record != nil && wire.Verify(row.Record, row.AuditHash) != nil {
				t.Errorf("revision %d has the hash of another audit record", row.Revision)
			}
			ids := []string{}
			for _, c := range row.Causes {
				ids = append(ids, c.EventID)
			}
			got = append(got, fmt.Sprint(row.Revision, ": ", ids))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got)\n%s", span, diff)
		}
		if pages := w.transport.count("Query") - before; len(want) > 800 && pages < 4 {
			t.Errorf("%+v was read in %d queries: the test needs several pages", span, pages)
		}
	}
}

// TestWhoEndsEarlyReadsNoMore: of a long log, its newest row costs one page.
func TestWhoEndsEarlyReadsNoMore(t *testing.T) {
	w := newWorld(t)
	head := invalidation.Position{}
	for range 600 {
		head = positionOf(w.append(invalidation.Append{Head: head, Row: rowOf(head, neon+strings.Repeat("x", 3000))}))
	}
	before := w.transport.count("Query")
	for row, err := range w.store.Rows(t.Context(), history.Span{NewestFirst: true}) {
		if err != nil || row.Revision != 600 {
			t.Fatalf("revision %d, %v", row.Revision, err)
		}
		break
	}
	if pages := w.transport.count("Query") - before; pages != 2 {
		t.Errorf("%d queries, want one of each table", pages)
	}
}

func TestAHistoryThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.append(invalidation.Append{Row: rowOf(invalidation.Position{}, neon)})
	read := func() (n int, problem error) {
		for _, err := range w.store.Rows(t.Context(), history.Span{}) {
			n++
			problem = err
		}
		return n, problem
	}
	w.transport.refuse(`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`)
	if n, err := read(); n != 1 || err == nil || !strings.Contains(err.Error(), "reading log of table changes: ") {
		t.Errorf("a table that is missing: %d rows, %v", n, err)
	}
	w.transport.refuse("")
	item := w.item(changesTable, wire.LogPartition, wire.RevisionKey(1))
	item["detail"] = &types.AttributeValueMemberS{Value: "{"}
	if _, err := w.client.PutItem(t.Context(), &sdk.PutItemInput{TableName: aws.String(changesTable), Item: item}); err != nil {
		t.Fatal(err)
	}
	if n, err := read(); n != 1 || err == nil || !strings.Contains(err.Error(), "reading revision 0000000000000000001 of the change log: ") {
		t.Errorf("a row that is none: %d rows, %v", n, err)
	}
}

// TestOutcomesAreThoseOfAService, or all, over many pages; a service whose name begins as another's is another.
func TestOutcomesAreThoseOfAService(t *testing.T) {
	w := newWorld(t)
	var all []invalidation.Delivery
	for n := range 300 {
		for _, service := range []string{"api", "api-2"} {
			all = append(all, invalidation.Delivery{
				Revision: 7, Hash: "77ab", Subscription: service, Function: fmt.Sprint("function-", n), Outcome: invalidation.Undelivered, Error: strings.Repeat("x", 5000),
			})
		}
	}
	if err := w.store.Record(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for service, want := range map[string]int{"": 600, "api": 300, "api-2": 300, "ap": 0} {
		n := 0
		for d, err := range w.store.Outcomes(t.Context(), 7, service) {
			if n++; err != nil || service != "" && d.Subscription != service {
				t.Fatalf("%q: %+v, %v", service, d, err)
			}
		}
		if n != want {
			t.Errorf("%q: %d, want %d", service, n, want)
		}
	}
	before := w.transport.count("Query")
	for _, err := range w.store.Outcomes(t.Context(), 7, "") {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if pages := w.transport.count("Query") - before; pages != 1 {
		t.Errorf("whoever ends early has read %d pages", pages)
	}
	w.transport.refuse(`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`)
	for _, err := range w.store.Outcomes(t.Context(), 7, "") {
		if err == nil || !strings.Contains(err.Error(), "of table operations: ") {
			t.Errorf("a table that is missing: %v", err)
		}
	}
}

// remove takes a revision's item away, as a restore of one table may.
func (w *world) remove(table, partition string, revision int64) {
	w.t.Helper()
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	_, err := w.client.DeleteItem(w.t.Context(), &sdk.DeleteItemInput{
		TableName: &table, Key: map[string]types.AttributeValue{"pk": text(partition), "sk": text(wire.RevisionKey(revision))},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
