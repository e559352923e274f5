package dynamodb_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

const reportsTable = "reports"

// A reported is a world with a table of reports, and the client's own way to write them.
type reported struct {
	*world
	reports *dynamodb.Reports
	client  secretcache.Reports
}

func newReported(t *testing.T) reported {
	t.Helper()
	w := newWorld(t)
	if err := w.local.CreateTables("pk", "sk", reportsTable); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{
		"SECRET_BROADCAST_TABLE": changesTable, "SECRET_BROADCAST_REPORTS_TABLE": reportsTable,
		"SECRET_BROADCAST_ENV": "prod", "SECRET_BROADCAST_DOMAIN": "payments", "POWERTOOLS_SERVICE_NAME": "payments-api",
	}
	cfg, err := secretcacheaws.ConfigFrom(aws.Config{
		Region: "eu-west-2", HTTPClient: &http.Client{Transport: w.transport.tables},
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	}, func(name string) string { return settings[name] })
	if err != nil {
		t.Fatal(err)
	}
	return reported{w, dynamodb.NewReports(clientOn(w.transport), reportsTable), cfg.Reports}
}

// put writes a report as a client does.
func (r reported) put(report wire.Report) {
	r.t.Helper()
	report.Schema = wire.Schema
	if err := r.client.Put(r.t.Context(), report); err != nil {
		r.t.Fatal(err)
	}
}

