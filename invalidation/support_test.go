package invalidation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	awssecretsmanager "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/secretsmanager"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const (
	changesTable    = "prod-payments-changes"
	operationsTable = "prod-payments-operations"

	neon   = "/bank/prod/payments/neon/connection-string"
	stripe = "/bank/prod/payments/stripe/api-key"

	// late is how long Secrets Manager's answers may be of before a change, as the broadcaster has it by default.
	late = time.Minute
)

var errInjected = errors.New("injected by the test")

// A world is what is around a broadcaster: the local DynamoDB and Secrets Manager behind the real edges, and a function
// that answers pushes.
type world struct {
	t       *testing.T
	tables  *tables.Tables
	client  *awsdynamodb.Client
	store   *dynamodb.Store
	secrets *secrets.Manager

	lag       atomic.Int64 // how far DescribeSecret is behind
	listLag   atomic.Int64 // how far ListSecrets is behind
	conflicts atomic.Int64 // how many transactions to come meet another one

	mu     sync.Mutex
	pushed []wire.Invalidation
}

// inWorld runs a test where time passes only while everybody waits.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	var err error
	w.tables, err = tables.Open(tables.Config{Conflict: func([]string) bool { return w.conflicts.Add(-1) >= 0 }})
	if err != nil {
		t.Fatal(err)
	}
	w.client = awsdynamodb.New(awsdynamodb.Options{
		Region: "eu-west-2", Credentials: anybody(), RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: w.tables.RoundTripper()},
	})
	if err := w.tables.CreateTables("pk", "sk", changesTable, operationsTable); err != nil {
		t.Fatal(err)
	}
	w.store = dynamodb.New(w.client, changesTable, operationsTable)
	var versions atomic.Int64
	w.secrets = secrets.New(secrets.Config{
		VersionID: func() string { return version(int(versions.Add(1))) },
		Lag: func(r secrets.Read) time.Duration {
			if r.Kind == secrets.List {
				return time.Duration(w.listLag.Load())
			}
			return time.Duration(w.lag.Load())
		},
	})
	time.Sleep(time.Hour) // so that no time is the zero of anything
	return w
}

func anybody() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider("placeholder", "placeholder", "")
}

// version is the id of the nth version that the world's Secrets Manager made.
func version(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// describer and lister are the real edges to the world's Secrets Manager.
func (w *world) describer() *secretsmanager.Describer { return secretsmanager.New(w.vault()) }
func (w *world) lister() *secretsmanager.Lister       { return secretsmanager.NewLister(w.vault()) }

func (w *world) vault() *awssecretsmanager.Client {
	return awssecretsmanager.New(awssecretsmanager.Options{
		Region: "eu-west-2", Credentials: anybody(), RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: w.secrets.RoundTripper()},
	})
}

