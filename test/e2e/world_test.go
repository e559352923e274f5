package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bank-platform/secret-broadcaster/internal/awstest"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// The account is that of the events in package events' testdata.
const account, region = "111122223333", "eu-west-2"

// A world is an account with the broadcasters of two domains and the functions of their teams.
type world struct {
	*testing.T
	dir, endpoint, program string
	services               []service
	seen                   map[string]int // how many rows of each secret were waited for

	vault     *secretsmanager.Client
	functions *lambda.Client
	bus       *eventbridge.Client
	queues    *sqs.Client
	roles     *iam.Client
	payments  domain
	archive   domain // of a similar name
}

// A domain is what its broadcaster and its clients have written.
type domain struct {
	*dynamodb.Store
	reports *dynamodb.Reports
	tables  *awsdynamodb.Client
	name    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{T: t, dir: dir, endpoint: emulated(t), seen: map[string]int{}}
	on := aws.Config{Region: region, BaseEndpoint: &w.endpoint, HTTPClient: awstest.Client(), Credentials: credentials.NewStaticCredentialsProvider(account, "x", "")}
	w.vault, w.functions, w.bus = secretsmanager.NewFromConfig(on), lambda.NewFromConfig(on), eventbridge.NewFromConfig(on)
	w.queues, w.roles = sqs.NewFromConfig(on), iam.NewFromConfig(on)
	tables := awsdynamodb.NewFromConfig(on)
	of := func(name string) domain {
		return domain{
			dynamodb.New(tables, "prod-"+name+"-changes", "prod-"+name+"-operations"), dynamodb.NewReports(tables, "prod-"+name+"-reports"), tables, name,
		}
	}
	w.payments, w.archive = of("payments"), of("payments-archive")
	w.services = services(t, dir)
	w.program = goProgram(t, dir, "command-line", "./cmd/broadcaster", "")
	stage(t, dir, w.services)
	return w
}

// in returns the world in a step of the test.
func (w *world) in(t *testing.T) *world {
	step := *w
	step.T = t
	return &step
}

// here is the environment of somebody in the account.
func (w *world) here() []string {
	return []string{
		"PATH=" + filepath.Join(w.dir, "bin") + ":" + os.Getenv("PATH"), "AWS_ENDPOINT_URL=" + w.endpoint, "AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region,
		"AWS_ACCESS_KEY_ID=" + account, "AWS_SECRET_ACCESS_KEY=x", "AWS_PAGER=",
	}
}

