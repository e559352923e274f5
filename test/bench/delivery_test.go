package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const (
	functions = 1000
	pushes    = 50 // at once
	working   = 5 * time.Millisecond
)

// BenchmarkDelivery is the fan-out of one change to 1,000 functions that take 5 ms each, beside bare calls of Invoke with the
// same client, payload and concurrency. What is more is everything else a delivery is: reading what is owed, judging each
// ack, writing 1,000 outcomes, closing the fan-out.
//
//	tables=here   the stand-in of DynamoDB answers at once, but works on the cores that the pushes need
//	tables=far    each call of DynamoDB takes 5 ms, and what is written there takes none of our cores
func BenchmarkDelivery(b *testing.B) {
	for _, tables := range []string{"here", "far"} {
		b.Run("tables="+tables, func(b *testing.B) {
			local, _ := newTables(b)
			far := &farTables{next: local.RoundTripper(), takes: working}
			through := storeOn(local.RoundTripper())
			if tables == "far" {
				through = storeOn(far)
			}
			measureDelivery(b, storeOn(local.RoundTripper()), through, far)
		})
	}
}

func measureDelivery(b *testing.B, store, through *dynamodb.Store, far *farTables) {
	b.Helper()
	answering := &functionsThatAck{}
	client := answering.client(b)
	broadcaster := newBroadcaster(b, through, client)
	names := make([]string, functions)
	for i := range names {
		names[i] = functionName(i)
	}
	var c comparison
	for b.Loop() {
		row := appendChange(b, store, connectionString)
		answering.expect(b, row)
		payload, err := json.Marshal(wire.Invalidation{Source: wire.Source, DetailType: wire.DetailType, Resources: []string{}, Detail: row})
		if err != nil {
			b.Fatal(err)
		}
		bare := timed(func() { invokeAll(b, client, names, payload) })
		delivered := timed(func() {
			if err := broadcaster.Deliver(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
		c.add(delivered, bare)
		far.arrive(b)
		wantDelivered(b, store, row.Revision)
	}
	c.report(b, "bare-Invoke", 1)
}

// farTables take their time for each call. A BatchWriteItem is passed on later, so that what is measured has the machine for
// itself.
type farTables struct {
	next  http.RoundTripper
	takes time.Duration

	mu      sync.Mutex
	waiting []*http.Request
}

// RoundTrip implements http.RoundTripper.
func (f *farTables) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(f.takes)
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".BatchWriteItem") {
		return f.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	later := r.Clone(context.WithoutCancel(r.Context()))
	later.Body = io.NopCloser(bytes.NewReader(body))
	f.mu.Lock()
	f.waiting = append(f.waiting, later)
	f.mu.Unlock()
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: io.NopCloser(strings.NewReader(`{"UnprocessedItems":{}}`)), Request: r,
	}, nil
}

// arrive passes on what waits.
func (f *farTables) arrive(b *testing.B) {
	b.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.waiting {
		if answer, err := f.next.RoundTrip(r); err != nil || answer.StatusCode != http.StatusOK {
			b.Fatal(answer, err)
		}
	}
	f.waiting = nil
}

func functionName(i int) string { return fmt.Sprintf("payments-%04d", i) }

// functionsThatAck answer each push after the time they work with an ack of the newest row. They share the machine with what
// is measured, so they do as little as they can.
type functionsThatAck struct{ ack atomic.Pointer[[]byte] }

func (f *functionsThatAck) expect(b *testing.B, row wire.Row) {
	b.Helper()
	ack := wire.Ack{
		Schema: wire.Schema, Client: "bench", Service: "payments-api", Environment: "environment-1", Revision: row.Revision, Hash: row.Hash,
		Secrets: []wire.SecretOutcome{{Name: connectionString, Outcome: wire.Applied, VersionID: row.Changes[0].VersionID, Verified: true}},
	}
	answer, err := json.Marshal(ack)
	if err != nil {
		b.Fatal(err)
	}
	f.ack.Store(&answer)
}

func (f *functionsThatAck) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) //nolint:errcheck // what is missing is missed by nobody
	time.Sleep(working)
	w.Write(*f.ack.Load()) //nolint:errcheck // the client sees it
}

