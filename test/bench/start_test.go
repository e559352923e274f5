package bench

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkStart is the start of the Lambda artifact, from the process to its first request for an invocation, beside a
// function that does nothing but make the same clients of AWS.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	artifact, hello := filepath.Join(dir, "bootstrap"), filepath.Join(dir, "hello")
	buildArtifact(b, artifact, "github.com/bank-platform/secret-broadcaster/cmd/broadcaster")
	buildArtifact(b, hello, "github.com/bank-platform/secret-broadcaster/test/bench/hello")
	manifest := filepath.Join(dir, "payments.yaml")
	if err := os.WriteFile(manifest, []byte(manifestOf(20)), 0o600); err != nil {
		b.Fatal(err)
	}
	api := newRuntimeAPI(b)
	env := []string{
		"PATH=" + os.Getenv("PATH"), "AWS_LAMBDA_RUNTIME_API=" + api.address,
		"AWS_REGION=eu-west-2", "AWS_ACCESS_KEY_ID=example-key-id", "AWS_SECRET_ACCESS_KEY=example-key",
		"BROADCASTER_ENV=prod", "BROADCASTER_DOMAIN=payments", "BROADCASTER_CHANGES_TABLE=" + changesTable,
		"BROADCASTER_OPERATIONS_TABLE=" + operationsTable, "BROADCASTER_REPORTS_TABLE=" + reportsTable, "BROADCASTER_SUBSCRIPTIONS=" + manifest,
		"BROADCASTER_QUEUE_URL=https://sqs.eu-west-2.amazonaws.com/111122223333/prod-payments-broadcaster",
	}
	api.start(b, artifact, env) // both are in the page cache from here on
	api.start(b, hello, env)
	var c comparison
	for b.Loop() {
		c.add(api.start(b, artifact, env), api.start(b, hello, env))
	}
	c.report(b, "hello", 1)
	for name, file := range map[string]string{"MB": artifact, "MB-hello": hello} {
		is, err := os.Stat(file)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(is.Size())/1e6, name)
	}
}

// buildArtifact builds as make build does, but for this machine.
func buildArtifact(b *testing.B, file, command string) {
	b.Helper()
	build := exec.CommandContext(b.Context(), "go", "build", "-tags", "lambda.norpc,lambdaartifact", "-trimpath", "-ldflags", "-s -w", "-o", file, command)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
}

// manifestOf is the manifest of a domain with n services.
func manifestOf(n int) string {
	var m strings.Builder
	m.WriteString("apiVersion: secret-broadcaster/v1\nenv: prod\ndomain: payments\nowner: payments@bank.example\nservices:\n")
	for i := range n {
		fmt.Fprintf(&m, "  - name: payments-%d\n    function: payments-%d:live\n    secrets:\n      - neon/*\n      - cards/api-key\n", i, i)
	}
	return m.String()
}

// A runtimeAPI is as much of the Lambda Runtime API as a start needs
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
type runtimeAPI struct {
	address string
	asked   chan time.Time // for the next invocation
}

func newRuntimeAPI(b *testing.B) *runtimeAPI {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	api := &runtimeAPI{address: listener.Addr().String(), asked: make(chan time.Time, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(_ http.ResponseWriter, r *http.Request) {
		api.asked <- time.Now()
		<-r.Context().Done() // there is none; the process ends
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener)                //nolint:errcheck // it ends with the benchmark
	b.Cleanup(func() { _ = server.Close() }) // nothing waits for it
	return api
}

// start starts a function, waits until it asks for an invocation, ends it and returns how long it took to ask.
func (a *runtimeAPI) start(b *testing.B, file string, env []string) time.Duration {
	b.Helper()
	process := exec.Command(file)
	process.Env, process.Stderr = env, os.Stderr
	began := time.Now()
	if err := process.Start(); err != nil {
		b.Fatal(err)
	}
	select {
	case asked := <-a.asked:
		process.Process.Kill() //nolint:errcheck // it may have ended by itself
		process.Wait()         //nolint:errcheck // it was killed
		return asked.Sub(began)
	case <-time.After(10 * time.Second):
		process.Process.Kill() //nolint:errcheck // as above
		b.Fatalf("%s does not ask for an invocation", file)
		return 0
	}
}
