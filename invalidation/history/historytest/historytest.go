// Package historytest writes histories for tests: what a broadcaster and its clients would have written, in tables as deployed.
package historytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// Where a Domain is, and the names of its tables.
const (
	Env, Domain     = "prod", "payments"
	Region, Account = "eu-west-2", "111122223333"

	ChangesTable    = "prod-payments-changes"
	OperationsTable = "prod-payments-operations"
	ReportsTable    = "prod-payments-reports"
)

// A History is written into the tables of one domain.
type History struct {
	t       testing.TB
	Tables  *tables.Tables
	Store   *dynamodb.Store
	Reports *dynamodb.Reports
	client  *awsdynamodb.Client
	head    invalidation.Position
	secrets map[string]invalidation.SecretRow
}

// New returns an empty history.
func New(t testing.TB) *History {
	t.Helper()
	local, err := tables.Open(tables.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = local.Close() })
	if err := local.CreateTables("pk", "sk", ChangesTable, OperationsTable, ReportsTable); err != nil {
		t.Fatal(err)
	}
	client := awsdynamodb.New(awsdynamodb.Options{
		Region: Region, HTTPClient: &http.Client{Transport: local.RoundTripper()},
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	})
	return &History{
		t: t, Tables: local, client: client, secrets: map[string]invalidation.SecretRow{},
		Store: dynamodb.New(client, ChangesTable, OperationsTable), Reports: dynamodb.NewReports(client, ReportsTable),
	}
}

// Name is a secret's full name.
func Name(secret string) string { return wire.NamePrefix(Env, Domain) + secret }

// ARN is a secret's.
func ARN(secret string) string {
	return "arn:aws:secretsmanager:" + Region + ":" + Account + ":secret:" + Name(secret) + "-a1b2c3"
}

// FunctionARN is a function's.
func FunctionARN(name string) string {
	return "arn:aws:lambda:" + Region + ":" + Account + ":function:" + name
}

// Version is the id of the n-th version.
func Version(n int) string { return fmt.Sprintf("EXAMPLE%d-90ab-cdef-fedc-ba987EXAMPLE", n) }

// Moved appends that a secret has the n-th version since a time, of which an event told 300 ms later; 600 ms after that it is
// in the log.
func (h *History) Moved(secret string, n int, at time.Time) wire.Row {
	h.t.Helper()
	return h.append(secret, wire.Moved, n, at, at.Add(900*time.Millisecond), invalidation.Cause{
		EventID: fmt.Sprintf("0d0b4a3e-0000-4000-8000-%012d", h.head.Revision+1), DetailType: "Secret Label Updated",
		EventTime: at, Received: at.Add(300 * time.Millisecond),
	})
}

// Found appends the same, which a tick has found two seconds after it began.
func (h *History) Found(secret string, n int, at, tick time.Time) wire.Row {
	h.t.Helper()
	return h.append(secret, wire.Moved, n, at, tick.Add(2*time.Second), invalidation.Cause{
		EventID: "reconcile-" + tick.Format(time.RFC3339), DetailType: invalidation.ReconcileDetailType, EventTime: tick, Received: tick,
	})
}

// Deleted appends that a secret was deleted.
func (h *History) Deleted(secret string, at time.Time) wire.Row {
	h.t.Helper()
	return h.append(secret, wire.Deleted, 0, at, at.Add(900*time.Millisecond), invalidation.Cause{
		EventID: fmt.Sprintf("0d0b4a3e-0000-4000-8000-%012d", h.head.Revision+1), DetailType: "AWS API Call via CloudTrail",
		EventTime: at, Received: at.Add(300 * time.Millisecond),
	})
}

