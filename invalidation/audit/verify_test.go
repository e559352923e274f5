package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/audit"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// TestVerifyFindsWhatSomebodyChanged: whatever one row, its audit record or a command's record is changed to, removed, doubled
// or exchanged for, and also if all is written anew from there on; what nobody touched is well.
func TestVerifyFindsWhatSomebodyChanged(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(r)
		rows := rapid.IntRange(2, 6).Draw(r, "rows")
		for n := 1; n <= rows; n++ {
			w.append(moved(neon, fmt.Sprint("version-", n), n))
		}
		w.command("pause", "INC-4711", at(1))
		w.command("resume", "INC-4711: fixed", at(2))
		if v := w.verify(); len(v.Problems) > 0 || v.Rows != int64(rows) || v.Witnessed != int64(rows) || v.Commands != 2 || v.Unlogged > 0 {
			r.Fatalf("of what nobody touched: %+v", v)
		}
		all := tampers()
		name := rapid.SampledFrom(names(all)).Draw(r, "what")
		revision := int64(rapid.IntRange(1, rows).Draw(r, "where"))
		if !all[name](w, r, revision) {
			return
		}
		v, err := audit.Verify(t.Context(), w.store, w.witnessed, at(30))
		if err == nil && len(v.Problems) == 0 {
			r.Errorf("%s, at revision %d: it was not found", name, revision)
		}
	})
}

