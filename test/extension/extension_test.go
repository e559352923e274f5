//go:build linux

// Package extension_test runs the extension as it is deployed, beside functions on the local Lambda host.
package extension_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/test/cloud"
)

const (
	canary = "canary-4711"
	// patience bounds every wait for something that will come.
	patience = time.Minute
)

// A world is a function with the extension beside it.
type world struct {
	t     testing.TB
	cloud *cloud.Cloud
	host  *functions.Host
	out   *output
}

// newWorld deploys the function; entries are of its environment.
func newWorld(t testing.TB, edit func(*functions.Function), entries ...string) *world {
	t.Helper()
	w := &world{t: t, cloud: cloud.New(t), out: &output{}}
	w.cloud.Put(cloud.Password, canary+"-first")
	var err error
	if w.host, err = functions.New(functions.Config{Output: func(string, string) io.Writer { return w.out }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.host.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fn := functions.Function{
		Name: "payments-api", Command: []string{self}, Extensions: [][]string{{os.Getenv(extensionVariable)}}, Timeout: patience,
		// As a function has it: its own clients are told that Secrets Manager is the extension.
		Env: append(append(w.cloud.Variables(), portOf(t)...), append([]string{"POWERTOOLS_PARAMETERS_MAX_AGE=0"}, entries...)...),
	}
	if edit != nil {
		edit(&fn)
	}
	if err := w.host.Deploy(fn); err != nil {
		t.Fatal(err)
	}
	return w
}

// portOf returns the variables of a port that is free.
func portOf(t testing.TB) []string {
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
	return []string{
		"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT=" + port, "AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:" + port,
		"AWS_ENDPOINT_URL=http://127.0.0.1:" + port,
	}
}

func (w *world) invoke(q question) (functions.Result, answer) {
	w.t.Helper()
	payload, err := json.Marshal(q)
	if err != nil {
		w.t.Fatal(err)
	}
	result, err := w.host.Invoke(w.t.Context(), "payments-api", payload)
	if err != nil {
		w.t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(result.Payload, &a); err != nil {
		w.t.Fatal(err)
	}
	return result, a
}

// wantSoon invokes until the function reads a text.
func (w *world) wantSoon(name, text string) {
	w.t.Helper()
	w.awaitText(question{Name: name}, text)
}

func (w *world) awaitText(q question, text string) {
	w.t.Helper()
	var last answer
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		var result functions.Result
		if result, last = w.invoke(q); result.FunctionError != "" {
			w.t.Fatalf("%s: %s", result.FunctionError, result.Payload)
		}
		if strings.Contains(last.Body, `"`+text+`"`) {
			return
		}
	}
	w.t.Fatalf("%+v: the function reads %d %s %s, want %q\n%s", q, last.Status, last.Body, last.Error, text, w.out)
}

func TestAFunctionBehindTheExtension(t *testing.T) {
	w := newWorld(t, nil)
	if _, a := w.invoke(question{AtStart: true}); !strings.Contains(a.Body, canary+"-first") {
		t.Errorf("before its first invocation the function read %d %s %s\n%s", a.Status, a.Body, a.Error, w.out)
	}
	for range 3 {
		w.wantSoon(cloud.Password, canary+"-first")
	}
	if calls := w.cloud.Called(); len(calls) != 1 {
		t.Errorf("Secrets Manager was called: %v, want one call", calls)
	}
	w.cloud.Put(cloud.Password, canary+"-second")
	w.cloud.Announce(cloud.Password)
	w.wantSoon(cloud.Password, canary+"-second")

	reports := w.cloud.Reported()
	if len(reports) == 0 {
		t.Fatal("the environment has not reported")
	}
	if r := reports[0]; r.Client != "extension/1.0.0" || r.TakesInvalidations || r.Service != "payments-api" {
		t.Errorf("the report says %+v", r)
	}
	environments := w.host.Environments()
	if err := w.host.Close(); err != nil {
		t.Fatal(err)
	}
	if len(environments) != 1 {
		t.Errorf("%d environments", len(environments))
	}
	if strings.Contains(w.out.String(), canary) {
		t.Errorf("a value was logged:\n%s", w.out)
	}
}

// TestNoInvocationIsNeededWhereTheyRunAtOnce: on Lambda Managed Instances an extension is not told of invocations, and
// environments are not frozen.
func TestNoInvocationIsNeededWhereTheyRunAtOnce(t *testing.T) {
	w := newWorld(t, func(fn *functions.Function) { fn.NoFreeze = true }, "AWS_LAMBDA_INITIALIZATION_TYPE=lambda-managed-instances")
	w.wantSoon(cloud.Password, canary+"-first")
	w.cloud.Put(cloud.Password, canary+"-second")
	w.cloud.Announce(cloud.Password)
	w.wantSoon(cloud.Password, canary+"-second")
}

// TestTheExtensionsEnd: it is told, answers nobody any more and ends without being killed.
func TestTheExtensionsEnd(t *testing.T) {
	w := newWorld(t, nil, "PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL=debug")
	w.wantSoon(cloud.Password, canary+"-first")
	began := time.Now()
	if err := w.host.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v to end: it was killed", took)
	}
	if !strings.Contains(w.out.String(), `"msg":"the environment ends","reason":"SPINDOWN"`) {
		t.Errorf("it was not told:\n%s", w.out)
	}
}

// TestKilledWhileItAnswers: the function gets an error at once, and that the extension ended is seen from outside.
func TestKilledWhileItAnswers(t *testing.T) {
	w := newWorld(t, nil)
	result, _ := w.invoke(question{Name: cloud.Password})
	const other = "/bank/prod/payments/neon/other"
	w.cloud.Put(other, canary)
	w.cloud.Called()
	release := w.cloud.Hold()
	defer release()
	ended := make(chan functions.Result)
	go func() {
		result, _ := w.invoke(question{Name: other})
		ended <- result
	}()
	for len(w.cloud.Called()) == 0 { // until the extension has asked Secrets Manager for the function
		time.Sleep(time.Millisecond)
	}
	var pid int
	for _, e := range w.host.Environments() {
		if e.ID == result.Environment {
			pid = e.ExtensionPIDs[0]
		}
	}
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	result = <-ended
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the function was left waiting for %v", took)
	}
	// The function tells of its error, unless Lambda has ended it before it could.
	var a answer
	crashed := strings.Contains(string(result.Payload), `"errorType":"Extension.Crash","errorMessage":"RequestId: `)
	if err := json.Unmarshal(result.Payload, &a); err != nil || a.Error == "" && !crashed {
		t.Errorf("got %s %s", result.FunctionError, result.Payload)
	}
	for _, e := range w.host.Environments() {
		if e.ID == result.Environment && e.State != functions.Ended {
			t.Errorf("the environment is %s, as if the extension had not ended", e.State)
		}
	}
	release()
	w.wantSoon(cloud.Password, canary+"-first") // in a new environment
}