// inUse returns the secrets that all reports name, each once.
func (r reported) inUse() ([]string, error) {
	r.t.Helper()
	reports, err := r.reports.All(r.t.Context())
	var names []string
	for _, report := range reports {
		for _, secret := range report.Secrets {
			names = append(names, secret.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// environmentsOf returns which environments have reported of a service.
func (r reported) environmentsOf(service string) []string {
	r.t.Helper()
	all, err := r.reports.Of(r.t.Context(), service)
	if err != nil {
		r.t.Fatal(err)
	}
	environments := []string{}
	for _, report := range all {
		if report.Service != service {
			r.t.Errorf("a report of %s is among those of %s", report.Service, service)
		}
		environments = append(environments, report.Environment)
	}
	slices.Sort(environments)
	return environments
}

// TestReportsAreOfOneService: wherever its environments stand, and not of one whose name only begins like it. A service's
// name may itself hold what separates it from the environment's.
func TestReportsAreOfOneService(t *testing.T) {
	r := newReported(t)
	services := []string{"payments-api", "payments-api-batch", "payments", "payments-api#x", "payments-api#"}
	want := map[string][]string{"nobody": {}, "": {}}
	partitions := map[string]bool{}
	for i := range 100 {
		for _, service := range services {
			environment := fmt.Sprintf("%s-%03d", service, i)
			partitions[wire.ReportPartition(environment)] = true
			r.put(wire.Report{Service: service, Environment: environment})
			want[service] = append(want[service], environment)
		}
	}
	if len(partitions) != wire.ReportPartitions {
		t.Fatalf("the environments are in %d partitions: the test needs all %d", len(partitions), wire.ReportPartitions)
	}
	before := r.transport.count("Query")
	for service, environments := range want {
		if diff := cmp.Diff(environments, r.environmentsOf(service)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", service, diff)
		}
	}
	if got := r.transport.count("Query") - before; got != len(want)*wire.ReportPartitions {
		t.Errorf("%d queries, want %d for each of %d services", got, wire.ReportPartitions, len(want))
	}
}

// TestAReportIsTheNewestOfItsEnvironment, and comes back as it was written.
func TestAReportIsTheNewestOfItsEnvironment(t *testing.T) {
	r := newReported(t)
	report := wire.Report{Schema: wire.Schema, Service: "payments-api", Environment: "e1", Function: "arn", Version: "7", TakesInvalidations: true}
	for revision := range int64(3) {
		report.Revision = revision
		report.Secrets = []wire.SecretOutcome{{Name: neon, VersionID: fmt.Sprint(revision), Outcome: wire.Applied}}
		r.put(report)
	}
	got, err := r.reports.Of(t.Context(), "payments-api")
	if diff := cmp.Diff([]wire.Report{report}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// TestReportsOfEveryPage: DynamoDB's pages end at 1 MB.
func TestReportsOfEveryPage(t *testing.T) {
	r := newReported(t)
	const all = 8
	var (
		want   []string
		wanted = map[string]bool{}
	)
	for i := 0; len(want) < all; i++ {
		report := wire.Report{Service: "payments-api", Environment: fmt.Sprint("e", i)}
		if wire.ReportPartition(report.Environment) != wire.ReportPartition("e0") {
			continue
		}
		for n := range 500 {
			name := fmt.Sprintf("/bank/prod/payments/neon/%s-%d-%d", strings.Repeat("x", 400), i, n)
			report.Secrets = append(report.Secrets, wire.SecretOutcome{Name: name})
			wanted[name] = true
		}
		r.put(report)
		want = append(want, report.Environment)
	}
	slices.Sort(want)
	before := r.transport.count("Query")
	if diff := cmp.Diff(want, r.environmentsOf("payments-api")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if pages := r.transport.count("Query") - before; pages <= wire.ReportPartitions {
		t.Errorf("read %d pages: the test needs more than one of a partition", pages)
	}
	inUse, err := r.inUse()
	if err != nil || len(inUse) != len(wanted) {
		t.Errorf("%d secrets in use, %v; want %d", len(inUse), err, len(wanted))
	}
}

// TestSecretsInUse are those that any environment of any service holds: each once.
func TestSecretsInUse(t *testing.T) {
	r := newReported(t)
	if got, err := r.inUse(); err != nil || len(got) != 0 {
		t.Errorf("of nothing: got %v, %v", got, err)
	}
	r.put(wire.Report{Service: "payments-api", Environment: "e1", Secrets: []wire.SecretOutcome{{Name: stripe}, {Name: neon}}})
	r.put(wire.Report{Service: "payments-api", Environment: "e2", Secrets: []wire.SecretOutcome{{Name: neon}}})
	r.put(wire.Report{Service: "payments-batch", Environment: "e3", Secrets: []wire.SecretOutcome{{Name: "/bank/prod/payments/visa/key", Outcome: wire.Failed}}})
	r.put(wire.Report{Service: "payments-batch", Environment: "e4"})
	got, err := r.inUse()
	if diff := cmp.Diff([]string{neon, stripe, "/bank/prod/payments/visa/key"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// TestWhatIsNoReportIsIgnored: anybody with the clients' role can write to the table, and must not stop a push by it.
func TestWhatIsNoReportIsIgnored(t *testing.T) {
	r := newReported(t)
	r.put(wire.Report{Service: "payments-api", Environment: "e1", Secrets: []wire.SecretOutcome{{Name: neon}}})
	for i, foreign := range []types.AttributeValue{
		nil,
		&types.AttributeValueMemberN{Value: "1"},
		&types.AttributeValueMemberBOOL{Value: true},
		&types.AttributeValueMemberS{Value: "x"},
		&types.AttributeValueMemberS{Value: "null"},
		&types.AttributeValueMemberS{Value: "[]"},
		&types.AttributeValueMemberS{Value: "{}"},
		&types.AttributeValueMemberS{Value: `{"service":"payments-batch","environment":"forged"}`},
		&types.AttributeValueMemberS{Value: `{"service":"payments-api","environment":"forged","secrets":"all"}`},
		&types.AttributeValueMemberS{Value: `{"service":"payments-api","environment":"forged","started":"yesterday"}`},
	} {
		for _, partition := range wire.AllReportPartitions() {
			r.world.put(reportsTable, partition, wire.ReportKey("payments-api", fmt.Sprint("foreign-", i)), "data", foreign)
			r.world.put(reportsTable, partition, fmt.Sprint(i), "data", foreign)
		}
	}
	r.world.put(reportsTable, "another partition", wire.ReportKey("payments-api", "e2"), "data",
		&types.AttributeValueMemberS{Value: `{"service":"payments-api","environment":"e2","secrets":[{"name":"` + stripe + `"}]}`})
	if diff := cmp.Diff([]string{"e1"}, r.environmentsOf("payments-api")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	got, err := r.inUse()
	if diff := cmp.Diff([]string{neon}, got); err != nil || diff != "" {
		t.Errorf("in use: %v (-want +got)\n%s", err, diff)
	}
}

// TestReportsThatCannotBeRead are an error that says where: never as if nobody had reported.
func TestReportsThatCannotBeRead(t *testing.T) {
	r := newReported(t)
	r.transport.refuse(`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`)
	_, ofService := r.reports.Of(t.Context(), "payments-api")
	_, ofAll := r.reports.All(t.Context())
	for i, err := range []error{ofService, ofAll} {
		if err == nil || !strings.Contains(err.Error(), "reading report#0 of table reports: ") {
			t.Errorf("call %d: got %v", i, err)
		}
	}
}
