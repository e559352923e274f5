// Package e2e has the templates deployed as people deploy them, to an emulator of AWS, and a change of a secret carried from
// Secrets Manager's API to what a function serves. README.md says what the emulator cannot and what is done instead.
package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// variable returns what the scripts of test/tools set.
func variable(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run `make e2e`", name)
	}
	return value
}

// emulated starts an emulator of this test's own, in which a twelve-digit access key is an account, and returns its address.
func emulated(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	words, err := os.Create(filepath.Join(dir, "words"))
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	endpoint := "http://127.0.0.1:" + port
	emulator := exec.CommandContext(context.WithoutCancel(t.Context()), variable(t, "MINISTACK_PYTHON"), "-B", "emulator.py")
	emulator.Env = append(os.Environ(), "BIND_HOST=127.0.0.1", "GATEWAY_PORT="+port, "PERSIST_STATE=0", "AUTH=false", "TMPDIR="+dir,
		"AWS_ENDPOINT_URL="+endpoint) // which it hands to functions: those in Go would not know where their AWS is
	emulator.Stdout, emulator.Stderr = words, words
	if err := emulator.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = emulator.Process.Signal(os.Interrupt) // so that it ends its functions' processes too
		_ = emulator.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(words.Name())
			t.Logf("the emulator's last words:\n%s", said[max(0, len(said)-8000):])
		}
	})
	until(t, "the emulator to start", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"/_ministack/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return endpoint
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// until asks until something is so: the emulator tells nobody when it has carried an event. Whoever waits longest waits for the
// emulator's own schedule, whose shortest is a minute.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	patience, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-patience.Done():
			t.Fatalf("waiting for %s", what)
		}
	}
}
