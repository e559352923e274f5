//go:build linux

package functions_test

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
)

// together runs n invocations that all run at the same moment, and returns their results.
func together(t testing.TB, h *functions.Host, name string, n int) []functions.Result {
	t.Helper()
	m := newMeeting(t)
	results := make([]functions.Result, n)
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			var err error
			if results[i], err = h.Invoke(t.Context(), name, payload(t, event{Dial: m.address()})); err != nil {
				t.Error(err)
			}
		})
	}
	m.letGo(m.await(n)...)
	calls.Wait()
	return results
}

func TestEightInvocationsAtOnceReachEightEnvironments(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	streams, pids := map[string]bool{}, map[int]bool{}
	for _, result := range together(t, h, "payments-api", 8) {
		r := parse(t, result)
		if r.Count != 1 || r.PID != result.PID {
			t.Errorf("environment %s: %+v", result.Environment, r)
		}
		if !regexp.MustCompile(`^\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}$`).MatchString(r.LogStream) {
			t.Errorf("log stream %q does not look like AWS's", r.LogStream)
		}
		streams[r.LogStream], pids[r.PID] = true, true
	}
	if len(streams) != 8 || len(pids) != 8 {
		t.Errorf("%d log streams, %d processes", len(streams), len(pids))
	}
	for _, e := range h.Environments() {
		if e.State != functions.Frozen || e.Invocations != 1 || e.FrozenSince.IsZero() {
			t.Errorf("%+v", e)
		}
	}
}

func TestSequentialInvocationsReachTheSameEnvironment(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	together(t, h, "payments-api", 3)
	first := parse(t, invoke(t, h, "payments-api", event{}))
	for i := range 16 {
		r := parse(t, invoke(t, h, "payments-api", event{}))
		if r.PID != first.PID || r.Count != first.Count+i+1 {
			t.Fatalf("invocation %d reached process %d, its %d.; the first %d", i, r.PID, r.Count, first.PID)
		}
	}
}

func TestTheMostRecentlyUsedEnvironmentIsChosen(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	m := newMeeting(t)
	var calls sync.WaitGroup
	done := make(chan functions.Result)
	for range 3 {
		calls.Go(func() {
			result, err := h.Invoke(t.Context(), "payments-api", payload(t, event{Dial: m.address()}))
			if err != nil {
				t.Error(err)
			}
			done <- result
		})
	}
	guests := m.await(3)
	for _, g := range guests { // in this order they come to rest
		m.letGo(g)
		<-done
	}
	calls.Wait()
	if got := invoke(t, h, "payments-api", event{}).PID; got != guests[2].pid {
		t.Errorf("process %d was chosen; %d was used last", got, guests[2].pid)
	}
}

