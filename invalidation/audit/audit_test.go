package audit_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/audit"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// known writes a history: changes of two secrets, one of them deleted, deliveries with every outcome, a pause, and texts that
// want to be something else.
func known(t T) *world {
	w := newWorld(t)
	w.append() // the log begins
	two := w.append(moved(neon, "v1", 2), moved(stripe, "<b>v1</b>", 2))
	w.command("pause", `=cmd|'/c calc'!A1 <script>alert("x")</script>`, at(2).Add(30*time.Second))
	three := w.append(wire.Change{Name: stripe, Kind: wire.Deleted, At: at(3)})
	ack := &wire.Ack{Schema: 1, Environment: "environment-1", Secrets: []wire.SecretOutcome{{Name: neon, VersionID: "v1", Outcome: wire.Applied, Verified: true}}}
	for _, d := range []invalidation.Delivery{
		{Revision: 2, Hash: two.Hash, Subscription: "payments-api", Function: "payments-api:live", Outcome: invalidation.Acknowledged, Attempts: 1, Ack: ack, Time: at(2).Add(time.Second)},
		{Revision: 2, Hash: two.Hash, Subscription: "payments-batch", Outcome: invalidation.Skipped, Reason: invalidation.Pull, Time: at(2).Add(time.Second)},
		{Revision: 2, Hash: "of a row that a restore took away", Subscription: "payments-old", Outcome: invalidation.Acknowledged, Time: at(2)},
		{Revision: 3, Hash: three.Hash, Subscription: "payments-api", Function: "payments-api:live", Outcome: invalidation.Undelivered, Reason: invalidation.Throttled, Attempts: 12, Time: at(9)},
	} {
		if err := w.store.Record(w.Context(), []invalidation.Delivery{d}); err != nil {
			w.Fatal(err)
		}
	}
	w.command("resume", "INC-4711: fixed", at(20))
	return w
}

// told says in a word what a record is.
func told(r audit.Record) string {
	if r.Command != nil {
		return r.Time.Format("04:05 ") + r.Command.Name
	}
	outcomes := []string{}
	for _, d := range r.Change.Deliveries {
		outcomes = append(outcomes, d.Subscription+" "+string(d.Outcome))
	}
	return fmt.Sprint(r.Time.Format("04:05 "), r.Change.Revision, " ", r.Change.Kind, " ", filepath.Base(r.Change.Name), " ", r.Change.Cause().EventID, " ", outcomes)
}

func TestRecordsOfATime(t *testing.T) {
	w := known(t)
	all := []string{
		"02:00 2 moved connection-string event-2 [payments-api acknowledged payments-batch skipped]",
		"02:00 2 moved api-key event-2 [payments-api acknowledged payments-batch skipped]",
		"02:30 pause",
		"03:00 3 deleted api-key event-3 [payments-api failed]",
		"20:00 resume",
	}
	for name, c := range map[string]struct {
		since, until time.Time
		want         []string
	}{
		"all":                    {time.Time{}, time.Time{}, all},
		"since":                  {at(2).Add(time.Second), time.Time{}, all[2:]},
		"until, which is not in": {time.Time{}, at(3), all[:3]},
		"in between":             {at(2).Add(10 * time.Second), at(20), all[2:4]},
		"before the log":         {time.Time{}, at(0), nil},
		"after it":               {at(30), time.Time{}, nil},
	} {
		var got []string
		for r, err := range audit.Records(t.Context(), w.store, c.since, c.until) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, told(r))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	for _, err := range audit.Records(t.Context(), w.store, time.Time{}, time.Time{}) {
		if err != nil {
			t.Error(err)
		}
		break // whoever ends early is not asked again
	}
}

// TestTheFormats are what they were, and take from no text the power to be something else.
func TestTheFormats(t *testing.T) {
	w := known(t)
	page := audit.Page{Env: "prod", Domain: "payments", Since: at(0), Made: at(30), Head: invalidation.Position{Revision: 3, Hash: w.head.Hash}}
	for name, write := range map[string]func(out *bytes.Buffer, r iter.Seq2[audit.Record, error]) error{
		"known.jsonl": func(out *bytes.Buffer, r iter.Seq2[audit.Record, error]) error { return audit.WriteJSONLines(out, r) },
		"known.csv":   func(out *bytes.Buffer, r iter.Seq2[audit.Record, error]) error { return audit.WriteCSV(out, r) },
		"known.html":  func(out *bytes.Buffer, r iter.Seq2[audit.Record, error]) error { return audit.WriteHTML(out, page, r) },
	} {
		var out bytes.Buffer
		if err := write(&out, audit.Records(t.Context(), w.store, time.Time{}, time.Time{})); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if os.Getenv("UPDATE_GOLDENS") != "" {
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if diff := cmp.Diff(string(want), out.String()); err != nil || diff != "" {
			t.Errorf("%s, with UPDATE_GOLDENS=1 it becomes this: %v (-want +got)\n%s", name, err, diff)
		}
	}
}

// TestNoCellIsAFormula.
func TestNoCellIsAFormula(t *testing.T) {
	var out bytes.Buffer
	if err := audit.WriteCSV(&out, audit.Records(t.Context(), known(t).store, time.Time{}, time.Time{})); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(lines) != 8 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for _, line := range lines {
		for _, cell := range line {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("the cell %q", cell)
			}
		}
	}
}

