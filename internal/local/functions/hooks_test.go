//go:build linux

package functions_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
)

// attempt is an After call.
type attempt struct {
	invocation functions.Invocation
	result     functions.Result
}

func recorded(config functions.Config) (functions.Config, <-chan attempt) {
	attempts := make(chan attempt, 100)
	config.After = func(i functions.Invocation, r functions.Result) { attempts <- attempt{i, r} }
	return config, attempts
}

func next(t testing.TB, attempts <-chan attempt) attempt {
	t.Helper()
	select {
	case a := <-attempts:
		return a
	case <-time.After(patience):
		t.Fatal("no further attempt")
		return attempt{}
	}
}

func TestTheHooksSeeAnInvocationOverHTTPAndOnlyThat(t *testing.T) {
	before := make(chan functions.Invocation, 10)
	config, after := recorded(functions.Config{Before: func(i functions.Invocation) error { before <- i; return nil }})
	h := newHost(t, config)
	deploy(t, h, functions.Function{Name: "payments-api", Aliases: []string{"live"}})
	invoke(t, h, "payments-api", event{})
	out, err := client(h).Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("payments-api:live"), Payload: []byte(`{"do":""}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := parse(t, functions.Result{Payload: out.Payload})
	want := functions.Invocation{
		RequestID: r.RequestID, Function: "payments-api", Qualifier: "live", Type: "RequestResponse",
		Payload: []byte(`{"do":""}`), Attempt: 1,
	}
	if diff := cmp.Diff(want, <-before); diff != "" {
		t.Error(diff)
	}
	a := next(t, after)
	if diff := cmp.Diff(want, a.invocation); diff != "" {
		t.Error(diff)
	}
	if string(a.result.Payload) != string(out.Payload) || a.result.PID != r.PID || a.result.Environment != "payments-api#1" {
		t.Errorf("%+v", a.result)
	}
	if len(before) != 0 || len(after) != 0 {
		t.Error("the hooks saw more than one invocation")
	}
}

func TestBeforeRefusesOrDropsAnInvocation(t *testing.T) {
	tests := map[string]struct {
		err  error
		want string
	}{
		"a refusal": {
			&functions.Refusal{Status: 403, Type: "AccessDeniedException", Message: "not by this role"},
			"api error AccessDeniedException: not by this role",
		},
		"a dropped connection": {functions.ErrDropConnection, "EOF"},
		"another error":        {errors.New("struck by lightning"), "ServiceException: struck by lightning"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, functions.Config{Before: func(functions.Invocation) error { return test.err }})
			deploy(t, h, functions.Function{Name: "payments-api"})
			_, err := client(h).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("payments-api")})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			var apiError smithy.APIError
			if dropped := errors.Is(test.err, functions.ErrDropConnection); errors.As(err, &apiError) == dropped {
				t.Errorf("an answer of the API: %v", err)
			}
			if len(h.Environments()) != 0 {
				t.Error("it was dispatched")
			}
		})
	}
}

func TestAHookMayKillTheCaller(t *testing.T) {
	var h *functions.Host
	h = newHost(t, functions.Config{Before: func(functions.Invocation) error { return h.Kill("broadcaster#1") }})
	deploy(t, h, functions.Function{Name: "broadcaster"})
	deploy(t, h, functions.Function{Name: "payments-api"})
	m := newMeeting(t)
	finished := make(chan functions.Result)
	go func() {
		result, err := h.Invoke(context.Background(), "broadcaster", payload(t, event{Dial: m.address()}))
		if err != nil {
			t.Error(err)
		}
		finished <- result
	}()
	m.await(1)
	if _, err := client(h).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("payments-api")}); err != nil {
		t.Fatal(err)
	}
	if got := <-finished; !strings.Contains(string(got.Payload), "signal: killed") {
		t.Errorf("the caller came to %s", got.Payload)
	}
}

func sendEvent(t testing.TB, h *functions.Host, e event) {
	t.Helper()
	out, err := client(h).Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("payments-api"), InvocationType: types.InvocationTypeEvent, Payload: payload(t, e),
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.StatusCode != 202 || len(out.Payload) != 0 {
		t.Errorf("%+v", out)
	}
}

func TestAnEventIsRunOnceItSucceeds(t *testing.T) {
	config, after := recorded(functions.Config{})
	h := newHost(t, config)
	deploy(t, h, functions.Function{Name: "payments-api"})
	sendEvent(t, h, event{})
	a := next(t, after)
	if r := parse(t, a.result); a.invocation.Type != "Event" || r.RequestID != a.invocation.RequestID {
		t.Errorf("%+v", a)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if len(after) != 0 {
		t.Error("it ran again")
	}
}

func TestAnEventThatFailsIsTriedThreeTimes(t *testing.T) {
	config, after := recorded(functions.Config{AsyncMinute: time.Millisecond})
	h := newHost(t, config)
	deploy(t, h, functions.Function{Name: "payments-api"})
	sendEvent(t, h, event{Do: "fail"})
	id := ""
	for i := 1; i <= 3; i++ {
		a := next(t, after)
		if id == "" {
			id = a.invocation.RequestID
		}
		if a.invocation.Attempt != i || a.invocation.RequestID != id || a.result.FunctionError == "" {
			t.Errorf("attempt %d: %+v", i, a)
		}
	}
	sendEvent(t, h, event{}) // by its end a fourth attempt of the first would have been made
	if a := next(t, after); a.invocation.RequestID == id {
		t.Errorf("a fourth attempt: %+v", a)
	}
}

func TestAnEventThatIsThrottledWaitsForAnEnvironment(t *testing.T) {
	config, after := recorded(functions.Config{AsyncMinute: 60 * time.Millisecond})
	h := newHost(t, config)
	deploy(t, h, functions.Function{Name: "payments-api", MaxEnvironments: 1})
	m := newMeeting(t)
	go func() { _, _ = h.Invoke(context.Background(), "payments-api", payload(t, event{Dial: m.address()})) }()
	busy := m.await(1)
	sendEvent(t, h, event{})
	sendEvent(t, h, event{})
	m.letGo(busy...)
	for range 2 {
		if a := next(t, after); a.result.FunctionError != "" || a.invocation.Attempt != 1 || a.result.PID != busy[0].pid {
			t.Errorf("%+v", a)
		}
	}
}
