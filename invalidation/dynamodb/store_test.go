package dynamodb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// TestAnAppendIsOneTransaction: what stands in the two tables after it, attribute by attribute.
func TestAnAppendIsOneTransaction(t *testing.T) {
	w := newWorld(t)
	row := w.append(invalidation.Append{
		Row:     rowOf(invalidation.Position{}, neon),
		Secrets: []invalidation.SecretRow{{Name: neon, State: invalidation.Active, Revision: 1}},
		Causes:  []invalidation.Cause{{EventID: "event-1", DetailType: "Secret Label Updated"}},
	})
	log := w.item(changesTable, "log", "0000000000000000001")
	if err := wire.Verify([]byte(text(log, "detail")), row.Hash); err != nil || text(log, "hash") != row.Hash {
		t.Errorf("the row's hash is %s in the table and %s in the answer: %v", text(log, "hash"), row.Hash, err)
	}
	got := map[string]string{}
	for _, key := range [][2]string{{"secret", neon}, {"audit", "0000000000000000001"}, {"open", "0000000000000000001"}} {
		item := w.item(operationsTable, key[0], key[1])
		got[key[0]] = text(item, "data")
		if key[0] == "open" && text(item, "hash") != row.Hash {
			t.Errorf("the marker's hash is %q, want the row's", text(item, "hash"))
		}
	}
	zero := `"0001-01-01T00:00:00Z"`
	want := map[string]string{
		"secret": `{"name":"` + neon + `","arn":"","lastChanged":` + zero + `,"changed":` + zero + `,"state":"active","revision":1}`,
		"audit":  `[{"eventId":"event-1","detailType":"Secret Label Updated","eventTime":` + zero + `,"received":` + zero + `}]`,
		"open":   `{"revision":1,"hash":"` + row.Hash + `","names":["` + neon + `"],"eventIds":["event-1"],"appended":"2026-11-23T10:00:00Z"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := w.load(neon).Secrets[neon].Sequence; got != 1 {
		t.Errorf("the secret's row has sequence %d, want 1", got)
	}
}

// TestAnAppendThatIsTooLateWritesNothing: whichever of its conditions fails.
func TestAnAppendThatIsTooLateWritesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		head     int64 // whose hash is right unless the case says otherwise
		wrong    bool
		sequence int64
	}{
		"the revision is there":               {1, false, 1},
		"the log seems to be empty":           {0, false, 1},
		"the row before is another":           {2, true, 1},
		"the row before is not there":         {3, false, 1},
		"the secret's row has moved on":       {2, false, 0},
		"the secret's row is of long ago":     {2, false, 7},
		"the row is there and so is the head": {1, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.append(invalidation.Append{Row: rowOf(invalidation.Position{}, neon), Secrets: []invalidation.SecretRow{{Name: neon}}})
			second := w.append(invalidation.Append{Head: positionOf(first), Row: rowOf(positionOf(first), stripe)})
			head := invalidation.Position{Revision: c.head, Hash: map[int64]string{1: first.Hash, 2: second.Hash}[c.head]}
			if c.wrong {
				head.Hash = strings.Repeat("0", 64)
			}
			before := w.dump()
			_, err := w.store.Append(t.Context(), invalidation.Append{
				Head: head, Row: rowOf(head, neon, stripe), Causes: []invalidation.Cause{{EventID: "event-2"}},
				Secrets: []invalidation.SecretRow{{Name: "/bank/prod/payments/neon/another"}, {Name: neon, Revision: 3, Sequence: c.sequence}},
			})
			if !errors.Is(err, invalidation.ErrConflict) {
				t.Errorf("got %v, want a conflict", err)
			}
			if diff := cmp.Diff(before, w.dump()); diff != "" {
				t.Errorf("the tables changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestANoteIsConditional: of what was read.
func TestANoteIsConditional(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		sequence int64
		conflict bool
	}{{1, true}, {0, false}, {0, true}, {2, true}, {1, false}, {1, true}, {2, false}} {
		before := w.dump()
		err := w.store.Note(t.Context(), invalidation.SecretRow{Name: neon, State: invalidation.Empty, Sequence: c.sequence})
		if errors.Is(err, invalidation.ErrConflict) != c.conflict || (err != nil) != c.conflict {
			t.Errorf("noting what was read at sequence %d: got %v, want a conflict: %t", c.sequence, err, c.conflict)
		}
		if diff := cmp.Diff(before, w.dump()); (diff == "") != c.conflict {
			t.Errorf("sequence %d, conflict %t, and the tables changed by:\n%s", c.sequence, c.conflict, diff)
		}
	}
}

// TestWhatDynamoDBSaysOfAWrite: only what a second try with fresh reads can mend is a conflict.
func TestWhatDynamoDBSaysOfAWrite(t *testing.T) {
	transaction := func(reasons ...string) string {
		for i, r := range reasons {
			reasons[i] = `{"Code":"` + r + `"}`
		}
		return `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"as asked","CancellationReasons":[` +
			strings.Join(reasons, ",") + `]}`
	}
	for _, c := range []struct {
		answer   string
		conflict bool
	}{
		{transaction("None", "ConditionalCheckFailed"), true},
		{transaction("TransactionConflict", "TransactionConflict"), true},
		{transaction("None", "ThrottlingError"), false},
		{transaction("ConditionalCheckFailed", "ValidationError"), false},
		{transaction("ProvisionedThroughputExceeded"), false},
		{`{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"as asked"}`, true},
		{`{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"as asked"}`, true},
		{`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"as asked"}`, false},
		{`{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"as asked"}`, false},
	} {
		w := newWorld(t)
		w.transport.refuse(c.answer)
		_, appending := w.store.Append(t.Context(), invalidation.Append{Row: rowOf(invalidation.Position{}, neon)})
		noting := w.store.Note(t.Context(), invalidation.SecretRow{Name: neon})
		for _, err := range []error{appending, noting} {
			if err == nil || errors.Is(err, invalidation.ErrConflict) != c.conflict {
				t.Errorf("%s: got %v, want a conflict: %t", c.answer, err, c.conflict)
			}
		}
	}
}

func TestRowsOfTheLog(t *testing.T) {
	w := newWorld(t)
	if row, err := w.store.Row(t.Context(), 0); err != nil || row.Revision != 0 {
		t.Errorf("the head of an empty log: got %+v, %v", row, err)
	}
	if head := w.load().Head; head != (invalidation.Position{}) {
		t.Errorf("got the head %+v, want none", head)
	}
	head := invalidation.Position{}
	var rows []wire.Row
	for range 11 { // 10 sorts before 9 as a plain number would
		row := w.append(invalidation.Append{Head: head, Row: rowOf(head, neon)})
		rows, head = append(rows, row), positionOf(row)
	}
	for revision, want := range map[int64]wire.Row{0: rows[10], 1: rows[0], 9: rows[8], 11: rows[10], 12: {}} {
		got, err := w.store.Row(t.Context(), revision)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("row %d: %v (-want +got)\n%s", revision, err, diff)
		}
	}
	if got := w.load().Head; got != head {
		t.Errorf("got the head %+v, want %+v", got, head)
	}
}

// TestLoadReadsAllItAsksFor: also what DynamoDB leaves unprocessed, and more than it takes at once.
func TestLoadReadsAllItAsksFor(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 230 {
		names = append(names, fmt.Sprintf("/bank/prod/payments/neon/%d", i))
		if i%2 == 0 {
			if err := w.store.Note(t.Context(), invalidation.SecretRow{Name: names[i], State: invalidation.Active}); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.transport.processAtMost(40)
	snapshot := w.load(names...)
	for i, name := range names {
		if row, known := snapshot.Secrets[name]; known != (i%2 == 0) || row.Name != "" != known {
			t.Errorf("%s: known %t: %+v", name, known, row)
		}
	}
}

// TestWhatCannotBeDecodedIsAnErrorThatSaysWhere: and does not quote it.
func TestWhatCannotBeDecodedIsAnErrorThatSaysWhere(t *testing.T) {
	for name, c := range map[string]struct {
		table, partition, sort, attribute string
		read                              func(w *world) error
	}{
		"a row of the log": {
			changesTable, "log", wire.RevisionKey(7), "detail",
			func(w *world) error { _, err := w.store.Row(w.t.Context(), 0); return err },
		},
		"the head while loading": {
			changesTable, "log", wire.RevisionKey(7), "detail",
			func(w *world) error { _, err := w.store.Load(w.t.Context(), nil); return err },
		},
		"a secret's row": {
			operationsTable, "secret", neon, "data",
			func(w *world) error { _, err := w.store.Load(w.t.Context(), []string{neon}); return err },
		},
		"an open fan-out": {
			operationsTable, "open", wire.RevisionKey(7), "data",
			func(w *world) error { _, err := w.store.Open(w.t.Context()); return err },
		},
		"a delivery": {
			operationsTable, "delivery#" + wire.RevisionKey(7), "payments-api", "data",
			func(w *world) error { _, err := w.store.Deliveries(w.t.Context(), 7); return err },
		},
		"one of all secrets' rows": {
			operationsTable, "secret", neon, "data",
			func(w *world) error { _, err := w.store.Secrets(w.t.Context()); return err },
		},
		"how far reconciling has come": {
			operationsTable, "control", "reconcile", "data",
			func(w *world) error { _, err := w.store.Progress(w.t.Context()); return err },
		},
	} {
		const unreadable = "canary-4711"
		for form, value := range map[string]types.AttributeValue{
			"no JSON":           &types.AttributeValueMemberS{Value: unreadable},
			"JSON of something": &types.AttributeValueMemberS{Value: `["` + unreadable + `"]`},
			"a number":          &types.AttributeValueMemberN{Value: "1"},
			"nothing":           nil,
		} {
			t.Run(name+" is "+form, func(t *testing.T) {
				w := newWorld(t)
				w.put(c.table, c.partition, c.sort, c.attribute, value)
				err := c.read(w)
				if err == nil || !strings.Contains(err.Error(), c.sort) || !strings.Contains(err.Error(), "decoding") {
					t.Errorf("got %v, want an error that names %s", err, c.sort)
				}
				if err != nil && strings.Contains(err.Error(), unreadable) {
					t.Errorf("%q quotes what it read", err)
				}
			})
		}
	}
}

func TestWithoutTables(t *testing.T) {
	w := newWorld(t)
	w.transport.refuse(`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`)
	_, loading := w.store.Load(t.Context(), []string{neon})
	_, opening := w.store.Open(t.Context())
	_, reading := w.store.Deliveries(t.Context(), 1)
	recording := w.store.Record(t.Context(), []invalidation.Delivery{{Revision: 1, Subscription: "payments-api", Time: time.Unix(0, 0)}})
	closing := w.store.Close(t.Context(), invalidation.Fanout{Position: invalidation.Position{Revision: 1}})
	_, sweeping := w.store.Secrets(t.Context())
	_, asking := w.store.Progress(t.Context())
	saving := w.store.SaveProgress(t.Context(), invalidation.Progress{})
	for i, err := range []error{loading, opening, reading, recording, closing, sweeping, asking, saving} {
		var missing *types.ResourceNotFoundException
		if !errors.As(err, &missing) {
			t.Errorf("call %d: got %v", i, err)
		}
	}
}