// command runs the command line of the broadcaster.
func (w *world) command(arguments ...string) (stdout string, code int) {
	w.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(w.Context(), w.program, arguments...)
	cmd.Env = append(os.Environ(), w.here()...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code tells
	if code = cmd.ProcessState.ExitCode(); code > 1 {
		w.Fatalf("%s: %s", cmd, errs.String())
	}
	return out.String(), code
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// as is a connection string of a role. What stands after the role is found nowhere but here and in the functions.
func as(role string) *string {
	return aws.String("postgres://" + role + ":" + password + "@db.example/payments")
}

const password = "hunter2-hunter2"

// later waits for the second after a secret's newest change. The emulator dates changes by whole seconds, AWS by milliseconds; the
// broadcaster takes another answer of the same date for one that is not settled, and would ask again a minute later.
func (w *world) later(name string) {
	w.Helper()
	until(w, "another second", func() bool { return time.Now().Unix() > w.described(name).LastChangedDate.Unix() })
}

// put gives a secret a new version.
func (w *world) put(name, role string) (version string) {
	w.Helper()
	w.later(name)
	out, err := w.vault.PutSecretValue(w.Context(), &secretsmanager.PutSecretValueInput{SecretId: &name, SecretString: as(role)})
	w.must(err)
	return *out.VersionId
}

// move moves AWSCURRENT, as a rotation's last step and a roll back do.
func (w *world) move(name, from, to string) {
	w.Helper()
	w.later(name)
	_, err := w.vault.UpdateSecretVersionStage(w.Context(), &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &name, VersionStage: aws.String("AWSCURRENT"), RemoveFromVersionId: &from, MoveToVersionId: &to,
	})
	w.must(err)
}

// served invokes a service and returns as whom it pays, or what it says of its failure.
func (w *world) served(by, secret string) (role, failure string) {
	w.Helper()
	payload, err := json.Marshal(map[string]string{"id": "1", "secret": secret})
	w.must(err)
	out, err := w.functions.Invoke(w.Context(), &lambda.InvokeInput{FunctionName: &by, Qualifier: aws.String(live), Payload: payload})
	w.must(err)
	if out.FunctionError != nil {
		return "", string(out.Payload)
	}
	var is struct{ As string }
	if err := json.Unmarshal(out.Payload, &is); err != nil || is.As == "" {
		w.Fatalf("%s answers %s", by, out.Payload)
	}
	return is.As, ""
}

// wantServed: whoever is asked pays as this role.
func (w *world) wantServed(secret, role string, by ...string) {
	w.Helper()
	for _, name := range by {
		if got, failure := w.served(name, secret); got != role {
			w.Errorf("%s pays as %q, want %s %s", name, got, role, failure)
		}
	}
}

// rows returns a domain's log.
func (w *world) rows(d domain) []wire.Row {
	w.Helper()
	var all []wire.Row
	for {
		row, err := d.Row(w.Context(), int64(len(all))+1)
		w.must(err)
		if row.Revision == 0 {
			return all
		}
		all = append(all, row)
	}
}

// told returns the rows that tell of a secret.
func (w *world) told(d domain, name string) []wire.Row {
	w.Helper()
	return slices.DeleteFunc(w.rows(d), func(row wire.Row) bool {
		return !slices.ContainsFunc(row.Changes, func(c wire.Change) bool { return c.Name == name })
	})
}

// appended waits until one more row tells of a secret than a step has waited for before, and returns its revision. It must tell this.
func (w *world) appended(d domain, name string, kind wire.Kind, version string) (revision int64) {
	w.Helper()
	var rows []wire.Row
	until(w, d.name+"'s log to tell that "+name+" is "+string(kind), func() bool {
		rows = w.told(d, name)
		return len(rows) > w.seen[name]
	})
	w.seen[name]++
	row := rows[w.seen[name]-1]
	if len(rows) > w.seen[name] || len(row.Changes) != 1 || row.Changes[0].Kind != kind || row.Changes[0].VersionID != version {
		w.Fatalf("%s's log tells of %s %+v, want it %s with version %q in the last of %d rows", d.name, name, rows, kind, version, w.seen[name])
	}
	return row.Revision
}

// acknowledged waits until every subscription has acknowledged a revision, and returns the deliveries.
func (w *world) acknowledged(d domain, revision int64) []invalidation.Delivery {
	w.Helper()
	subscribed := 0
	for _, s := range w.services {
		if s.domain == d.name {
			subscribed++
		}
	}
	var all []invalidation.Delivery
	until(w, "the acks of "+d.name+"'s services", func() bool {
		var err error
		all, err = d.Deliveries(w.Context(), revision)
		w.must(err)
		done := 0
		for _, delivery := range all {
			switch delivery.Outcome {
			case invalidation.Acknowledged:
				done++
			case invalidation.Undelivered, invalidation.Skipped:
				w.Fatalf("%+v", delivery)
			case invalidation.Pending:
			}
		}
		return done == subscribed
	})
	return all
}

// causes returns who is to blame for a revision, by its audit record.
func (w *world) causes(d domain, revision int64) (causes []invalidation.Cause) {
	w.Helper()
	for _, item := range w.items(d, "operations") {
		if item["pk"] == "audit" && item["sk"] == wire.RevisionKey(revision) {
			w.must(json.Unmarshal([]byte(item["data"]), &causes))
		}
	}
	return causes
}

// items returns all that a table holds as text.
func (w *world) items(d domain, table string) (all []map[string]string) {
	w.Helper()
	pages := awsdynamodb.NewScanPaginator(d.tables, &awsdynamodb.ScanInput{TableName: aws.String("prod-" + d.name + "-" + table)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.Context())
		w.must(err)
		for _, item := range page.Items {
			texts := map[string]string{}
			for name, value := range item {
				if text, is := value.(*types.AttributeValueMemberS); is {
					texts[name] = text.Value
				}
			}
			all = append(all, texts)
		}
	}
	return all
}

// logged returns the lines of a function of the payments' stack, as people on call ask for them.
func (w *world) logged(function string) []string {
	w.Helper()
	out := run(w.T, w.dir, w.here(), "aws", "logs", "filter-log-events", "--log-group-name", "/aws/lambda/prod-payments-"+function, "--query", "events[].message", "--output", "json")
	var lines []string
	w.must(json.Unmarshal([]byte(out), &lines))
	return lines
}

// about waits until the log has so many lines with a text, and returns them.
func (w *world) about(text string, least int) (lines []string) {
	w.Helper()
	until(w, "the broadcaster to log "+text, func() bool {
		lines = nil
		for _, line := range w.logged("broadcaster") {
			if strings.Contains(line, text) {
				lines = append(lines, line)
			}
		}
		return len(lines) >= least
	})
	return lines
}

func (w *world) described(name string) *secretsmanager.DescribeSecretOutput {
	w.Helper()
	out, err := w.vault.DescribeSecret(w.Context(), &secretsmanager.DescribeSecretInput{SecretId: &name})
	w.must(err)
	return out
}

// current returns which version is AWSCURRENT.
func (w *world) current(name string) string {
	w.Helper()
	for version, labels := range w.described(name).VersionIdsToStages {
		if slices.Contains(labels, "AWSCURRENT") {
			return version
		}
	}
	w.Fatalf("%s has no current version", name)
	return ""
}
