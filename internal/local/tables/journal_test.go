package tables_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
)

const journalName = "tables.journal"

// content is everything that a client can see of the table changes.
func content(t testing.TB, tbl *tables.Tables) string {
	t.Helper()
	status, out := call(t, tbl, "DescribeTable", `{"TableName":"changes"}`)
	if status != 200 {
		return out
	}
	for _, pk := range []string{"log", "secret", "audit", "a", "b"} {
		out += mustCall(t, tbl, "Query", `{"TableName":"changes","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"`+pk+`"}}}`)
	}
	return out
}

func closeNow(t testing.TB, tbl *tables.Tables) {
	t.Helper()
	if err := tbl.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReopenedTablesHoldEveryWrite(t *testing.T) {
	dir := t.TempDir()
	tbl := withChanges(t, tables.Config{Dir: dir})
	mustCall(t, tbl, "UpdateTimeToLive", `{"TableName":"changes","TimeToLiveSpecification":{"AttributeName":"expires","Enabled":true}}`)
	putRow(t, tbl, "a", "1", `,"v":{"M":{"x":{"L":[{"N":"1"},{"B":"AP8="},{"BS":["AA=="]},{"NULL":true},{"BOOL":false}]}}},"t":{"S":"ü \u2028 <x>"}`)
	putRow(t, tbl, "a", "2", "")
	mustCall(t, tbl, "DeleteItem", `{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"2"}}}`)
	mustCall(t, tbl, "UpdateItem", `{"TableName":"changes","Key":{"pk":{"S":"b"},"sk":{"S":"1"}},"UpdateExpression":"ADD c :o","ExpressionAttributeValues":{":o":{"N":"2"}}}`)
	mustCall(t, tbl, "TransactWriteItems", fmt.Sprintf(transactFour, 1, 1, 1, 1))
	mustCall(t, tbl, "CreateTable", strings.Replace(createChanges, `"changes"`, `"gone"`, 1))
	mustCall(t, tbl, "DeleteTable", `{"TableName":"gone"}`)
	want := content(t, tbl)
	closeNow(t, tbl)

	again := open(t, tables.Config{Dir: dir})
	if diff := cmp.Diff(want, content(t, again)); diff != "" {
		t.Errorf("after reopening (-want +got):\n%s", diff)
	}
	wantRefused(t, again, "DescribeTable", `{"TableName":"gone"}`, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "gone")
	wantRefused(t, again, "UpdateTimeToLive", `{"TableName":"changes","TimeToLiveSpecification":{"AttributeName":"expires","Enabled":true}}`, validation, "already enabled")
}

func TestTokenOutlivesARestartButNotTenMinutes(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	cfg := tables.Config{Dir: dir, Now: func() time.Time { return now }}
	add := `{"ClientRequestToken":"token","TransactItems":[{"Update":{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"1"}},
		"UpdateExpression":"ADD c :o","ExpressionAttributeValues":{":o":{"N":"1"}}}}]}`
	tbl := withChanges(t, cfg)
	mustCall(t, tbl, "TransactWriteItems", add)
	closeNow(t, tbl)

	tbl = open(t, cfg)
	now = now.Add(10*time.Minute - time.Second)
	mustCall(t, tbl, "TransactWriteItems", add)
	if got := getRow(t, tbl, "a", "1"); !strings.Contains(got, `"c":{"N":"1"}`) {
		t.Errorf("executed again: %s", got)
	}
	now = now.Add(time.Second)
	mustCall(t, tbl, "TransactWriteItems", add)
	if got := getRow(t, tbl, "a", "1"); !strings.Contains(got, `"c":{"N":"2"}`) {
		t.Errorf("still remembered: %s", got)
	}
}

// TestCrashDuringTheLastWrite cuts the journal at every byte of its last line:
// the state is the one before that write, whole, until the line is whole.
func TestCrashDuringTheLastWrite(t *testing.T) {
	dir := t.TempDir()
	tbl := withChanges(t, tables.Config{Dir: dir})
	putRow(t, tbl, "a", "1", "")
	before := content(t, tbl)
	mustCall(t, tbl, "TransactWriteItems", `{"ClientRequestToken":"t","TransactItems":[{"Put":{"TableName":"changes","Item":{"pk":{"S":"b"},"sk":{"S":"1"}}}},
		{"Delete":{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"1"}}}}]}`)
	after := content(t, tbl)
	closeNow(t, tbl)
	journal, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	lastLine := bytes.LastIndexByte(journal[:len(journal)-1], '\n') + 1

	crashed := t.TempDir()
	for size := lastLine; size <= len(journal); size++ {
		if err := os.WriteFile(filepath.Join(crashed, journalName), journal[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		tbl := open(t, tables.Config{Dir: crashed})
		want := before
		if size == len(journal) {
			want = after
		}
		if diff := cmp.Diff(want, content(t, tbl)); diff != "" {
			t.Fatalf("cut at byte %d of %d (-want +got):\n%s", size-lastLine, len(journal)-lastLine, diff)
		}
		if size%16 != 0 {
			closeNow(t, tbl)
			continue
		}
		// What is written next must not stick to the torn line.
		putRow(t, tbl, "b", "next", "")
		want = content(t, tbl)
		closeNow(t, tbl)
		tbl = open(t, tables.Config{Dir: crashed})
		if diff := cmp.Diff(want, content(t, tbl)); diff != "" {
			t.Fatalf("write after a cut at byte %d (-want +got):\n%s", size-lastLine, diff)
		}
		closeNow(t, tbl)
	}
}

func TestDamageThatNoCrashExplainsFailsOpen(t *testing.T) {
	for name, journal := range map[string]string{
		"no JSON":       "nonsense\n",
		"unknown table": `{"changes":[{"table":"changes","put":{"pk":{"S":"a"}}}]}` + "\n",
		"in the middle": `{"drop":"a` + "\n" + `{"drop":"b"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, journalName), []byte(journal), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := tables.Open(tables.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "line 1") {
				t.Errorf("opened, error %v", err)
			}
		})
	}
}

func TestDirectoryIsOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	open(t, tables.Config{Dir: dir})
	if _, err := tables.Open(tables.Config{Dir: dir}); err == nil {
		t.Error("opened a second time")
	}
}

func TestClosedTablesAnswerWithAnError(t *testing.T) {
	tbl := withChanges(t, tables.Config{Dir: t.TempDir()})
	snapshot, err := tbl.Backup("changes")
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, tbl)
	if status, out := call(t, tbl, "PutItem", `{"TableName":"changes","Item":{"pk":{"S":"a"},"sk":{"S":"b"}}}`); status != 500 {
		t.Errorf("%d %s", status, out)
	}
	if err := tbl.Restore(snapshot); err == nil {
		t.Error("restored")
	}
}

// TestJournalReplaysAnyHistory compares memory with journal after random
// histories with restarts.
func TestJournalReplaysAnyHistory(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "history")
		if err != nil {
			t.Fatal(err)
		}
		clock := func() time.Time { return time.Unix(1795428000, 0) }
		memory := withChanges(t, tables.Config{Now: clock})
		filed := withChanges(t, tables.Config{Dir: dir, Now: clock})
		var saved [2]tables.Snapshot
		for range rapid.IntRange(1, 15).Draw(r, "steps") {
			key := fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"S":"%d"}}`, rapid.IntRange(0, 3).Draw(r, "key"))
			var operation, body string
			switch rapid.IntRange(0, 6).Draw(r, "operation") {
			case 0, 1:
				operation, body = "UpdateItem", `{"TableName":"changes","Key":`+key+`,"UpdateExpression":"ADD c :o","ExpressionAttributeValues":{":o":{"N":"1"}}}`
			case 2:
				operation, body = "DeleteItem", `{"TableName":"changes","Key":`+key+`}`
			case 3:
				n := rapid.IntRange(0, 5).Draw(r, "n")
				operation, body = "TransactWriteItems", fmt.Sprintf(transactFour, n, n, n, n)
			case 4:
				closeNow(t, filed)
				filed = open(t, tables.Config{Dir: dir, Now: clock})
				continue
			case 5:
				for i, tbl := range []*tables.Tables{memory, filed} {
					if saved[i], err = tbl.Backup("changes"); err != nil {
						r.Fatal(err)
					}
				}
				continue
			case 6:
				for i, tbl := range []*tables.Tables{memory, filed} {
					if err := tbl.Restore(saved[i]); err != nil {
						r.Fatal(err)
					}
				}
				continue
			}
			status, want := call(t, memory, operation, body)
			if gotStatus, got := call(t, filed, operation, body); gotStatus != status || got != want {
				r.Fatalf("%s %s: memory answers %d %s, journal %d %s", operation, body, status, want, gotStatus, got)
			}
		}
		closeNow(t, filed)
		filed = open(t, tables.Config{Dir: dir, Now: clock})
		defer closeNow(t, filed)
		if diff := cmp.Diff(content(t, memory), content(t, filed)); diff != "" {
			r.Fatalf("(-memory +journal):\n%s", diff)
		}
	})
}