func TestAnEnvironmentLooksLikeLambdas(t *testing.T) {
	t.Setenv("AWS_PROFILE", "somebodys")
	t.Setenv("AWS_ENDPOINT_URL", "http://elsewhere.invalid")
	t.Setenv("FROM_THE_HOST", "yes")
	h := newHost(t, functions.Config{Region: "eu-west-1", AccountID: "444455556666"})
	deploy(t, h, functions.Function{
		Name: "payments-api", MemoryMB: 256, Timeout: 20 * time.Second,
		Env: []string{"AWS_SESSION_TOKEN=mine", "SECRET_BROADCAST_ENV=prod", "AWS_LAMBDA_RUNTIME_API=nowhere"},
	})
	before := time.Now()
	r := parse(t, invoke(t, h, "payments-api", event{Do: "environ"}))
	got := map[string]string{}
	for _, entry := range r.Environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "AWS_") || name == "_HANDLER" || strings.HasPrefix(name, "SECRET_") || name == "FROM_THE_HOST" {
			got[name] = value
		}
	}
	if !strings.HasPrefix(got["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:") {
		t.Errorf("Runtime API at %q", got["AWS_LAMBDA_RUNTIME_API"])
	}
	delete(got, "AWS_LAMBDA_RUNTIME_API")
	want := map[string]string{
		"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1",
		"AWS_ACCESS_KEY_ID": "placeholder", "AWS_SECRET_ACCESS_KEY": "placeholder", "AWS_SESSION_TOKEN": "mine",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"AWS_LAMBDA_FUNCTION_NAME": "payments-api", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/payments-api", "AWS_LAMBDA_LOG_STREAM_NAME": r.LogStream,
		"_HANDLER": "bootstrap", "SECRET_BROADCAST_ENV": "prod", "FROM_THE_HOST": "yes",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want := "arn:aws:lambda:eu-west-1:444455556666:function:payments-api"; r.ARN != want || h.ARN("payments-api") != want {
		t.Errorf("invoked as %s", r.ARN)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(r.RequestID) {
		t.Errorf("request id %q", r.RequestID)
	}
	deadline := time.UnixMilli(r.Remaining)
	if deadline.Before(before.Add(20*time.Second).Truncate(time.Millisecond)) || deadline.After(time.Now().Add(20*time.Second)) {
		t.Errorf("deadline %v, asked for at %v", deadline, before)
	}
}

func TestRedeployingEndsEnvironmentsAtRestAndLetsBusyOnesFinish(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api", Env: []string{"RELEASE=1"}})
	atRest := together(t, h, "payments-api", 3)

	m := newMeeting(t)
	finished := make(chan functions.Result)
	go func() {
		result, err := h.Invoke(context.Background(), "payments-api", payload(t, event{Dial: m.address()}))
		if err != nil {
			t.Error(err)
		}
		finished <- result
	}()
	busy := m.await(1)[0]
	deploy(t, h, functions.Function{Name: "payments-api", Env: []string{"RELEASE=2"}})
	for _, e := range h.Environments() {
		want := functions.Ended
		if e.PID == busy.pid {
			want = functions.Busy
		}
		if e.State != want {
			t.Errorf("after the deployment %s is %s, want %s", e.ID, e.State, want)
		}
	}
	fresh := parse(t, invoke(t, h, "payments-api", event{Do: "environ"}))
	if fresh.Count != 1 || !strings.Contains(strings.Join(fresh.Environ, "\n"), "RELEASE=2") {
		t.Errorf("the new code was not run in a new environment: %+v", fresh)
	}
	m.letGo(busy)
	old := <-finished
	if r := parse(t, old); r.PID != busy.pid {
		t.Errorf("the busy environment did not finish: %+v", r)
	}
	if got := environmentOf(t, h, old.Environment).State; got != functions.Ended {
		t.Errorf("the busy environment is %s after it finished", got)
	}
	for _, r := range atRest {
		if fresh.PID == r.PID {
			t.Error("the new code reached an old environment")
		}
	}
}

func TestInvokeIdleObservesOneEnvironmentAndChangesNoOrder(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	results := together(t, h, "payments-api", 4)
	favourite := invoke(t, h, "payments-api", event{}).Environment
	for _, r := range results {
		got, err := h.InvokeIdle(t.Context(), r.Environment, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Environment != r.Environment || parse(t, got).PID != r.PID {
			t.Errorf("asked for %s, reached %s", r.Environment, got.Environment)
		}
	}
	if got := invoke(t, h, "payments-api", event{}).Environment; got != favourite {
		t.Errorf("after the observation %s is chosen, before it %s", got, favourite)
	}

	if _, err := h.InvokeIdle(t.Context(), "payments-api#99", nil); !errors.Is(err, functions.ErrUnknownEnvironment) {
		t.Errorf("unknown environment: %v", err)
	}
	if err := h.Kill(favourite); err != nil {
		t.Fatal(err)
	}
	if _, err := h.InvokeIdle(t.Context(), favourite, nil); !errors.Is(err, functions.ErrNotAtRest) {
		t.Errorf("ended environment: %v", err)
	}
}

func TestOutputGoesToTheWriterOfTheEnvironment(t *testing.T) {
	var mu sync.Mutex
	written := map[string]*strings.Builder{}
	h := newHost(t, functions.Config{Output: func(function, environment string) io.Writer {
		mu.Lock()
		defer mu.Unlock()
		b := &strings.Builder{}
		written[function+" "+environment] = b
		return b
	}})
	deploy(t, h, functions.Function{Name: "payments-api"})
	invoke(t, h, "payments-api", event{Do: "print"})
	if err := h.Close(); err != nil { // after it nothing is written any more
		t.Fatal(err)
	}
	if got := written["payments-api payments-api#1"].String(); got != "a line on stdout\na line on stderr\n" {
		t.Errorf("%q", got)
	}
}
