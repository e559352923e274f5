//go:build linux

package lambda_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
)

const apiARN = "arn:aws:lambda:eu-west-2:111122223333:function:payments-api"

func lookingAt(url string) *lambda.Functions {
	return lambda.NewFunctions(sdk.New(sdk.Options{
		Region: "eu-west-2", BaseEndpoint: &url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	}))
}

// TestALookAtAFunctionOfTheLocalHost: by each name that Lambda takes.
func TestALookAtAFunctionOfTheLocalHost(t *testing.T) {
	host, err := functions.New(functions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	modified := time.Date(2026, time.November, 23, 10, 0, 0, int(713*time.Millisecond), time.UTC)
	err = host.Deploy(functions.Function{
		Name: "payments-api", Command: []string{os.Args[0]}, Aliases: []string{"live"}, Modified: modified,
		Tags: map[string]string{"secret-broadcaster:push": "true", "team": "payments"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := invalidation.FunctionState{
		ARN: apiARN, Tags: map[string]string{"secret-broadcaster:push": "true", "team": "payments"},
		Versions: []invalidation.FunctionVersion{{Version: "$LATEST", Modified: modified}},
	}
	look := lookingAt(host.Endpoint())
	for _, name := range []string{
		"payments-api", "payments-api:live", "payments-api:$LATEST", "111122223333:function:payments-api",
		"111122223333:function:payments-api:live", apiARN, apiARN + ":live", apiARN + ":$LATEST",
	} {
		got, err := look.Look(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, name := range []string{"payments-old", "payments-api:next", apiARN + ":next"} {
		if _, err := look.Look(t.Context(), name); !errors.Is(err, invalidation.ErrNoFunction) {
			t.Errorf("%s: got %v, want that it does not exist", name, err)
		}
	}
}

// TestTheTimeoutOfAFunctionOfTheLocalHost: by each name that Lambda takes.
func TestTheTimeoutOfAFunctionOfTheLocalHost(t *testing.T) {
	host, err := functions.New(functions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	if err := host.Deploy(functions.Function{Name: "payments-api", Command: []string{os.Args[0]}, Aliases: []string{"live"}, Timeout: 42 * time.Second}); err != nil {
		t.Fatal(err)
	}
	look := lookingAt(host.Endpoint())
	for _, name := range []string{"payments-api", "payments-api:live", apiARN, apiARN + ":live", apiARN + ":$LATEST"} {
		if got, err := look.Timeout(t.Context(), name); err != nil || got != 42*time.Second {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"payments-old", "payments-api:next", apiARN + ":next"} {
		if _, err := look.Timeout(t.Context(), name); !errors.Is(err, invalidation.ErrNoFunction) {
			t.Errorf("%s: got %v, want that it does not exist", name, err)
		}
	}
	server := httptest.NewServer(lambdaAPI{"/2015-03-31/functions/payments-api/configuration": "!AccessDeniedException"})
	t.Cleanup(server.Close)
	if _, err := lookingAt(server.URL).Timeout(t.Context(), "payments-api"); !errors.Is(err, invalidation.ErrNotPermitted) {
		t.Errorf("refused: got %v", err)
	}
}

// A lambdaAPI answers by path what Lambda is documented to answer.
type lambdaAPI map[string]string

func (a lambdaAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := r.URL.Path
	if qualifier := r.URL.Query().Get("Qualifier"); qualifier != "" {
		at += "?" + qualifier
	}
	answer, ok := a[at]
	if kind, refused := strings.CutPrefix(answer, "!"); refused || !ok {
		w.Header().Set("X-Amzn-Errortype", kind)
		w.WriteHeader(http.StatusBadRequest)
		answer = `{"message":"refused by the test: ` + at + `"}`
	}
	_, _ = io.WriteString(w, answer)
}

// TestAnAliasThatShiftsItsTraffic: both versions may run.
func TestAnAliasThatShiftsItsTraffic(t *testing.T) {
	api := lambdaAPI{
		"/2015-03-31/functions/payments-api/aliases/live":    `{"FunctionVersion":"7","RoutingConfig":{"AdditionalVersionWeights":{"8":0.1}}}`,
		"/2015-03-31/functions/payments-api/configuration?7": `{"FunctionArn":"` + apiARN + `:7","Version":"7","LastModified":"2026-11-01T10:00:00.000+0000"}`,
		"/2015-03-31/functions/payments-api/configuration?8": `{"FunctionArn":"` + apiARN + `:8","Version":"8","LastModified":"2026-11-02T10:00:00.000+0000"}`,
		"/2017-03-31/tags/" + apiARN:                         `{"Tags":{"secret-broadcaster:push":"true"}}`,
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	got, err := lookingAt(server.URL).Look(t.Context(), "payments-api:live")
	if err != nil {
		t.Fatal(err)
	}
	want := invalidation.FunctionState{
		ARN: apiARN, Tags: map[string]string{"secret-broadcaster:push": "true"},
		Versions: []invalidation.FunctionVersion{
			{Version: "7", Modified: time.Date(2026, time.November, 1, 10, 0, 0, 0, time.UTC)},
			{Version: "8", Modified: time.Date(2026, time.November, 2, 10, 0, 0, 0, time.UTC)},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for at, want := range map[string]error{
		"/2015-03-31/functions/payments-api/aliases/live":    invalidation.ErrNotPermitted,
		"/2015-03-31/functions/payments-api/configuration?8": invalidation.ErrNotPermitted,
		"/2017-03-31/tags/" + apiARN:                         invalidation.ErrNotPermitted,
	} {
		was := api[at]
		api[at] = "!AccessDeniedException"
		if _, err := lookingAt(server.URL).Look(t.Context(), "payments-api:live"); !errors.Is(err, want) {
			t.Errorf("%s refused: got %v, want %v", at, err, want)
		}
		api[at] = was
	}
	api["/2015-03-31/functions/payments-api/configuration?7"] = `{"FunctionArn":"` + apiARN + `:7","Version":"7","LastModified":"yesterday"}`
	if _, err := lookingAt(server.URL).Look(t.Context(), "payments-api:live"); err == nil || !strings.Contains(err.Error(), "reading when function payments-api was modified") {
		t.Errorf("a date that is none: got %v", err)
	}
}

// TestWhatAnErrorMeans: each has its own class, so that a delivery says why.
func TestWhatAnErrorMeans(t *testing.T) {
	for kind, want := range map[string]error{
		"ResourceNotFoundException": invalidation.ErrNoFunction, "AccessDeniedException": invalidation.ErrNotPermitted,
		"TooManyRequestsException": invalidation.ErrThrottled, "InvalidParameterValueException": invalidation.ErrPermanent,
	} {
		pusher := hostWith(t, functions.Config{Before: func(functions.Invocation) error { return &functions.Refusal{Status: http.StatusBadRequest, Type: kind} }})
		if _, err := pusher.Push(t.Context(), "payments-api", []byte(`{}`)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", kind, err, want)
		}
	}
	if _, err := hostWith(t, functions.Config{}).Push(t.Context(), "payments-api", []byte(`"fail"`)); !errors.Is(err, invalidation.ErrFunction) {
		t.Errorf("a function's error: got %v", err)
	}
}