// client returns a client of Lambda as the broadcaster uses one.
func (f *functionsThatAck) client(b *testing.B) *awslambda.Client {
	b.Helper()
	server := httptest.NewServer(f)
	b.Cleanup(server.Close)
	return awslambda.NewFromConfig(awsConfig(nil), func(o *awslambda.Options) {
		o.BaseEndpoint, o.Retryer = &server.URL, aws.NopRetryer{}
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = pushes })
	})
}

func newBroadcaster(b *testing.B, store *dynamodb.Store, client *awslambda.Client) *invalidation.Broadcaster {
	b.Helper()
	m := subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: "prod", Domain: "payments", Owner: "payments-oncall@bank.example"}
	for i := range functions {
		m.Services = append(m.Services, subscribers.Service{Name: functionName(i), Function: functionName(i), Secrets: []string{"neon/*"}})
	}
	subscriptions, err := subscribers.New(m, "prod", "payments")
	if err != nil {
		b.Fatal(err)
	}
	broadcaster, err := invalidation.New(invalidation.Config{
		Logger:  slog.New(slog.NewJSONHandler(io.Discard, nil)), // as in Lambda, but for what Lambda does with it
		Account: "111122223333", Region: "eu-west-2", Env: "prod", Domain: "payments",
		Secrets: noSecrets{}, Lister: noList{}, Log: store, Fanouts: store, Sweeps: store, Control: store, Pusher: lambda.New(client), MaxPushes: pushes,
		Subscribed: invalidation.NewSubscribed("prod", "payments", store, invalidation.Packaged{Subscriptions: subscriptions}),
		Audience:   invalidation.NewAudience("prod", "payments", willing{}, willing{}, nil),
	})
	if err != nil {
		b.Fatal(err)
	}
	return broadcaster
}

// willing is a function that takes invalidations, by whatever name it is looked at. What looking costs is not measured: it
// is asked once in ten seconds.
type willing struct{}

const willingARN = "arn:aws:lambda:eu-west-2:111122223333:function:willing"

func (willing) Look(context.Context, string) (invalidation.FunctionState, error) {
	return invalidation.FunctionState{
		ARN: willingARN, Versions: []invalidation.FunctionVersion{{Version: "1"}},
		Tags: map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: "prod", invalidation.DomainTag: "payments"},
	}, nil
}

func (willing) Of(context.Context, string) ([]wire.Report, error) {
	return []wire.Report{{TakesInvalidations: true, Function: willingARN, Version: "1", Started: time.Unix(1, 0)}}, nil
}

func (willing) All(context.Context) ([]wire.Report, error) { return nil, nil }

// noList is not asked by a delivery.
type noList struct{ invalidation.Lister }

// noSecrets is not asked by a delivery.
type noSecrets struct{ invalidation.Describer }

// invokeAll calls every function, with as many callers as the broadcaster has.
func invokeAll(b *testing.B, client *awslambda.Client, names []string, payload []byte) {
	ctx := b.Context()
	work := make(chan string)
	var wg sync.WaitGroup
	for range pushes {
		wg.Go(func() {
			for name := range work {
				out, err := client.Invoke(ctx, &awslambda.InvokeInput{FunctionName: &name, Payload: payload})
				if err != nil || len(out.Payload) == 0 {
					b.Error(err)
				}
			}
		})
	}
	for _, name := range names {
		work <- name
	}
	close(work)
	wg.Wait()
}

// wantDelivered ends the benchmark if what was measured is not a whole delivery.
func wantDelivered(b *testing.B, store *dynamodb.Store, revision int64) {
	b.Helper()
	open, err := store.Open(b.Context())
	if err != nil || len(open) != 0 {
		b.Fatalf("%d fan-outs are open, %v", len(open), err)
	}
	deliveries, err := store.Deliveries(b.Context(), revision)
	if err != nil || len(deliveries) != functions {
		b.Fatalf("%d deliveries, %v", len(deliveries), err)
	}
	for _, d := range deliveries {
		if d.Outcome != invalidation.Acknowledged || d.Attempts != 1 {
			b.Fatalf("%+v", d)
		}
	}
}
