package secretcacheaws_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// roundTrip is between a function and DynamoDB's endpoint in its Region, with much to spare.
const roundTrip = 5 * time.Millisecond

// far is a listener some way off: each answer is a round trip behind what it answers, and so is the connection itself.
type far struct {
	net.Listener
	away time.Duration
}

func (f far) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &farConn{Conn: c, away: f.away, owed: f.away}, nil
}

type farConn struct {
	net.Conn
	away time.Duration

	mu      sync.Mutex
	owed    time.Duration // of the handshake of TCP
	reading bool          // what is read belongs to the flight that was waited for
}

func (c *farConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	wait := c.owed
	if !c.reading {
		wait += c.away
	}
	c.owed, c.reading = 0, true
	c.mu.Unlock()
	time.Sleep(wait)
	return n, err
}

func (c *farConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.reading = false
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// newTLSEndpoint serves an empty log and no secret over TLS, some way off.
func newTLSEndpoint(tb testing.TB, away time.Duration) *httptest.Server {
	tb.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		always(200, `{"Items":[]}`)(w, r, 0, 0)
	}))
	if away > 0 {
		server.Listener = far{server.Listener, away}
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that trusts it not is a test's intent
	server.StartTLS()
	tb.Cleanup(server.Close)
	return server
}

func trusting(server *httptest.Server) aws.Config {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	cfg := awsConfig(server.URL)
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	})
	return cfg
}

// BenchmarkCheckWarm is a check of an environment in use: one round trip.
func BenchmarkCheckWarm(b *testing.B) {
	log := configFrom(b, trusting(newTLSEndpoint(b, roundTrip))).Log
	for b.Loop() {
		if _, err := log.Since(b.Context(), 1, 102); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheckFresh is the first check of a new environment: TCP, TLS and the request are three round trips.
func BenchmarkCheckFresh(b *testing.B) {
	cfg := trusting(newTLSEndpoint(b, roundTrip))
	for b.Loop() {
		if _, err := configFrom(b, cfg).Log.Since(b.Context(), 1, 102); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheckThawed is the first check after a long freeze: a new connection of the session before.
func BenchmarkCheckThawed(b *testing.B) {
	server := newTLSEndpoint(b, roundTrip)
	log := configFrom(b, trusting(server)).Log
	for b.Loop() {
		b.StopTimer()
		server.CloseClientConnections()
		b.StartTimer()
		if _, err := log.Since(b.Context(), 1, 102); err != nil {
			if _, err = log.Since(b.Context(), 1, 102); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkConfig is what configuring a client adds to a cold start.
func BenchmarkConfig(b *testing.B) {
	cfg := awsConfig("https://tables.test")
	b.ReportAllocs()
	for b.Loop() {
		configFrom(b, cfg)
	}
}
