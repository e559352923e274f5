package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcacheaws"
)

const connectionString = "/bank/prod/payments/neon/connection-string"

// BenchmarkInvocation is what the client adds to an invocation, beside the same handler without the client. DynamoDB and
// Secrets Manager are behind TLS and a link with a round trip of 5 ms.
//
//	valid   the newest check is young enough: no request
//	busy    100 invocations a second: every 200th waits for a check
//	idle    the invocations are further apart than CheckEvery: each waits for a check, on the connection it has
//	thawed  the same, but the environment's connections ended while it was frozen: TCP, TLS and a request
//
// In all of them the handler reads the secret first: what it does before that, a check does not add to.
func BenchmarkInvocation(b *testing.B) {
	for _, test := range []struct {
		name   string
		apart  time.Duration // between two invocations
		frozen bool
		turn   int // invocations
	}{
		{"valid", 0, false, 1000},
		{"busy", 10 * time.Millisecond, false, 201}, // a check is valid for CheckEvery inclusive
		{"idle", 3 * time.Second, false, 1},
		{"thawed", 3 * time.Second, true, 1},
	} {
		b.Run(test.name, func(b *testing.B) {
			far := newFarAWS(b)
			cfg, clock := far.config(b), &steppedClock{began: time.Now()}
			if cfg.Clock = clock; test.apart == 0 {
				cfg.Clock, cfg.CheckEvery = nil, 24*time.Hour // reading the clock is part of what is measured
			}
			cache, with := wrapped(b, cfg)
			without := lambda.NewHandler(func(context.Context, payment) (int, error) { return len("value"), nil })
			trip, payload := roundTrips(b), event()
			invoke(b, with, payload) // the value is fetched, and the connections are there
			var (
				c     comparison
				trips []float64
			)
			for b.Loop() {
				trips = append(trips, float64(trip()))
				if test.frozen {
					far.link.drop()
				}
				c.add(timed(func() {
					for range test.turn {
						clock.pass(test.apart)
						invoke(b, with, payload)
					}
				}), timed(func() {
					for range test.turn {
						invoke(b, without, payload)
					}
				}))
			}
			counts, want := cache.Counts(), int64(1)
			if test.apart > 0 {
				want += int64(len(trips))
			}
			if counts.Checks != want || counts.CheckFailures != 0 {
				b.Fatalf("%d checks and %d failures, want %d checks", counts.Checks, counts.CheckFailures, want)
			}
			c.reportTimes(b, "without", test.turn)
			if test.turn == 1 {
				b.ReportMetric(median(c.added)/median(trips), "x-round-trip")
			}
		})
	}
}

// BenchmarkFirstInvocation is a new environment's: its own configuration, its first connections and its first read of the
// secret, beside a handler that asks Secrets Manager itself.
func BenchmarkFirstInvocation(b *testing.B) {
	far, trip, payload := newFarAWS(b), roundTrips(b), event()
	var (
		c     comparison
		trips []float64
	)
	for b.Loop() {
		trips = append(trips, float64(trip()))
		c.add(timed(func() {
			_, with := wrapped(b, far.config(b))
			invoke(b, with, payload)
		}), timed(func() {
			bare := far.config(b).Secrets
			invoke(b, lambda.NewHandler(func(ctx context.Context, _ payment) (int, error) {
				got, err := bare.Get(ctx, connectionString, "")
				return len(got.Text), err
			}), payload)
		}))
	}
	c.reportTimes(b, "bare", 1)
	b.ReportMetric(median(c.added)/median(trips), "x-round-trip")
}

type payment struct {
	Account string `json:"account"`
	Amount  int    `json:"amount"`
	Note    string `json:"note"`
}

func event() []byte {
	return []byte(`{"account":"GB33","amount":12,"note":"` + strings.Repeat("n", 1000) + `"}`)
}

func invoke(b *testing.B, handler secretcache.Handler, payload []byte) {
	b.Helper()
	if answer, err := handler.Invoke(b.Context(), payload); err != nil || string(answer) != "5" {
		b.Fatal(string(answer), err)
	}
}

// wrapped is a handler that reads the secret, with the client.
func wrapped(b *testing.B, cfg secretcache.Config) (*secretcache.Cache, secretcache.Handler) {
	b.Helper()
	cache, err := secretcache.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	secret := cache.Secret(connectionString)
	return cache, cache.Wrap(lambda.NewHandler(func(ctx context.Context, _ payment) (int, error) {
		value, err := secret.Get(ctx)
		return len(value.Text()), err
	}))
}

// A steppedClock stands still between two steps, so that how often a check is due does not depend on the machine.
type steppedClock struct {
	began  time.Time
	passed atomic.Int64
}

func (c *steppedClock) pass(d time.Duration) { c.passed.Add(int64(d)) }

// Now implements secretcache.Clock.
func (c *steppedClock) Now() (monotonic time.Duration, wall time.Time) {
	passed := time.Duration(c.passed.Load())
	return passed, c.began.Add(passed)
}

// farAWS is DynamoDB with a change log and reports, and Secrets Manager with one secret, over TLS and a link.
type farAWS struct {
	link  *link
	roots *x509.CertPool
}

func newFarAWS(b *testing.B) *farAWS {
	b.Helper()
	tables, store := newTables(b)
	appendChange(b, store, "/bank/prod/payments/cards/api-key")
	manager := secrets.New(secrets.Config{})
	near := awsConfig(manager.RoundTripper())
	name, value := connectionString, "value"
	_, err := secretsmanager.NewFromConfig(near).CreateSecret(b.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_") {
			tables.ServeHTTP(w, r)
		} else {
			manager.ServeHTTP(w, r)
		}
	}))
	b.Cleanup(server.Close)
	far := &farAWS{link: newLink(b, server.Listener.Addr().String()), roots: x509.NewCertPool()}
	far.roots.AddCert(server.Certificate())
	return far
}

// config is what secretcacheaws makes of a function's environment.
func (far *farAWS) config(b *testing.B) secretcache.Config {
	b.Helper()
	env := map[string]string{
		"SECRET_BROADCAST_TABLE": changesTable, "SECRET_BROADCAST_REPORTS_TABLE": reportsTable,
		"SECRET_BROADCAST_ENV": "prod", "SECRET_BROADCAST_DOMAIN": "payments",
		"POWERTOOLS_SERVICE_NAME": "payments-api", "POWERTOOLS_PARAMETERS_MAX_AGE": "100000000",
		"AWS_ENDPOINT_URL": "https://" + far.link.address(),
	}
	on := awsConfig(nil)
	on.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig = &tls.Config{RootCAs: far.roots, MinVersion: tls.VersionTLS12}
	})
	cfg, err := secretcacheaws.ConfigFrom(on, func(name string) string { return env[name] })
	if err != nil {
		b.Fatal(err)
	}
	return cfg
}

// awsConfig is of clients that go through the transport.
func awsConfig(transport http.RoundTripper) aws.Config {
	return aws.Config{
		Region: "eu-west-2", HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("example-key-id", "example-key", ""),
	}
}
