package secretcacheaws_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// TestAfterAFailureTheNextTryUsesAFreshConnection: whichever of several pooled connections the first try takes, the
// second takes none of them.
func TestAfterAFailureTheNextTryUsesAFreshConnection(t *testing.T) {
	const pooled = 3
	for name, failing := range map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"half answer": func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("{"))                  //nolint:errcheck // the client sees it
			http.NewResponseController(w).Flush() //nolint:errcheck // the client sees it
			<-r.Context().Done()
		},
		"server error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"closed":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var together sync.WaitGroup
			together.Add(pooled)
			endpoint := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, n, connection int) {
				switch {
				case n <= pooled: // all at once, so that each has a connection of its own
					together.Done()
					together.Wait()
				case connection <= pooled:
					failing(w, r)
					return
				}
				always(200, `{"Items":[]}`)(w, r, n, connection)
			})
			log := configFrom(t, awsConfig(endpoint.URL)).Log
			var warm sync.WaitGroup
			for range pooled {
				warm.Go(func() {
					if _, err := log.Tail(t.Context(), 1); err != nil {
						t.Error(err)
					}
				})
			}
			warm.Wait()

			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := log.Tail(ctx, 1); err == nil {
				t.Error("the first try on a dead connection succeeded")
			}
			if _, err := log.Tail(t.Context(), 1); err != nil {
				t.Errorf("the second try: %v", err)
			}
		})
	}
}

func TestAnIdleConnectionClosedByThePeerIsReplaced(t *testing.T) {
	endpoint := newEndpoint(t, always(200, `{"Items":[]}`))
	log := configFrom(t, awsConfig(endpoint.URL)).Log
	if _, err := log.Tail(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	endpoint.CloseClientConnections()
	if _, err := log.Tail(t.Context(), 1); err != nil { // the client may not have seen yet that it is closed
		_, err = log.Tail(t.Context(), 1)
		if err != nil {
			t.Errorf("the second try: %v", err)
		}
	}
}

func TestAConnectionIsKeptBetweenCalls(t *testing.T) {
	endpoint := newEndpoint(t, always(200, `{"Items":[]}`))
	cfg := awsConfig(endpoint.URL)
	cfg.HTTPClient = awshttp.NewBuildableClient()
	log := configFrom(t, cfg).Log
	for range 5 {
		if _, err := log.Tail(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, request := range endpoint.got() {
		if request.connection != 1 {
			t.Errorf("a request came on connection %d", request.connection)
		}
	}
}

func TestNoHTTPClientFollowsARedirect(t *testing.T) {
	for name, client := range map[string]aws.HTTPClient{"the default": nil, "the SDK's": awshttp.NewBuildableClient(), "one made by hand": &http.Client{}} {
		endpoint := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, _, _ int) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
		cfg := awsConfig(endpoint.URL)
		cfg.HTTPClient = client
		if _, err := configFrom(t, cfg).Log.Tail(t.Context(), 1); err == nil || len(endpoint.got()) != 1 {
			t.Errorf("%s: %d requests, %v", name, len(endpoint.got()), err)
		}
	}
}

// pipes listens without a network, so that it works where time is simulated.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	dials  int
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.dials++
	p.accept <- far
	return near, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.IPAddr{} }

func TestAConnectionIdleForLongIsNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			always(200, `{"Items":[]}`)(w, r, 0, 0)
		})}
		go server.Serve(listener) //nolint:errcheck // always http.ErrServerClosed
		defer func() { _ = server.Close() }()

		cfg := awsConfig("http://tables.test")
		cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.DialContext = listener.dial
			t.Proxy = nil
		})
		log := configFrom(t, cfg).Log
		for _, step := range []struct {
			idle  time.Duration
			dials int
		}{{0, 1}, {time.Second, 1}, {20 * time.Second, 1}, {20*time.Second + 1, 2}, {time.Hour, 3}, {time.Second, 3}} {
			time.Sleep(step.idle)
			if _, err := log.Tail(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if listener.dials != step.dials {
				t.Errorf("after %v idle: %d connections made, want %d", step.idle, listener.dials, step.dials)
			}
		}
	})
}

func TestRootCertificatesOfTheConfigurationAreTrusted(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		always(200, `{"Items":[]}`)(w, r, 0, 0)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that trusts it not is this test's intent
	server.StartTLS()
	defer server.Close()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(bundle, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	setEnvironment(t, map[string]string{"AWS_REGION": "eu-west-2", "AWS_ENDPOINT_URL": server.URL, "AWS_CA_BUNDLE": bundle})
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(),
		awsconfig.WithCredentialsProvider(credentials.StaticCredentialsProvider{Value: credentialsOfTests()}))
	if err != nil {
		t.Fatal(err)
	}
	ours := configFrom(t, cfg)
	if _, err := ours.Log.Tail(t.Context(), 1); err != nil {
		t.Errorf("the log: %v", err)
	}
	if _, err := ours.Secrets.Get(t.Context(), "a", ""); err != nil {
		t.Errorf("the secret: %v", err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := configFrom(t, awsConfig(server.URL)).Log.Tail(t.Context(), 1); !errors.As(err, &unknown) {
		t.Errorf("without them: %v", err)
	}
}

// TestADeadConnectionCostsTheCacheOneTry is the whole: a cache whose environment was frozen finds a change although its
// connection died in silence.
func TestADeadConnectionCostsTheCacheOneTry(t *testing.T) {
	rows, bodies := chain(t, 1)
	endpoint := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, n, connection int) {
		switch {
		case r.Header.Get("X-Amz-Target") == "secretsmanager.GetSecretValue":
			always(200, `{"Name":"`+connectionString+`","ARN":"arn","VersionId":"EXAMPLE1","SecretString":"first"}`)(w, r, n, connection)
		case connection == 1 && n > 2:
			<-r.Context().Done()
		default:
			always(200, page(rows, bodies, false, 1))(w, r, n, connection)
		}
	})
	cfg := configFrom(t, awsConfig(endpoint.URL))
	cfg.CheckEvery, cfg.Reports = time.Second, nil
	clock := &steps{}
	cfg.Clock = clock
	cache, err := secretcache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := cache.Secret(connectionString).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		clock.now += 2 * time.Second
	}
	if counts := cache.Counts(); counts.Checks != 2 || counts.CheckFailures != 0 || counts.Uncertain != 0 {
		t.Errorf("got %+v", counts)
	}
}

// steps is a clock that the test moves.
type steps struct{ now time.Duration }

func (s *steps) Now() (time.Duration, time.Time) { return s.now, time.Unix(0, 0).Add(s.now) }
