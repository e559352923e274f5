package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/test/cloud"
)

// The extension as it is deployed, but for this machine, beside a server of Go's own library that does nothing but answer.
type extensionBench struct {
	cloud     *cloud.Cloud
	api       string // as much of the Extensions API as a start needs
	extension string
	bare      string
}

func newExtensionBench(b *testing.B) *extensionBench {
	b.Helper()
	dir := b.TempDir()
	e := &extensionBench{cloud: cloud.New(b), bare: filepath.Join(dir, "bare")}
	buildArtifact(b, e.bare, "github.com/bank-platform/secret-broadcaster/test/bench/bare")
	var err error
	if e.extension, err = cloud.BuildExtension(b.Context(), dir); err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Lambda-Extension-Identifier", "example-id")
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener)                //nolint:errcheck // it ends with the benchmark
	b.Cleanup(func() { _ = server.Close() }) // nothing waits for it
	e.api = listener.Addr().String()
	e.cloud.Put(cloud.Password, "value")
	return e
}

// A server is a process that answers at a port.
type server struct {
	process *exec.Cmd
	url     string
	took    time.Duration // from its start to its first answer
}

// start starts a program and waits until it answers.
func (e *extensionBench) start(b *testing.B, program string) *server {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	listener.Close()
	s := &server{process: exec.Command(program), url: "http://" + address}
	s.process.Stderr = os.Stderr
	s.process.Env = append(
		e.cloud.Variables(), "PATH="+os.Getenv("PATH"), "AWS_LAMBDA_RUNTIME_API="+e.api, "AWS_REGION="+cloud.Region, "AWS_ACCESS_KEY_ID=example-key-id",
		"AWS_SECRET_ACCESS_KEY=example-key", "AWS_SESSION_TOKEN=example-token", "POWERTOOLS_SERVICE_NAME=payments-api",
		"SECRET_BROADCAST_CHECK_EVERY=2s", "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT="+port, "PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL=error",
	)
	began := time.Now()
	if err := s.process.Start(); err != nil {
		b.Fatal(err)
	}
	for {
		answer, err := http.Get(s.url + "/ping")
		if err == nil {
			s.took = time.Since(began)
			answer.Body.Close()
			return s
		}
		if time.Since(began) > 10*time.Second {
			b.Fatalf("%s does not answer: %v", program, err)
		}
		time.Sleep(100 * time.Microsecond) // it does not listen yet
	}
}

func (s *server) stop() {
	s.process.Process.Kill() //nolint:errcheck // it may have ended by itself
	s.process.Wait()         //nolint:errcheck // it was killed
}

// residentMB is the memory that a process holds.
func (s *server) residentMB(b *testing.B) float64 {
	b.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.process.Process.Pid))
	if err != nil {
		b.Skipf("no /proc here: %v", err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(statm)[1]))
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages*os.Getpagesize()) / 1e6
}

// BenchmarkExtensionStart is the extension's start, up to its first answer, beside the bare server's.
func BenchmarkExtensionStart(b *testing.B) {
	e := newExtensionBench(b)
	var c comparison
	var resident []float64
	for b.Loop() {
		ours, bare := e.start(b, e.extension), e.start(b, e.bare)
		resident = append(resident, ours.residentMB(b))
		c.add(ours.took, bare.took)
		ours.stop()
		bare.stop()
	}
	c.report(b, "bare", 1)
	b.ReportMetric(median(resident), "MB-resident")
	is, err := os.Stat(e.extension)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(is.Size())/1e6, "MB")
}

// get reads by the HTTP API.
func (s *server) get(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/secretsmanager/get?secretId="+cloud.Password, nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-Aws-Parameters-Secrets-Token", "example-token")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"SecretString":"value"`))) {
		err = fmt.Errorf("HTTP status %d: %s", answer.StatusCode, body)
	}
	return err
}

// BenchmarkExtensionRead is a cached read through the extension beside the same from the bare server: by the HTTP API and by
// the Go SDK, from one caller and from eight. ns/op is what one caller waits.
func BenchmarkExtensionRead(b *testing.B) {
	e := newExtensionBench(b)
	servers := []*server{e.start(b, e.extension), e.start(b, e.bare)}
	b.Cleanup(func() { servers[0].stop(); servers[1].stop() })
	const reads = 2000
	for _, callers := range []int{1, 8} {
		var https, sdks []func(context.Context) error // of ours, of the bare server's
		for _, s := range servers {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
			https = append(https, func(ctx context.Context) error { return s.get(ctx, client) })
			sdk := secretsmanager.New(secretsmanager.Options{
				Region: cloud.Region, BaseEndpoint: &s.url, HTTPClient: client,
				Credentials: credentials.NewStaticCredentialsProvider("example-key-id", "example-key", "example-token"),
			})
			sdks = append(sdks, func(ctx context.Context) error {
				_, err := sdk.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(cloud.Password)})
				return err
			})
		}
		for name, ways := range map[string][]func(context.Context) error{"http": https, "sdk": sdks} {
			b.Run(fmt.Sprintf("by=%s/callers=%d", name, callers), func(b *testing.B) {
				var c comparison
				for b.Loop() {
					c.add(together(b, callers, reads, ways[0]), together(b, callers, reads, ways[1]))
				}
				c.report(b, "bare", reads/callers)
				b.ReportMetric(float64(reads)/(median(c.ours)/1e9), "reads/s")
			})
		}
	}
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			runtime.KeepAlive(servers)
		}
		b.ReportMetric(servers[0].residentMB(b), "MB-resident")
	})
}

// together is what n reads take that callers make at the same time.
func together(b *testing.B, callers, n int, read func(context.Context) error) time.Duration {
	b.Helper()
	return timed(func() {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range n / callers {
					if err := read(b.Context()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// BenchmarkExtensionCold is 32 readers of a secret that has not been read yet, all at once: what they wait, and how often
// Secrets Manager is called.
func BenchmarkExtensionCold(b *testing.B) {
	e := newExtensionBench(b)
	const readers = 32
	var calls []float64
	for b.Loop() {
		s := e.start(b, e.extension)
		e.cloud.Called()
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: readers}}
		together(b, readers, readers, func(ctx context.Context) error { return s.get(ctx, client) })
		calls = append(calls, float64(len(e.cloud.Called())))
		s.stop()
	}
	b.ReportMetric(median(calls), "calls")
}
