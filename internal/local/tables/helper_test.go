package tables_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
)

const createChanges = `{"TableName":"changes","BillingMode":"PAY_PER_REQUEST",
	"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}],
	"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]}`

// open opens tables that are closed with the test.
func open(t testing.TB, cfg tables.Config) *tables.Tables {
	t.Helper()
	tbl, err := tables.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tbl.Close(); err != nil {
			t.Error(err)
		}
	})
	return tbl
}

// withChanges opens tables with one table, changes (pk, sk).
func withChanges(t testing.TB, cfg tables.Config) *tables.Tables {
	t.Helper()
	tbl := open(t, cfg)
	mustCall(t, tbl, "CreateTable", createChanges)
	return tbl
}

func request(t testing.TB, operation, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://tables", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"X-Amz-Target": {"DynamoDB_20120810." + operation}, "Authorization": {"any"}}
	return r
}

// call sends a request in its wire form and returns the answer in its.
func call(t testing.TB, tbl *tables.Tables, operation, body string) (int, string) {
	t.Helper()
	answer, err := tbl.RoundTripper().RoundTrip(request(t, operation, body))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(out)
}

func mustCall(t testing.TB, tbl *tables.Tables, operation, body string) string {
	t.Helper()
	status, out := call(t, tbl, operation, body)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", operation, status, out)
	}
	return out
}

// wantRefused fails unless the answer is that error: a full type, and a part of
// the message.
func wantRefused(t testing.TB, tbl *tables.Tables, operation, body, kind, message string) {
	t.Helper()
	status, out := call(t, tbl, operation, body)
	var got struct {
		Type    string `json:"__type"`
		Message string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%s: %s: %v", operation, out, err)
	}
	if status != http.StatusBadRequest || got.Type != kind || !strings.Contains(got.Message, message) {
		t.Errorf("%s %s:\ngot  %d %s %q\nwant 400 %s %q", operation, body, status, got.Type, got.Message, kind, message)
	}
}

const validation = "com.amazon.coral.validate#ValidationException"

func putRow(t testing.TB, tbl *tables.Tables, pk, sk, more string) {
	t.Helper()
	mustCall(t, tbl, "PutItem", `{"TableName":"changes","Item":{"pk":{"S":"`+pk+`"},"sk":{"S":"`+sk+`"}`+more+`}}`)
}

func getRow(t testing.TB, tbl *tables.Tables, pk, sk string) string {
	t.Helper()
	return mustCall(t, tbl, "GetItem", `{"TableName":"changes","Key":{"pk":{"S":"`+pk+`"},"sk":{"S":"`+sk+`"}}}`)
}