// broadcaster returns a new one, as another process would have it: nothing but the world is shared.
func (w *world) broadcaster(edits ...func(*invalidation.Config)) *invalidation.Broadcaster {
	w.t.Helper()
	cfg := invalidation.Config{
		Account: "111122223333", Region: "eu-west-2", Env: "prod", Domain: "payments",
		Secrets: w.describer(), Log: w.store, Fanouts: w.store, Pusher: w, Audience: everybody(), Lister: w.lister(), Sweeps: w.store, Control: w.store,
		Subscribed: w.packaged(subscribed(w.t, subscribers.Service{Name: "payments-api", Secrets: []string{"**"}})),
		Logger:     slog.New(slog.DiscardHandler),
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	b, err := invalidation.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// packaged are subscriptions that hold as long as none are applied.
func (w *world) packaged(s *subscribers.Subscriptions) *invalidation.Subscribed {
	return packagedOn(w.store, s)
}

func packagedOn(m invalidation.Manifests, s *subscribers.Subscriptions) *invalidation.Subscribed {
	return invalidation.NewSubscribed("prod", "payments", m, invalidation.Packaged{Subscriptions: s})
}

func subscribed(t *testing.T, services ...subscribers.Service) *subscribers.Subscriptions {
	t.Helper()
	return manifested(t, subscribers.Manifest{Services: services})
}

func manifested(t *testing.T, m subscribers.Manifest) *subscribers.Subscriptions {
	t.Helper()
	m.APIVersion, m.Env, m.Domain, m.Owner = subscribers.APIVersion, "prod", "payments", "payments-oncall@bank.example"
	for i, service := range m.Services {
		if service.Function == "" {
			m.Services[i].Function = service.Name // not the reporting ones: audience_test.go has those
		}
	}
	s, err := subscribers.New(m, "prod", "payments")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Push is the function's answer: the ack of an environment that has read the log up to the push.
func (w *world) Push(_ context.Context, function string, payload []byte) ([]byte, error) {
	inv, ours, err := wire.ParseInvalidation(payload)
	if !ours || err != nil {
		w.t.Errorf("%s was pushed what is no invalidation: %v", function, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushed = append(w.pushed, inv)
	return encoded(w.t, ackOf(inv.Detail)), nil
}

// pushes returns the revisions that were pushed.
func (w *world) pushes() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	revisions := make([]int64, 0, len(w.pushed))
	for _, inv := range w.pushed {
		revisions = append(revisions, inv.Detail.Revision)
	}
	return revisions
}

// What happens to a secret. Each takes its time, so that no two have the same date.

func (w *world) create(name string) {
	w.t.Helper()
	_, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: "placeholder"})
	w.done(err)
}

func (w *world) put(name string, labels ...string) {
	w.t.Helper()
	_, err := w.secrets.PutSecretValue(secrets.PutSecretValueInput{SecretID: name, SecretString: "placeholder", VersionStages: labels})
	w.done(err)
}

func (w *world) moveCurrent(name string, from, to int) {
	w.t.Helper()
	_, err := w.secrets.UpdateSecretVersionStage(secrets.UpdateSecretVersionStageInput{
		SecretID: name, VersionStage: secrets.Current, RemoveFromVersionID: version(from), MoveToVersionID: version(to),
	})
	w.done(err)
}

func (w *world) delete(name string) {
	w.t.Helper()
	_, err := w.secrets.DeleteSecret(secrets.DeleteSecretInput{SecretID: name})
	w.done(err)
}

// erase deletes a secret so that DescribeSecret does not find it any more.
func (w *world) erase(name string) {
	w.t.Helper()
	_, err := w.secrets.DeleteSecret(secrets.DeleteSecretInput{SecretID: name, ForceDeleteWithoutRecovery: true})
	w.done(err)
}

func (w *world) restore(name string) {
	w.t.Helper()
	_, err := w.secrets.RestoreSecret(name)
	w.done(err)
}

func (w *world) done(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
}

// event is AWS's own about the last change of a secret, or, of one that is gone, of when it went. It is dated to the second.
func (w *world) event(kind events.Kind, name, versionID string) events.Signal {
	at := time.Now().Add(-10 * time.Second)
	if is, err := w.secrets.DescribeSecret(name); err == nil {
		at = is.LastChangedDate
	}
	return events.Signal{
		Kind: kind, Name: name, Env: "prod", Domain: "payments", VersionID: versionID, Trusted: true,
		Time: at.Truncate(time.Second), EventID: "event-1", DetailType: "Secret Label Updated",
	}
}

// hint is what anybody may send.
func hint(name string) events.Signal {
	return events.Signal{
		Kind: events.Check, Name: name, Env: "prod", Domain: "payments", Time: time.Now(), EventID: "event-2", DetailType: events.HintDetailType,
	}
}

// confirm confirms signals of which each must end as wanted.
func (w *world) confirm(b *invalidation.Broadcaster, want invalidation.Handling, signals ...events.Signal) {
	w.t.Helper()
	handled, err := b.Confirm(w.t.Context(), signals)
	for i, got := range handled {
		if got != want {
			w.t.Errorf("%s: got %s (%v), want %s", signals[i].Name, got, err, want)
		}
	}
	if (err != nil) != (want == invalidation.Failed) {
		w.t.Errorf("%s with error %v", want, err)
	}
}

// deliver delivers, and must not fail.
func (w *world) deliver(b *invalidation.Broadcaster) {
	w.t.Helper()
	if err := b.Deliver(w.t.Context()); err != nil {
		w.t.Errorf("delivering: %v", err)
	}
}

// rows returns the whole log as it stands in the table, after proving that each row is of the form and hash it says, and
// in its place in the chain.
func (w *world) rows() []wire.Row {
	w.t.Helper()
	return chain(w.t, w.client)
}

func chain(t *testing.T, client *awsdynamodb.Client) []wire.Row {
	t.Helper()
	var rows []wire.Row
	pages := awsdynamodb.NewQueryPaginator(client, &awsdynamodb.QueryInput{
		TableName: aws.String(changesTable), KeyConditionExpression: aws.String("pk = :log"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":log": &types.AttributeValueMemberS{Value: wire.LogPartition}},
	})
	previous := ""
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			body, hash := text(t, item, "detail"), text(t, item, "hash")
			row, err := wire.OpenRow([]byte(body), hash)
			revision := int64(len(rows) + 1)
			switch {
			case err != nil:
				t.Fatalf("revision %d: %v", revision, err)
			case wire.Verify([]byte(body), hash) != nil:
				t.Errorf("revision %d is not what its hash was made of", revision)
			case row.Revision != revision || text(t, item, "sk") != wire.RevisionKey(revision):
				t.Errorf("row %d calls itself %d and stands at %s", revision, row.Revision, text(t, item, "sk"))
			case row.PreviousHash != previous:
				t.Errorf("revision %d stands on %q, the row before is %q", revision, row.PreviousHash, previous)
			case len(body) > wire.MaxRowBytes:
				t.Errorf("revision %d has %d bytes, more than %d", revision, len(body), wire.MaxRowBytes)
			}
			previous = hash
			rows = append(rows, row)
		}
	}
	return rows
}