// TestAnExtensionThatCannotStartSaysWhy: and ends, which ends the environment before the function has started.
func TestAnExtensionThatCannotStartSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		entries []string
		want    string
	}{
		"no Lambda":       {nil, "AWS_LAMBDA_RUNTIME_API is not set: this is a Lambda extension, add it to a function as a layer"},
		"no TTL":          {[]string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "SECRETS_MANAGER_TTL=long"}, `SECRETS_MANAGER_TTL is \"long\": set it to a whole number`},
		"half configured": {[]string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "SECRET_BROADCAST_TABLE=a"}, "SECRET_BROADCAST_ENV is not set, but SECRET_BROADCAST_TABLE is"},
		"a port that is taken": {
			[]string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "SECRET_BROADCAST_EXTENSION_PORT=" + port, "PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL=none"},
			"set SECRET_BROADCAST_EXTENSION_PORT or PARAMETERS_SECRETS_EXTENSION_HTTP_PORT to another port",
		},
	} {
		t.Run(name, func(t *testing.T) {
			extension := exec.CommandContext(t.Context(), os.Getenv(extensionVariable))
			extension.Env = append([]string{"AWS_REGION=" + cloud.Region, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b"}, c.entries...)
			out, err := extension.CombinedOutput()
			if err == nil || extension.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), c.want) {
				t.Errorf("it ended with %v and said %s, want %s", err, out, c.want)
			}
		})
	}
}

// output is what the processes have put out.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
