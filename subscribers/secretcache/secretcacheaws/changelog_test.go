package secretcacheaws_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// page is DynamoDB's answer to a Query that finds the rows with these revisions; more says that there is another page.
func page(rows []wire.Row, bodies []string, more bool, revisions ...int) string {
	var items []string
	for _, revision := range revisions {
		detail, _ := json.Marshal(bodies[revision-1]) // a string is always encoded
		items = append(items, fmt.Sprintf(`{"pk":{"S":"log"},"sk":{"S":"%019d"},"hash":{"S":"%s"},"detail":{"S":%s}}`,
			revision, rows[revision-1].Hash, detail))
	}
	next := ""
	if more {
		next = fmt.Sprintf(`,"LastEvaluatedKey":{"pk":{"S":"log"},"sk":{"S":"%019d"}}`, revisions[len(revisions)-1])
	}
	return fmt.Sprintf(`{"Count":%d,"Items":[%s]%s,"ScannedCount":%d}`, len(items), strings.Join(items, ","), next, len(items))
}

func revisionsOf(p secretcache.Page) []int64 {
	var out []int64
	for _, row := range p.Rows {
		out = append(out, row.Revision)
	}
	return out
}

func TestSinceAsksOneConsistentQueryFromTheCursorOn(t *testing.T) {
	rows, bodies := chain(t, 3)
	endpoint := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, _, _ int) {
		w.Header().Set("Date", "Mon, 23 Nov 2026 10:00:05 GMT")
		io.WriteString(w, page(rows, bodies, false, 2, 3)) //nolint:errcheck // the client sees it
	})
	got, err := configFrom(t, awsConfig(endpoint.URL)).Log.Since(t.Context(), 2, 102)
	if err != nil {
		t.Fatal(err)
	}
	want := secretcache.Page{Rows: rows[1:], Date: time.Date(2026, time.November, 23, 10, 0, 5, 0, time.UTC)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	requests := endpoint.got()
	if len(requests) != 1 {
		t.Fatalf("%d requests, want 1", len(requests))
	}
	wantBody := `{"TableName":"payments-changes","ConsistentRead":true,"KeyConditionExpression":"pk = :log AND sk \u003e= :revision",` +
		`"ExpressionAttributeValues":{":log":{"S":"log"},":revision":{"S":"0000000000000000002"}},"ScanIndexForward":true,"Limit":102}`
	if diff := cmp.Diff(wantBody, requests[0].body); diff != "" {
		t.Error(diff)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.Query", "X-Amz-Security-Token": "example-token",
	} {
		if got := requests[0].header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

func TestTailAsksBackwardsAndAnswersForwards(t *testing.T) {
	rows, bodies := chain(t, 3)
	endpoint := newEndpoint(t, always(200, page(rows, bodies, true, 3, 2)))
	got, err := configFrom(t, awsConfig(endpoint.URL)).Log.Tail(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{2, 3}, revisionsOf(got)); diff != "" {
		t.Error(diff)
	}
	wantBody := `{"TableName":"payments-changes","ConsistentRead":true,"KeyConditionExpression":"pk = :log",` +
		`"ExpressionAttributeValues":{":log":{"S":"log"}},"ScanIndexForward":false,"Limit":2}`
	if requests := endpoint.got(); len(requests) != 1 || requests[0].body != wantBody {
		t.Errorf("%d requests, the first: %s", len(requests), requests[0].body)
	}
}

func TestAQueryIsFollowedUntilItsLimit(t *testing.T) {
	rows, bodies := chain(t, 5)
	pages := []string{
		page(rows, bodies, true, 1, 2), `{"Items":[],"LastEvaluatedKey":{"pk":{"S":"log"},"sk":{"S":"0000000000000000002"}}}`,
		page(rows, bodies, true, 3, 4), page(rows, bodies, false, 5),
	}
	endpoint := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, n, _ int) {
		w.Header().Set("Date", time.Date(2026, time.November, 23, 10, 0, n, 0, time.UTC).Format(http.TimeFormat))
		io.WriteString(w, pages[(n-1)%4]) //nolint:errcheck // the client sees it
	})
	log := configFrom(t, awsConfig(endpoint.URL)).Log
	got, err := log.Since(t.Context(), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5}, revisionsOf(got)); diff != "" {
		t.Error(diff)
	}
	if got.Date.Second() != 1 {
		t.Errorf("the page's date is %v, want the first answer's", got.Date)
	}
	limits, starts := []int{100, 98, 98, 96}, []string{"", "0000000000000000002", "0000000000000000002", "0000000000000000004"}
	for i, request := range endpoint.got() {
		if !strings.Contains(request.body, `"Limit":`+strconv.Itoa(limits[i])) {
			t.Errorf("request %d: %s, want the limit %d", i+1, request.body, limits[i])
		}
		if start := `"ExclusiveStartKey":{"pk":{"S":"log"},"sk":{"S":"` + starts[i] + `"}}`; strings.Contains(request.body, start) != (i > 0) {
			t.Errorf("request %d: %s, want to start after %q", i+1, request.body, starts[i])
		}
	}
	if got, err = log.Since(t.Context(), 1, 4); err != nil || len(got.Rows) != 4 || len(endpoint.got()) != 7 {
		t.Errorf("limited to 4: %d rows, %d requests, %v", len(got.Rows), len(endpoint.got())-4, err)
	}
}