func text(t *testing.T, item map[string]types.AttributeValue, attribute string) string {
	t.Helper()
	value, ok := item[attribute].(*types.AttributeValueMemberS)
	if !ok {
		t.Fatalf("%s is %T", attribute, item[attribute])
	}
	return value.Value
}

// changes returns what the log says, one line per change.
func (w *world) changes() []string {
	w.t.Helper()
	lines := []string{}
	for _, row := range w.rows() {
		for _, c := range row.Changes {
			lines = append(lines, fmt.Sprintf("%d %s %s %s", row.Revision, c.Kind, c.Name, c.VersionID))
		}
	}
	return lines
}

// row returns what the store keeps of a secret.
func (w *world) row(name string) invalidation.SecretRow {
	w.t.Helper()
	snapshot, err := w.store.Load(w.t.Context(), []string{name})
	if err != nil {
		w.t.Fatal(err)
	}
	return snapshot.Secrets[name]
}

// open returns the revisions whose fan-out is open.
func (w *world) open() []int64 {
	w.t.Helper()
	fanouts, err := w.store.Open(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	revisions := []int64{}
	for _, f := range fanouts {
		revisions = append(revisions, f.Revision)
	}
	return revisions
}

// deliveries returns what became of a revision as it stands in the log.
func (w *world) deliveries(revision int64) []invalidation.Delivery {
	w.t.Helper()
	all, err := w.store.Deliveries(w.t.Context(), revision)
	if err != nil {
		w.t.Fatal(err)
	}
	row, err := w.store.Row(w.t.Context(), revision)
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(d invalidation.Delivery) bool { return d.Hash != row.Hash })
}

// drop takes a table away.
func (w *world) drop(table string) {
	w.t.Helper()
	if _, err := w.client.DeleteTable(w.t.Context(), &awsdynamodb.DeleteTableInput{TableName: &table}); err != nil {
		w.t.Fatal(err)
	}
}
