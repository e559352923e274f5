package tables_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
)

func TestTableThatCannotBeMadeIsRefused(t *testing.T) {
	tbl := open(t, tables.Config{})
	for _, c := range []struct{ from, to, message string }{
		{`"changes"`, `"ab"`, "Invalid table/index name"},
		{`"changes"`, `"a/b/c"`, "Invalid table/index name"},
		{`"PAY_PER_REQUEST"`, `"PROVISIONED"`, "must both be specified when BillingMode is PROVISIONED"},
		{`"sk","AttributeType":"S"`, `"sk","AttributeType":"B"`, "does not support a key of type B"},
		{`"sk","AttributeType":"S"`, `"sk","AttributeType":"M"`, "Member must satisfy enum value set: [B, N, S]"},
		{`"sk","AttributeType":"S"`, `"other","AttributeType":"S"`, "not defined in AttributeDefinitions. Keys: [sk]"},
		{`"KeyType":"RANGE"`, `"KeyType":"HASH"`, "Invalid KeySchema"},
		{`,{"AttributeName":"sk","KeyType":"RANGE"}`, ``, "does not exactly match"},
		{`{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}`, ``, "Member must have length greater than or equal to 1"},
		{`"BillingMode"`, `"GlobalSecondaryIndexes":[],"BillingMode"`, `does not support the parameter "GlobalSecondaryIndexes"`},
	} {
		body := strings.Replace(createChanges, c.from, c.to, 1)
		if body == createChanges {
			t.Fatalf("%s is not in the request", c.from)
		}
		wantRefused(t, tbl, "CreateTable", body, validation, c.message)
	}
	wantRefused(t, tbl, "DescribeTable", `{"TableName":"changes"}`, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "changes")
}

// TestTablesOfOwnMakeAreThoseOfCreateTable: the same description, and the same refusals.
func TestTablesOfOwnMakeAreThoseOfCreateTable(t *testing.T) {
	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	made, asked := open(t, tables.Config{Now: now}), withChanges(t, tables.Config{Now: now})
	if err := made.CreateTables("pk", "sk", "changes", "reports"); err != nil {
		t.Fatal(err)
	}
	describe := `{"TableName":"changes"}`
	_, want := call(t, asked, "DescribeTable", describe)
	if _, got := call(t, made, "DescribeTable", describe); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	mustCall(t, made, "DescribeTable", `{"TableName":"reports"}`)
	if err := made.CreateTables("pk", "sk", "more", "reports"); err == nil || !strings.Contains(err.Error(), "creating table reports: ") {
		t.Errorf("making a table twice: %v", err)
	}
	mustCall(t, made, "DescribeTable", `{"TableName":"more"}`)
}

func TestTimeToLiveIsSwitchedOnce(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	set := func(attribute, enabled string) string {
		return `{"TableName":"changes","TimeToLiveSpecification":{"AttributeName":"` + attribute + `","Enabled":` + enabled + `}}`
	}
	wantRefused(t, tbl, "UpdateTimeToLive", set("", "true"), validation, "length greater than or equal to 1")
	wantRefused(t, tbl, "UpdateTimeToLive", set("expires", "false"), validation, "already disabled")
	mustCall(t, tbl, "UpdateTimeToLive", set("expires", "true"))
	wantRefused(t, tbl, "UpdateTimeToLive", set("expires", "true"), validation, "already enabled")
	wantRefused(t, tbl, "UpdateTimeToLive", set("other", "false"), validation, "current AttributeName is expires")
	mustCall(t, tbl, "UpdateTimeToLive", set("expires", "false"))
	mustCall(t, tbl, "UpdateTimeToLive", set("other", "true"))
}

func TestTableCountsItsItemsAndBytes(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	want := func(counts string) {
		t.Helper()
		if got := mustCall(t, tbl, "DescribeTable", `{"TableName":"changes"}`); !strings.Contains(got, counts) {
			t.Errorf("%s, want %s", got, counts)
		}
	}
	putRow(t, tbl, "a", "1", `,"v":{"S":"12345"}`)
	want(`"ItemCount":1,"TableSizeBytes":12`)
	putRow(t, tbl, "a", "1", `,"v":{"S":"1"}`)
	want(`"ItemCount":1,"TableSizeBytes":8`)
	putRow(t, tbl, "a", "2", `,"n":{"N":"-12.50"},"l":{"L":[{"M":{"b":{"BOOL":true}}},{"NULL":true}]},"ns":{"NS":["1","200"]},"bs":{"BS":["AAE="]}`)
	// 6 of the key, n 1+4, l 1+3+2+(3+1+1+1)+1, ns 2+2+2, bs 2+2.
	want(`"ItemCount":2,"TableSizeBytes":42`)
	mustCall(t, tbl, "DeleteItem", `{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"2"}}}`)
	mustCall(t, tbl, "DeleteItem", `{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"3"}}}`)
	want(`"ItemCount":1,"TableSizeBytes":8`)
}
