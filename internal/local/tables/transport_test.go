package tables_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
)

func TestUnsignedRequestIsRefused(t *testing.T) {
	r := request(t, "DescribeTable", `{"TableName":"changes"}`)
	r.Header.Del("Authorization")
	w := httptest.NewRecorder()
	withChanges(t, tables.Config{}).ServeHTTP(w, r)
	want := `{"__type":"com.amazon.coral.service#MissingAuthenticationTokenException","message":"Request is missing Authentication Token"}`
	if w.Code != http.StatusBadRequest || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestErrorHasTheShapeOfAWS(t *testing.T) {
	w := httptest.NewRecorder()
	open(t, tables.Config{}).ServeHTTP(w, request(t, "DescribeTable", `{"TableName":"nothing"}`))
	want := `{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found: Table: nothing not found"}`
	if w.Code != http.StatusBadRequest || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/x-amz-json-1.0" {
		t.Errorf("content type %q", got)
	}
}

func TestUnknownRequestsAreRefused(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	wantRefused(t, tbl, "Scan", `{}`, "com.amazon.coral.service#UnknownOperationException", "")
	wantRefused(t, tbl, "GetItem", `{`, "com.amazon.coral.service#SerializationException", "")
	wantRefused(t, tbl, "GetItem", `{"TableName":1}`, "com.amazon.coral.service#SerializationException", "")
	wantRefused(t, tbl, "Query", `{"TableName":"changes","FilterExpression":"a = :a"}`, validation, `does not support the parameter "FilterExpression"`)
}

func TestDateIsTheConfiguredClock(t *testing.T) {
	zone := time.FixedZone("elsewhere", 5*3600)
	tbl := open(t, tables.Config{Now: func() time.Time { return time.Date(2026, 11, 23, 15, 0, 0, 999_000_000, zone) }})
	server := httptest.NewServer(tbl)
	defer server.Close()
	overNetwork, err := http.DefaultClient.Do(rebased(t, request(t, "DescribeTable", `{}`), server.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer overNetwork.Body.Close()
	inProcess, err := tbl.RoundTripper().RoundTrip(request(t, "DescribeTable", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []*http.Response{overNetwork, inProcess} {
		if got := answer.Header["Date"]; len(got) != 1 || got[0] != "Mon, 23 Nov 2026 10:00:00 GMT" {
			t.Errorf("date %q", got)
		}
	}
}

func rebased(t *testing.T, r *http.Request, base string) *http.Request {
	t.Helper()
	out, err := http.NewRequestWithContext(t.Context(), r.Method, base, r.Body)
	if err != nil {
		t.Fatal(err)
	}
	out.Header = r.Header
	return out
}

func TestEndedContextExecutesNothing(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	r := request(t, "PutItem", `{"TableName":"changes","Item":{"pk":{"S":"a"},"sk":{"S":"1"}}}`).WithContext(ctx)
	if _, err := tbl.RoundTripper().RoundTrip(r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := getRow(t, tbl, "a", "1"); got != "{}" {
		t.Errorf("written: %s", got)
	}
}

func TestSDKClientWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := sdkClient(withChanges(t, tables.Config{}))
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 5 {
					time.Sleep(time.Second)
					_, err := client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
						TableName: aws.String("changes"), UpdateExpression: aws.String("ADD c :o"),
						Key: map[string]types.AttributeValue{
							"pk": &types.AttributeValueMemberS{Value: "a"}, "sk": &types.AttributeValueMemberS{Value: "1"},
						},
						ExpressionAttributeValues: map[string]types.AttributeValue{":o": &types.AttributeValueMemberN{Value: "1"}},
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		tbl, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String("changes")})
		if err != nil || *tbl.Table.ItemCount != 1 {
			t.Errorf("%v, %v", tbl, err)
		}
	})
}

func TestConflictLeverCancelsTheTransaction(t *testing.T) {
	var asked [][]string
	conflict := true
	tbl := withChanges(t, tables.Config{Conflict: func(names []string) bool {
		asked = append(asked, names)
		return conflict
	}})
	mustCall(t, tbl, "CreateTable", strings.Replace(createChanges, `"changes"`, `"other"`, 1))
	body := `{"TransactItems":[{"Put":{"TableName":"other","Item":{"pk":{"S":"a"},"sk":{"S":"1"}}}},
		{"Put":{"TableName":"changes","Item":{"pk":{"S":"a"},"sk":{"S":"1"}}}},{"Delete":{"TableName":"other","Key":{"pk":{"S":"a"},"sk":{"S":"2"}}}}]}`
	status, got := call(t, tbl, "TransactWriteItems", body)
	want := `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",` +
		`"Message":"Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict, TransactionConflict, TransactionConflict]",` +
		`"CancellationReasons":[{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"},` +
		`{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"},{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"}]}`
	if status != http.StatusBadRequest || got != want {
		t.Errorf("%d %s", status, got)
	}
	if got := getRow(t, tbl, "a", "1"); got != "{}" {
		t.Errorf("written: %s", got)
	}
	conflict = false
	mustCall(t, tbl, "TransactWriteItems", body)
	if len(asked) != 2 || strings.Join(asked[0], " ") != "other changes" {
		t.Errorf("asked with %q", asked)
	}
}
