package tables_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
)

func TestRestoreGivesBackThatMoment(t *testing.T) {
	for name, dir := range map[string]string{"memory": "", "journal": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
			cfg := tables.Config{Dir: dir, Now: func() time.Time { return now }}
			tbl := withChanges(t, cfg)
			mustCall(t, tbl, "CreateTable", strings.Replace(createChanges, `"changes"`, `"other"`, 1))
			mustCall(t, tbl, "UpdateTimeToLive", `{"TableName":"changes","TimeToLiveSpecification":{"AttributeName":"expires","Enabled":true}}`)
			putRow(t, tbl, "a", "1", `,"v":{"N":"1"}`)
			putRow(t, tbl, "a", "2", "")
			want := getRow(t, tbl, "a", "1")

			snapshot, err := tbl.Backup("changes")
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Hour)
			mustCall(t, tbl, "UpdateItem", `{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"1"}},"UpdateExpression":"ADD v :o","ExpressionAttributeValues":{":o":{"N":"1"}}}`)
			putRow(t, tbl, "a", "3", "")
			mustCall(t, tbl, "DeleteItem", `{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"2"}}}`)
			mustCall(t, tbl, "PutItem", `{"TableName":"other","Item":{"pk":{"S":"a"},"sk":{"S":"1"}}}`)
			if err := tbl.Restore(snapshot); err != nil {
				t.Fatal(err)
			}
			check := func(t *testing.T, tbl *tables.Tables) {
				t.Helper()
				if diff := cmp.Diff(want, getRow(t, tbl, "a", "1")); diff != "" {
					t.Errorf("changed item (-want +got):\n%s", diff)
				}
				if got := getRow(t, tbl, "a", "2"); got == "{}" {
					t.Error("the deleted item did not come back")
				}
				if got := getRow(t, tbl, "a", "3"); got != "{}" {
					t.Errorf("the new item stayed: %s", got)
				}
				if got := mustCall(t, tbl, "GetItem", `{"TableName":"other","Key":{"pk":{"S":"a"},"sk":{"S":"1"}}}`); got == "{}" {
					t.Error("a table outside the snapshot was touched")
				}
				if got := mustCall(t, tbl, "DescribeTable", `{"TableName":"changes"}`); !strings.Contains(got, `"CreationDateTime":1795431600,`) {
					t.Errorf("creation time is not the restore's: %s", got)
				}
			}
			check(t, tbl)
			if dir != "" {
				closeNow(t, tbl)
				tbl = open(t, cfg)
				check(t, tbl)
			}
			// A restored table has no time to live: enabling it is no repetition.
			mustCall(t, tbl, "UpdateTimeToLive", `{"TableName":"changes","TimeToLiveSpecification":{"AttributeName":"expires","Enabled":true}}`)
			// The snapshot is unharmed by writes after it was restored.
			putRow(t, tbl, "a", "1", `,"v":{"N":"3"}`)
			if err := tbl.Restore(snapshot); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, getRow(t, tbl, "a", "1")); diff != "" {
				t.Errorf("second restore (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBackupOfAnUnknownTableFails(t *testing.T) {
	_, err := withChanges(t, tables.Config{}).Backup("changes", "nothing")
	if !errors.Is(err, tables.ErrUnknownTable) {
		t.Errorf("got %v", err)
	}
}