func TestNothingInTheLogIsAnEmptyPage(t *testing.T) {
	endpoint := newEndpoint(t, always(200, `{"Count":0,"Items":[],"ScannedCount":0,"LastEvaluatedKey":null}`))
	log := configFrom(t, awsConfig(endpoint.URL)).Log
	if got, err := log.Tail(t.Context(), 100); err != nil || len(got.Rows) != 0 || got.Date.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWithoutADateThePageHasNone(t *testing.T) {
	endpoint := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, _, _ int) {
		w.Header()["Date"] = nil
		io.WriteString(w, `{"Items":[]}`) //nolint:errcheck // the client sees it
	})
	got, err := configFrom(t, awsConfig(endpoint.URL)).Log.Tail(t.Context(), 100)
	if err != nil || !got.Date.IsZero() {
		t.Errorf("got %v, %v", got.Date, err)
	}
}

func TestErrorsTellWhatToCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   []string
	}{
		{"denied", 400, `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"User: arn:aws:sts::111122223333:assumed-role/payments is not authorized to perform: dynamodb:Query"}`, []string{
			"Query on table payments-changes", "AccessDeniedException", "HTTP status 400", "dynamodb:Query", "check that the function's role", "VPC endpoint",
		}},
		{"no table", 400, `{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`, []string{
			"ResourceNotFoundException", "HTTP status 400", "SECRET_BROADCAST_TABLE", "Region",
		}},
		{"expired", 400, `{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token included in the request is expired"}`, []string{"ExpiredTokenException", "clock"}},
		{"throttled", 400, `{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"Rate exceeded"}`, []string{"ThrottlingException", "capacity"}},
		{"bare code", 400, `{"__type":"ValidationException"}`, []string{"ValidationException (HTTP status 400)"}},
		{"server error", 500, `{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"Internal server error"}`, []string{"InternalServerError", "HTTP status 500"}},
		{"proxy", 502, `<html>bad gateway</html>`, []string{"HTTP status 502", "check the endpoint"}},
		{"redirect", 302, ``, []string{"HTTP status 302", "check the endpoint"}},
		{"no JSON", 200, `hello`, []string{"decoding the answer to Query on table payments-changes"}},
		{"another table", 200, `{"Items":[{"pk":{"S":"log"},"sk":{"S":"report"},"data":{"S":"{}"}}]}`, []string{"no hash or no detail", "SECRET_BROADCAST_TABLE"}},
		{"broken row", 200, `{"Items":[{"hash":{"S":"77ab"},"detail":{"S":"{"}}]}`, []string{"reading table payments-changes", "decoding row"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			endpoint := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, n, _ int) {
				w.Header().Set("Location", "/elsewhere")
				always(test.status, test.body)(w, r, n, 0)
			})
			got, err := configFrom(t, awsConfig(endpoint.URL)).Log.Tail(t.Context(), 100)
			if err == nil || len(got.Rows) != 0 {
				t.Fatalf("got %+v, %v", got, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if n := len(endpoint.got()); n != 1 {
				t.Errorf("%d requests: the cache does the retries", n)
			}
		})
	}
}