// broken is a store that cannot be read from some place on.
type broken struct {
	audit.Store
	commands, deliveries, rows error
}

func (b broken) Commands(ctx context.Context) ([]invalidation.Command, error) {
	if b.commands != nil {
		return nil, b.commands
	}
	return b.Store.Commands(ctx)
}

func (b broken) Deliveries(ctx context.Context, revision int64) ([]invalidation.Delivery, error) {
	if b.deliveries != nil && revision == 3 {
		return nil, b.deliveries
	}
	return b.Store.Deliveries(ctx, revision)
}

func (b broken) Rows(ctx context.Context, span history.Span) iter.Seq2[history.Row, error] {
	return func(yield func(history.Row, error) bool) {
		for row, err := range b.Store.Rows(ctx, span) {
			if b.rows != nil && row.Revision == 3 {
				row, err = history.Row{}, b.rows
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// TestWhatCannotBeReadIsNoEvidence: each format ends with the error, so that nobody takes a part for the whole.
func TestWhatCannotBeReadIsNoEvidence(t *testing.T) {
	w, errUnread := known(t), errors.New("unread")
	for name, store := range map[string]audit.Store{
		"commands": broken{Store: w.store, commands: errUnread}, "deliveries": broken{Store: w.store, deliveries: errUnread},
		"rows": broken{Store: w.store, rows: errUnread},
	} {
		records := audit.Records(t.Context(), store, time.Time{}, time.Time{})
		for format, err := range map[string]error{
			"jsonl": audit.WriteJSONLines(&bytes.Buffer{}, records), "csv": audit.WriteCSV(&bytes.Buffer{}, records),
			"html": audit.WriteHTML(&bytes.Buffer{}, audit.Page{}, records),
		} {
			if !errors.Is(err, errUnread) {
				t.Errorf("%s as %s: got %v", name, format, err)
			}
		}
	}
	if _, err := audit.Verify(t.Context(), broken{Store: w.store, rows: errUnread}, audit.NewWitnessed(), at(30)); !errors.Is(err, errUnread) {
		t.Errorf("verifying: got %v", err)
	}
}

// endless is a log as long as one likes, which nobody stores.
type endless struct {
	rows int64
	peak *uint64
}

func (e endless) Commands(context.Context) ([]invalidation.Command, error) { return nil, nil }

func (e endless) Load(context.Context, []string) (invalidation.Snapshot, error) {
	return invalidation.Snapshot{Head: invalidation.Position{Revision: e.rows}}, nil
}

func (e endless) Deliveries(_ context.Context, revision int64) ([]invalidation.Delivery, error) {
	return []invalidation.Delivery{{Revision: revision, Hash: "h", Subscription: "payments-api", Outcome: invalidation.Acknowledged}}, nil
}

func (e endless) Rows(_ context.Context, span history.Span) iter.Seq2[history.Row, error] {
	return func(yield func(history.Row, error) bool) {
		for n := max(span.From, 1); n <= e.rows; n++ {
			if n%10_000 == 0 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				*e.peak = max(*e.peak, m.HeapAlloc)
			}
			row := history.Row{Row: wire.Row{Revision: n, Hash: "h", Time: at(0).Add(time.Duration(n) * time.Second), Changes: []wire.Change{moved(neon, "v", 0)}}}
			if span.To > 0 && n > span.To || !yield(row, nil) {
				return
			}
		}
	}
}

// TestMemoryDoesNotGrowWithTheLog: of 100,000 changes as of 10,000, in every format.
func TestMemoryDoesNotGrowWithTheLog(t *testing.T) {
	peakOf := func(rows int64, write func(iter.Seq2[audit.Record, error]) error) uint64 {
		var peak uint64
		if err := write(audit.Records(t.Context(), endless{rows, &peak}, time.Time{}, time.Time{})); err != nil {
			t.Fatal(err)
		}
		return peak
	}
	for format, write := range map[string]func(iter.Seq2[audit.Record, error]) error{
		"jsonl": func(r iter.Seq2[audit.Record, error]) error { return audit.WriteJSONLines(discard{}, r) },
		"csv":   func(r iter.Seq2[audit.Record, error]) error { return audit.WriteCSV(discard{}, r) },
		"html":  func(r iter.Seq2[audit.Record, error]) error { return audit.WriteHTML(discard{}, audit.Page{}, r) },
	} {
		short, long := peakOf(10_000, write), peakOf(100_000, write)
		if long > short+8<<20 {
			t.Errorf("%s: %d bytes are in use for 100,000 changes, %d for 10,000", format, long, short)
		}
	}
}

type discard struct{}

func (discard) Write(text []byte) (int, error) { return len(text), nil }

// TestDeliveriesComeInTheOrderOfTheRows, however many are asked for at once.
func TestDeliveriesComeInTheOrderOfTheRows(t *testing.T) {
	var peak uint64
	var got []int64
	for r, err := range audit.Records(t.Context(), endless{500, &peak}, time.Time{}, time.Time{}) {
		if err != nil || len(r.Change.Deliveries) != 1 || r.Change.Deliveries[0].Revision != r.Change.Revision {
			t.Fatalf("%+v, %v", r, err)
		}
		got = append(got, r.Change.Revision)
	}
	if len(got) != 500 || !slices.IsSorted(got) {
		t.Errorf("%d records, sorted: %t", len(got), slices.IsSorted(got))
	}
}
