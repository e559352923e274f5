//go:build linux

package lambda_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	awslambda "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
)

// canary stands for what a function might say that must not reach our logs.
const canary = "canary-4711"

// TestMain: the test binary is also the function, when a host starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") == "" {
		os.Exit(m.Run())
	}
	awslambda.Start(func(_ context.Context, event json.RawMessage) (json.RawMessage, error) {
		switch string(event) {
		case `"fail"`:
			return nil, errors.New(canary)
		case `"panic"`:
			panic(canary)
		case `"exit"`:
			os.Exit(1)
		case `"hang"`:
			select {}
		}
		return event, nil
	})
}

// hostWith runs the test binary as the function payments-api, with an alias live.
func hostWith(t *testing.T, config functions.Config) *lambda.Pusher {
	t.Helper()
	host, err := functions.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	err = host.Deploy(functions.Function{
		Name: "payments-api", Command: []string{os.Args[0]}, Aliases: []string{"live"}, Timeout: time.Second,
		Env: []string{"GORACE=atexit_sleep_ms=0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return lambda.New(sdk.New(sdk.Options{
		Region: "eu-west-2", BaseEndpoint: aws.String(host.Endpoint()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	}))
}

func TestTheAnswerIsTheFunctions(t *testing.T) {
	var (
		mu    sync.Mutex
		kinds []string
	)
	pusher := hostWith(t, functions.Config{Before: func(i functions.Invocation) error {
		mu.Lock()
		defer mu.Unlock()
		kinds = append(kinds, i.Type+" "+i.Function+":"+i.Qualifier)
		return nil
	}})
	const payload = `{"detail":{"revision":42,"hash":"77ab"}}`
	for _, function := range []string{"payments-api:live", "arn:aws:lambda:eu-west-2:111122223333:function:payments-api:live"} {
		got, err := pusher.Push(t.Context(), function, []byte(payload))
		if err != nil || string(got) != payload {
			t.Errorf("%s: got %q, %v", function, got, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, kind := range kinds {
		if kind != "RequestResponse payments-api:live" {
			t.Errorf("invoked as %s: only the answer to a synchronous invocation is an ack", kind)
		}
	}
	if len(kinds) != 2 {
		t.Errorf("invoked %d times, want 2", len(kinds))
	}
}

// TestAFunctionsErrorIsWorthTryingAgain: and is told without what the function said.
func TestAFunctionsErrorIsWorthTryingAgain(t *testing.T) {
	pusher := hostWith(t, functions.Config{})
	for _, event := range []string{"fail", "panic", "exit", "hang"} {
		t.Run(event, func(t *testing.T) {
			answer, err := pusher.Push(t.Context(), "payments-api", []byte(`"`+event+`"`))
			if err == nil || errors.Is(err, invalidation.ErrPermanent) {
				t.Fatalf("got %q, %v", answer, err)
			}
			if got, want := err.Error(), "the function ended with an error (Unhandled)"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if len(answer) > 0 {
				t.Errorf("its words come along: %q", answer)
			}
		})
	}
}

func TestWhatIsNotWorthTryingAgain(t *testing.T) {
	for name, c := range map[string]struct {
		refusal   functions.Refusal
		permanent bool
	}{
		"no such function":     {functions.Refusal{Status: http.StatusNotFound, Type: "ResourceNotFoundException"}, true},
		"not allowed":          {functions.Refusal{Status: http.StatusForbidden, Type: "AccessDeniedException"}, true},
		"a wrong qualifier":    {functions.Refusal{Status: http.StatusBadRequest, Type: "InvalidParameterValueException"}, true},
		"no JSON":              {functions.Refusal{Status: http.StatusBadRequest, Type: "InvalidRequestContentException"}, true},
		"throttled":            {functions.Refusal{Status: http.StatusTooManyRequests, Type: "TooManyRequestsException", Reason: "CallerRateLimitExceeded"}, false},
		"being updated":        {functions.Refusal{Status: http.StatusConflict, Type: "ResourceConflictException"}, false},
		"Lambda's own error":   {functions.Refusal{Status: http.StatusInternalServerError, Type: "ServiceException"}, false},
		"no network interface": {functions.Refusal{Status: http.StatusBadGateway, Type: "EC2ThrottledException"}, false},
		"stale credentials":    {functions.Refusal{Status: http.StatusForbidden, Type: "ExpiredTokenException"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			pusher := hostWith(t, functions.Config{Before: func(functions.Invocation) error {
				asked++
				return &c.refusal
			}})
			_, err := pusher.Push(t.Context(), "payments-api", []byte(`{}`))
			if err == nil || errors.Is(err, invalidation.ErrPermanent) != c.permanent {
				t.Errorf("got %v, want permanent: %t", err, c.permanent)
			}
			if err != nil && !strings.Contains(err.Error(), c.refusal.Type) {
				t.Errorf("%q does not tell what Lambda said", err)
			}
			if asked != 1 {
				t.Errorf("asked %d times: the broadcaster has retries of its own", asked)
			}
		})
	}
}

// TestWhatIsNotThere: as the host itself answers it, not a hook.
func TestWhatIsNotThere(t *testing.T) {
	pusher := hostWith(t, functions.Config{})
	for _, function := range []string{"payments-batch", "payments-api:next", "arn:aws:lambda:eu-west-2:444455556666:function:payments-api"} {
		if _, err := pusher.Push(t.Context(), function, []byte(`{}`)); !errors.Is(err, invalidation.ErrPermanent) {
			t.Errorf("%s: got %v, want that it is not worth trying again", function, err)
		}
	}
}

func TestAnAnswerThatDoesNotCome(t *testing.T) {
	t.Run("in time", func(t *testing.T) {
		reached := make(chan struct{})
		pusher := hostWith(t, functions.Config{Before: func(functions.Invocation) error { close(reached); return nil }})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-reached; cancel() }()
		if _, err := pusher.Push(ctx, "payments-api", []byte(`"hang"`)); !errors.Is(err, context.Canceled) || errors.Is(err, invalidation.ErrPermanent) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("at all", func(t *testing.T) {
		pusher := hostWith(t, functions.Config{Before: func(functions.Invocation) error { return functions.ErrDropConnection }})
		if _, err := pusher.Push(t.Context(), "payments-api", []byte(`{}`)); err == nil || errors.Is(err, invalidation.ErrPermanent) {
			t.Errorf("got %v", err)
		}
	})
}