func (h *History) append(secret string, kind wire.Kind, n int, changed, appended time.Time, cause invalidation.Cause) wire.Row {
	h.t.Helper()
	name, version := Name(secret), ""
	if kind != wire.Deleted {
		version = Version(n)
	}
	is := h.secrets[name]
	next := invalidation.SecretRow{
		Name: name, ARN: ARN(secret), Current: version, Previous: is.Current, LastChanged: changed, Changed: changed,
		State: invalidation.Active, Revision: h.head.Revision + 1, Sequence: is.Sequence,
	}
	if kind == wire.Deleted {
		next.State, next.Previous = invalidation.Deleted, ""
	}
	row, err := h.Store.Append(h.t.Context(), invalidation.Append{
		Head: h.head, Secrets: []invalidation.SecretRow{next}, Causes: []invalidation.Cause{cause},
		Row: wire.Row{
			Schema: wire.Schema, Env: Env, Domain: Domain, Revision: h.head.Revision + 1, PreviousHash: h.head.Hash, Time: appended,
			Changes: []wire.Change{{Name: name, Kind: kind, VersionID: version, At: changed}},
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	next.Sequence++
	h.secrets[name] = next
	h.head = invalidation.Position{Revision: row.Revision, Hash: row.Hash}
	return row
}

// Note writes down how a secret stands without a revision: as it was, but for what edit changes.
func (h *History) Note(secret string, edit func(*invalidation.SecretRow)) {
	h.t.Helper()
	is := h.secrets[Name(secret)]
	is.Name = Name(secret)
	edit(&is)
	if err := h.Store.Note(h.t.Context(), is); err != nil {
		h.t.Fatal(err)
	}
	is.Sequence++
	h.secrets[is.Name] = is
}

// Record writes what became of a row's deliveries.
func (h *History) Record(row wire.Row, deliveries ...invalidation.Delivery) {
	h.t.Helper()
	for i := range deliveries {
		deliveries[i].Revision, deliveries[i].Hash = row.Revision, row.Hash
	}
	if err := h.Store.Record(h.t.Context(), deliveries); err != nil {
		h.t.Fatal(err)
	}
}

// Deliver records the same and closes the fan-out.
func (h *History) Deliver(row wire.Row, deliveries ...invalidation.Delivery) {
	h.t.Helper()
	h.Record(row, deliveries...)
	if err := h.Store.Close(h.t.Context(), invalidation.Fanout{Position: invalidation.Position{Revision: row.Revision, Hash: row.Hash}}); err != nil {
		h.t.Fatal(err)
	}
}

// Holds has a manifest hold, by which services are subscribed to all of the domain's secrets.
func (h *History) Holds(is invalidation.Holding, services ...string) {
	h.t.Helper()
	text := fmt.Sprintf("apiVersion: secret-broadcaster/v1\nowner: payments-oncall@bank.example\nenv: %s\ndomain: %s\nservices:", Env, Domain)
	for _, name := range services {
		text += fmt.Sprintf("\n  - name: %s\n    secrets: [\"**\"]", name)
	}
	if len(services) == 0 {
		text += " []"
	}
	is.Digest = subscribers.Digest([]byte(text))
	if err := h.Store.Keep(h.t.Context(), []byte(text)); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Store.Hold(h.t.Context(), is, nil); err != nil {
		h.t.Fatal(err)
	}
}

// Acked is a delivery to a service's alias live that an environment has acknowledged, and what that did about the change.
func Acked(row wire.Row, service, environment string, after time.Duration, outcome wire.Outcome) invalidation.Delivery {
	ack := wire.Ack{
		Schema: wire.Schema, Client: "go/1.0.0", Service: service, Function: FunctionARN(service), Environment: environment,
		LogStream: LogStream(environment), Revision: row.Revision, Hash: row.Hash,
		Secrets: []wire.SecretOutcome{{Name: row.Changes[0].Name, Outcome: outcome}},
	}
	if outcome == wire.Applied {
		ack.Secrets[0].VersionID, ack.Secrets[0].Verified = row.Changes[0].VersionID, true
	}
	return invalidation.Delivery{
		Subscription: service, Function: service + ":live", Outcome: invalidation.Acknowledged, Attempts: 1, Time: row.Time.Add(after), Ack: &ack,
	}
}

// Owed is a delivery that failed, is pending or was skipped, and why.
func Owed(row wire.Row, service string, after time.Duration, outcome invalidation.Outcome, reason invalidation.Reason) invalidation.Delivery {
	return invalidation.Delivery{
		Subscription: service, Function: service, Outcome: outcome, Reason: reason, Attempts: 3, Time: row.Time.Add(after),
	}
}

// Holding is what an environment reports of a secret whose n-th version it serves.
func Holding(secret string, n int) wire.SecretOutcome {
	return wire.SecretOutcome{Name: Name(secret), VersionID: Version(n), Outcome: wire.Applied, Verified: true}
}

// LogStream is that of an environment.
func LogStream(environment string) string { return "2026/11/23/[$LATEST]" + environment }

// Report is what a well environment says of itself.
func Report(service, environment string, at time.Time, revision int64, secrets ...wire.SecretOutcome) wire.Report {
	return wire.Report{
		Schema: wire.Schema, Client: "go/1.0.0", Env: Env, Domain: Domain, Service: service, Function: FunctionARN(service), Version: "$LATEST",
		Environment: environment, LogStream: LogStream(environment), TakesInvalidations: true, Mode: "on", Started: at.Add(-time.Hour), Time: at,
		Revision: revision, CheckEverySeconds: 2, MaxTTLSeconds: 300, Secrets: secrets, Counts: wire.Counts{Checks: 100},
	}
}

// Report writes reports in the place of those before.
func (h *History) Report(reports ...wire.Report) {
	h.t.Helper()
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	for _, r := range reports {
		data, err := json.Marshal(r)
		if err != nil {
			h.t.Fatal(err)
		}
		if _, err := h.client.PutItem(h.t.Context(), &awsdynamodb.PutItemInput{TableName: aws.String(ReportsTable), Item: map[string]types.AttributeValue{
			"pk": text(wire.ReportPartition(r.Environment)), "sk": text(wire.ReportKey(r.Service, r.Environment)), "data": text(string(data)),
		}}); err != nil {
			h.t.Fatal(err)
		}
	}
}