func names(all map[string]func(*world, *rapid.T, int64) bool) []string {
	var sorted []string
	for name := range all {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

// tampers are what somebody may do who can write the tables. They return false if there is nothing to do at that revision.
func tampers() map[string]func(w *world, r *rapid.T, revision int64) bool {
	return map[string]func(w *world, r *rapid.T, revision int64) bool{
		"a byte of a row is another": func(w *world, r *rapid.T, revision int64) bool {
			item := w.get(changes, wire.LogPartition, wire.RevisionKey(revision))
			item["detail"] = text(edited(r, textOf(item, "detail")))
			w.put(changes, item)
			return true
		},
		"a row's hash is another": func(w *world, r *rapid.T, revision int64) bool {
			item := w.get(changes, wire.LogPartition, wire.RevisionKey(revision))
			item["hash"] = text(edited(r, textOf(item, "hash")))
			w.put(changes, item)
			return true
		},
		"a row says something else, with a hash that fits": func(w *world, _ *rapid.T, revision int64) bool {
			w.rewrite(revision, func(row *wire.Row) { row.Changes[0].VersionID = "another" })
			return true
		},
		"all rows from here on are written anew": func(w *world, _ *rapid.T, revision int64) bool {
			hash := w.rewrite(revision, func(row *wire.Row) { row.Changes[0].VersionID = "another" })
			for n := revision + 1; n <= w.head.Revision; n++ {
				hash = w.rewrite(n, func(row *wire.Row) { row.PreviousHash = hash })
			}
			return true
		},
		"a row is gone": func(w *world, _ *rapid.T, revision int64) bool {
			w.remove(changes, wire.LogPartition, wire.RevisionKey(revision))
			return true
		},
		"the log ends here": func(w *world, _ *rapid.T, revision int64) bool {
			for n := revision + 1; n <= w.head.Revision; n++ {
				w.remove(changes, wire.LogPartition, wire.RevisionKey(n))
			}
			return revision < w.head.Revision
		},
		"two rows are exchanged": func(w *world, _ *rapid.T, revision int64) bool {
			if revision == w.head.Revision {
				return false
			}
			a, b := w.get(changes, wire.LogPartition, wire.RevisionKey(revision)), w.get(changes, wire.LogPartition, wire.RevisionKey(revision+1))
			a["sk"], b["sk"] = b["sk"], a["sk"]
			w.put(changes, a)
			w.put(changes, b)
			return true
		},
		"a row stands where no client looks": func(w *world, _ *rapid.T, revision int64) bool {
			item := w.get(changes, wire.LogPartition, wire.RevisionKey(revision))
			w.remove(changes, wire.LogPartition, wire.RevisionKey(revision))
			item["sk"] = text(textOf(item, "sk") + "0")
			w.put(changes, item)
			return true
		},
		"a row is there twice": func(w *world, _ *rapid.T, revision int64) bool {
			item := w.get(changes, wire.LogPartition, wire.RevisionKey(revision))
			item["sk"] = text(textOf(item, "sk") + "0")
			w.put(changes, item)
			return true
		},
		"an audit record is another": func(w *world, r *rapid.T, revision int64) bool {
			item := w.get(operations, "audit", wire.RevisionKey(revision))
			item["data"] = text(edited(r, textOf(item, "data")))
			w.put(operations, item)
			return true
		},
		"an audit record is gone": func(w *world, _ *rapid.T, revision int64) bool {
			w.remove(operations, "audit", wire.RevisionKey(revision))
			return true
		},
		"two audit records are exchanged": func(w *world, _ *rapid.T, revision int64) bool {
			if revision == w.head.Revision {
				return false
			}
			a, b := w.get(operations, "audit", wire.RevisionKey(revision)), w.get(operations, "audit", wire.RevisionKey(revision+1))
			a["sk"], b["sk"] = b["sk"], a["sk"]
			w.put(operations, a)
			w.put(operations, b)
			return true
		},
		"a command was somebody else's": func(w *world, _ *rapid.T, _ int64) bool {
			w.replaceCommand(func(c *invalidation.Command) { c.By = "arn:aws:iam::111122223333:user/mallory" })
			return true
		},
		"a command was another": func(w *world, _ *rapid.T, _ int64) bool {
			w.replaceCommand(func(c *invalidation.Command) { c.Name = "resume" })
			return true
		},
		"a command had another reason": func(w *world, _ *rapid.T, _ int64) bool {
			w.replaceCommand(func(c *invalidation.Command) { c.Reason = "as agreed" })
			return true
		},
		"a command was about something else": func(w *world, _ *rapid.T, _ int64) bool {
			w.replaceCommand(func(c *invalidation.Command) { c.About = "another secret" })
			return true
		},
		"a command was given at another time": func(w *world, _ *rapid.T, _ int64) bool {
			w.replaceCommand(func(c *invalidation.Command) { c.At = at(3) })
			return true
		},
		"a command that nobody gave": func(w *world, r *rapid.T, _ int64) bool {
			when := at(rapid.IntRange(2, 10).Draw(r, "minute")).Add(time.Second)
			c := invalidation.Command{Name: "pause", By: "arn:aws:iam::111122223333:user/mallory", Reason: "x", RequestID: "request-x", At: when}
			if err := w.store.RecordCommand(w.Context(), c); err != nil {
				w.Fatal(err)
			}
			return true
		},
		"a row that nobody appended": func(w *world, _ *rapid.T, _ int64) bool {
			if _, err := w.store.Append(w.Context(), w.next(wire.Change{Name: stripe, Kind: wire.Deleted, At: at(9)})); err != nil {
				w.Fatal(err)
			}
			return true
		},
		"a row that covers no audit record": func(w *world, _ *rapid.T, _ int64) bool {
			w.rewrite(w.head.Revision, func(row *wire.Row) { row.AuditHash = "" })
			w.witnessed = audit.NewWitnessed()
			return true
		},
		"a command is gone": func(w *world, _ *rapid.T, _ int64) bool {
			w.remove(operations, "command", firstCommand)
			return true
		},
	}
}

// edited returns a text with one character changed.
func edited(r *rapid.T, s string) string {
	i := rapid.IntRange(0, len(s)-1).Draw(r, "character")
	to := rapid.SampledFrom([]byte(`a0"{}x9`)).Filter(func(b byte) bool { return b != s[i] }).Draw(r, "to")
	return s[:i] + string(to) + s[i+1:]
}

// rewrite seals a row anew after an edit, and returns its hash.
func (w *world) rewrite(revision int64, edit func(*wire.Row)) (hash string) {
	w.Helper()
	item := w.get(changes, wire.LogPartition, wire.RevisionKey(revision))
	row, err := wire.OpenRow([]byte(textOf(item, "detail")), "")
	if err != nil {
		w.Fatal(err)
	}
	edit(&row)
	body, err := row.Seal()
	if err != nil {
		w.Fatal(err)
	}
	item["detail"], item["hash"] = text(string(body)), text(row.Hash)
	w.put(changes, item)
	return row.Hash
}

// firstCommand is the sort key of the first command.
const firstCommand = "2026-11-23T10:01:00Z#request-10:01"

func (w *world) replaceCommand(edit func(*invalidation.Command)) {
	w.Helper()
	item := w.get(operations, "command", firstCommand)
	var c invalidation.Command
	if err := json.Unmarshal([]byte(textOf(item, "data")), &c); err != nil {
		w.Fatal(err)
	}
	edit(&c)
	data, err := json.Marshal(c)
	if err != nil {
		w.Fatal(err)
	}
	item["data"] = text(string(data))
	w.put(operations, item)
}

func (w *world) verify() audit.Verified {
	w.Helper()
	v, err := audit.Verify(w.Context(), w.store, w.witnessed, at(30))
	if err != nil {
		w.Fatal(err)
	}
	return v
}

// TestVerifyWithoutLogLines: the chain alone finds what does not fit, and does not say that anything was compared.
func TestVerifyWithoutLogLines(t *testing.T) {
	w := newWorld(t)
	for n := range 3 {
		w.append(moved(neon, "v", n))
	}
	w.command("pause", "INC-4711", at(1))
	w.witnessed = audit.NewWitnessed()
	want := audit.Verified{Rows: 3, Head: invalidation.Position{Revision: 3, Hash: w.head.Hash}, Problems: []audit.Problem{}}
	if diff := cmp.Diff(want, w.verify()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	w.rewrite(2, func(row *wire.Row) { row.Changes = nil })
	want.Problems = []audit.Problem{{Revision: 3, Problem: "it was appended to another row than the one before it"}}
	if diff := cmp.Diff(want, w.verify()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestWhatIsNotLoggedYet is no problem for a while, and neither is what is older than the lines that were read.
func TestWhatIsNotLoggedYet(t *testing.T) {
	w := newWorld(t)
	for n := range 5 {
		w.append(moved(neon, "v", n))
	}
	w.command("pause", "INC-4711", at(5))
	delete(w.witnessed.Rows, 1)
	delete(w.witnessed.Rows, 4)
	w.witnessed.Since = at(2)
	for now, want := range map[time.Time][]audit.Problem{
		at(13): {},
		at(14): {{Revision: 4, Problem: "the row was not logged: somebody else wrote it, or its process was killed at that moment"}},
	} {
		v, err := audit.Verify(t.Context(), w.store, w.witnessed, now)
		if diff := cmp.Diff(want, v.Problems); err != nil || diff != "" || v.Witnessed != 3 || v.Unlogged != int64(1-len(want)) {
			t.Errorf("at %v: %+v, %v (-want +got)\n%s", now, v, err, diff)
		}
	}
	clear(w.witnessed.Commands)
	if v := w.verify(); len(v.Problems) != 2 || v.Problems[1].Problem != "the command pause of request-10:05 was not logged: somebody else wrote it, or its process was killed at that moment" {
		t.Errorf("a command that nobody logged: %+v", v)
	}
}

// TestALogThatWasRestored: a revision that was appended twice is told, and so is what the restore took away.
func TestALogThatWasRestored(t *testing.T) {
	w := newWorld(t)
	w.append(moved(neon, "v1", 1))
	w.append(moved(neon, "v2", 2))
	first, second := w.witnessed.Rows[1][0], w.witnessed.Rows[2][0]
	w.witnessed.Rows[2] = []string{strings.Repeat("0", 64), second}
	w.witnessed.Rows[3] = []string{strings.Repeat("1", 64)}
	got := w.verify().Problems
	want := []audit.Problem{
		{Revision: 2, Problem: "it was appended 2 times with different hashes: the table was restored in between"},
		{Revision: 3, Problem: "the broadcaster logged it, and the log ends at revision 2"},
	}
	if diff := cmp.Diff(want, got); diff != "" || first == second {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestRowsOfAnOlderBroadcasterAreCounted: they are chained, and do not cover their audit records.
func TestRowsOfAnOlderBroadcasterAreCounted(t *testing.T) {
	w := newWorld(t)
	w.append(moved(neon, "v1", 1))
	w.rewrite(1, func(row *wire.Row) { row.AuditHash = "" })
	w.witnessed = audit.NewWitnessed()
	if v := w.verify(); v.Unsealed != 1 || len(v.Problems) > 0 {
		t.Errorf("%+v", v)
	}
}

// TestReadLog: what else stands in a log is left out, whatever it is.
func TestReadLog(t *testing.T) {
	w, err := audit.ReadLog(strings.NewReader(`2026-11-23T10:05:00 stream {"time":"2026-11-23T10:05:00Z","msg":"appended","revision":7,"hash":"aa","changes":1}
START RequestId: 1 "appended"
{"time":"2026-11-23T10:01:00Z","msg":"event","outcome":"appended","revision":8,"hash":"bb"}

{"msg":"appended","revision":"x"}
{"msg":"appended","revision":9,"hash":"dd"}
{"time":"2026-11-23T10:05:00Z","msg":"appended","revision":7,"hash":"aa"}
{"time":"2026-11-23T10:06:00Z","msg":"appended","revision":7,"hash":"cc"}
{"time":"2026-11-23T10:04:00Z","level":"WARN","msg":"a command was recorded","requestId":"r1","command":"invalidate","about":"x","by":"alice","reason":"INC","at":"2026-11-23T10:04:00Z"}`))
	want := audit.Witnessed{
		Rows:     map[int64][]string{7: {"aa", "cc"}},
		Commands: map[string]invalidation.Command{"r1": {Name: "invalidate", About: "x", By: "alice", Reason: "INC", RequestID: "r1", At: at(4)}},
		Since:    at(4),
	}
	if diff := cmp.Diff(want, w); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if _, err := audit.ReadLog(bytes.NewReader(make([]byte, 2<<20))); err == nil {
		t.Error("a line without end was read")
	}
}
