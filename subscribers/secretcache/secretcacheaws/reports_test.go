package secretcacheaws_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

func exampleReport() wire.Report {
	return wire.Report{
		Schema: wire.Schema, Client: "go/1.0.0", Env: "prod", Domain: "payments", Service: "payments-api",
		Environment: "7f3c0000000000000000000000000000", Mode: "on", Revision: 42,
		Secrets: []wire.SecretOutcome{{Name: connectionString, VersionID: "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE", Outcome: wire.Applied}},
	}
}

func TestAReportIsOneItemPerEnvironment(t *testing.T) {
	endpoint := newEndpoint(t, always(200, `{}`))
	before := time.Now()
	if err := configFrom(t, awsConfig(endpoint.URL)).Reports.Put(t.Context(), exampleReport()); err != nil {
		t.Fatal(err)
	}
	requests := endpoint.got()
	if len(requests) != 1 || requests[0].header.Get("X-Amz-Target") != "DynamoDB_20120810.PutItem" {
		t.Fatalf("got %+v", requests)
	}
	var got struct {
		TableName string
		Item      map[string]map[string]string
	}
	if err := json.Unmarshal([]byte(requests[0].body), &got); err != nil {
		t.Fatal(err)
	}
	ttl, err := strconv.ParseInt(got.Item["ttl"]["N"], 10, 64)
	if kept := time.Unix(ttl, 0).Sub(before); err != nil || kept < 24*time.Hour-time.Second || kept > 25*time.Hour {
		t.Errorf("kept for %v (%v), want a day", kept, err)
	}
	delete(got.Item, "ttl")
	data, err := json.Marshal(exampleReport())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{
		"pk": {"S": "report#5"}, "sk": {"S": "payments-api#7f3c0000000000000000000000000000"}, "data": {"S": string(data)},
		"service": {"S": "payments-api"}, "revision": {"N": "42"},
	}
	if diff := cmp.Diff(want, got.Item); diff != "" || got.TableName != "payments-reports" {
		t.Error(got.TableName, diff)
	}
}

func TestAReportThatIsRefusedIsAnError(t *testing.T) {
	endpoint := newEndpoint(t, always(400, `{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`))
	err := configFrom(t, awsConfig(endpoint.URL)).Reports.Put(t.Context(), exampleReport())
	if err == nil || !strings.Contains(err.Error(), "PutItem on table payments-reports") || !strings.Contains(err.Error(), "SECRET_BROADCAST_REPORTS_TABLE") {
		t.Errorf("got %v", err)
	}
}