func TestALongMessageIsCut(t *testing.T) {
	endpoint := newEndpoint(t, always(400, `{"__type":"a#ValidationException","message":"`+strings.Repeat("x", 10_000)+`"}`))
	_, err := configFrom(t, awsConfig(endpoint.URL)).Log.Tail(t.Context(), 1)
	if err == nil || len(err.Error()) > 700 {
		t.Errorf("got %d bytes", len(err.Error()))
	}
}

func TestAnEndlessAnswerIsNotRead(t *testing.T) {
	endpoint := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, _, _ int) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
				return
			}
		}
	})
	_, err := configFrom(t, awsConfig(endpoint.URL)).Log.Tail(t.Context(), 1)
	if err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}

func TestCredentialsThatFailAreTold(t *testing.T) {
	cfg := awsConfig("http://127.0.0.1:1")
	cause := errors.New("no role")
	cfg.Credentials = failingCredentials{cause}
	_, err := configFrom(t, cfg).Log.Tail(t.Context(), 1)
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "retrieving credentials") {
		t.Errorf("got %v", err)
	}
}

func FuzzQueryAnswer(f *testing.F) {
	rows, bodies := chain(f, 2)
	f.Add([]byte(page(rows, bodies, true, 1, 2)))
	f.Add([]byte(`{"Items":[{"hash":{"S":"77ab"},"detail":{"S":"{\"schema\":2,\"changes\":{}}"}}]}`))
	f.Add([]byte(`{"Items":[{"hash":{"N":"1"}}],"LastEvaluatedKey":{"pk":null}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		cfg := awsConfig("http://fuzz.test")
		cfg.HTTPClient = &http.Client{Transport: &answers{bodies: [][]byte{answer}}}
		got, err := configFrom(t, cfg).Log.Since(t.Context(), 1, 10)
		if err != nil && len(got.Rows) > 0 {
			t.Errorf("%d rows beside the error %v", len(got.Rows), err)
		}
	})
}

// TestRequestsAreSignedByTheServersClock where it refuses a signature by this one, and sent once more only.
func TestRequestsAreSignedByTheServersClock(t *testing.T) {
	rows, bodies := chain(t, 1)
	const signature, expired, denied = "InvalidSignatureException", "RequestExpired", "AccessDeniedException"
	for name, tc := range map[string]struct {
		code     string
		off      []time.Duration // the server's clock at each refusal
		requests int
		fails    bool
	}{
		"its clock is ten minutes later":  {signature, []time.Duration{10 * time.Minute}, 2, false},
		"it came too late, it says":       {expired, []time.Duration{10 * time.Minute}, 2, false},
		"it is not refused for its time":  {signature, []time.Duration{0}, 1, true},
		"it is not the signature":         {denied, []time.Duration{10 * time.Minute}, 1, true},
		"its clock is another each time":  {signature, []time.Duration{10 * time.Minute, 30 * time.Minute}, 2, true},
		"its clock is ten minutes before": {signature, []time.Duration{-10 * time.Minute}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, n, _ int) {
				if n > len(tc.off) {
					io.WriteString(w, page(rows, bodies, false, 1)) //nolint:errcheck // the client sees it
					return
				}
				w.Header().Set("Date", time.Now().Add(tc.off[n-1]).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"__type":"com.amazon.coral.service#%s","message":"no"}`, tc.code)
			})
			log := configFrom(t, awsConfig(endpoint.URL)).Log
			_, err := log.Tail(t.Context(), 2)
			requests := endpoint.got()
			if len(requests) != tc.requests || (err != nil) != tc.fails {
				t.Fatalf("%d requests, %v; want %d", len(requests), err, tc.requests)
			}
			if tc.fails {
				return
			}
			if _, err := log.Tail(t.Context(), 2); err != nil { // what was learned is remembered
				t.Fatal(err)
			}
			for n, request := range endpoint.got() {
				signed, err := time.Parse("20060102T150405Z", request.header.Get("X-Amz-Date"))
				if want := time.Now().Add([]time.Duration{0, tc.off[0], tc.off[0]}[n]); err != nil || signed.Sub(want).Abs() > 10*time.Second {
					t.Errorf("request %d: signed for %v, %v; want %v", n, signed, err, want)
				}
			}
		})
	}
}
