//go:build linux

package functions_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
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

const paymentsARN = "arn:aws:lambda:eu-west-2:111122223333:function:payments-api"

func TestTheSDKInvokesAFunctionByEveryFormOfItsName(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api", Aliases: []string{"live"}})
	api := client(h)
	tests := []struct{ name, qualifier, arn string }{
		{"payments-api", "", paymentsARN},
		{"payments-api:live", "", paymentsARN + ":live"},
		{"payments-api:$LATEST", "", paymentsARN + ":$LATEST"},
		{"payments-api", "live", paymentsARN + ":live"},
		{"payments-api:live", "live", paymentsARN + ":live"},
		{"111122223333:function:payments-api:live", "", paymentsARN + ":live"},
		{paymentsARN, "", paymentsARN},
		{paymentsARN, "live", paymentsARN + ":live"},
		{paymentsARN + ":live", "", paymentsARN + ":live"},
	}
	for _, test := range tests {
		t.Run(test.name+" "+test.qualifier, func(t *testing.T) {
			in := &lambda.InvokeInput{FunctionName: &test.name, Payload: []byte(`{}`)}
			if test.qualifier != "" {
				in.Qualifier = &test.qualifier
			}
			out, err := api.Invoke(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if out.StatusCode != 200 || aws.ToString(out.ExecutedVersion) != "$LATEST" || out.FunctionError != nil {
				t.Errorf("%+v", out)
			}
			if got := parse(t, functions.Result{Payload: out.Payload}).ARN; got != test.arn {
				t.Errorf("invoked as %s, want %s", got, test.arn)
			}
		})
	}
}

func TestTheSDKSeesWhatTheFunctionCameTo(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	out, err := client(h).Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("payments-api"), Payload: payload(t, event{Do: "fail"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(out.FunctionError) != "Unhandled" || !strings.Contains(string(out.Payload), "as asked") {
		t.Errorf("%+v: %s", out, out.Payload)
	}
}

func TestADryRunStartsNothing(t *testing.T) {
	h := newHost(t, functions.Config{Before: func(functions.Invocation) error { return functions.ErrDropConnection }})
	deploy(t, h, functions.Function{Name: "payments-api"})
	out, err := client(h).Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("payments-api"), InvocationType: types.InvocationTypeDryRun,
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.StatusCode != 204 || len(h.Environments()) != 0 {
		t.Errorf("status %d, environments %v", out.StatusCode, h.Environments())
	}
}

func TestTheAPIRefusesAsAWSDoes(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api", MaxEnvironments: 1})
	deploy(t, h, functions.Function{Name: "kyc-api"})
	m := newMeeting(t)
	go func() { _, _ = h.Invoke(t.Context(), "payments-api", payload(t, event{Dial: m.address()})) }()
	busy := m.await(1)
	defer m.letGo(busy...)

	big := []byte(`"` + strings.Repeat("x", 6<<20) + `"`)
	tests := map[string]struct {
		in     lambda.InvokeInput
		status int
		code   string
	}{
		"an unknown function":  {lambda.InvokeInput{FunctionName: aws.String("nobody")}, 404, "ResourceNotFoundException"},
		"an unknown alias":     {lambda.InvokeInput{FunctionName: aws.String("kyc-api:green")}, 404, "ResourceNotFoundException"},
		"another account":      {lambda.InvokeInput{FunctionName: aws.String("444455556666:function:kyc-api")}, 404, "ResourceNotFoundException"},
		"another Region":       {lambda.InvokeInput{FunctionName: aws.String("arn:aws:lambda:us-east-1:111122223333:function:kyc-api")}, 404, "ResourceNotFoundException"},
		"two qualifiers":       {lambda.InvokeInput{FunctionName: aws.String("kyc-api:green"), Qualifier: aws.String("blue")}, 400, "InvalidParameterValueException"},
		"a name that is none":  {lambda.InvokeInput{FunctionName: aws.String("kyc api")}, 400, "ValidationException"},
		"no free environment":  {lambda.InvokeInput{FunctionName: aws.String("payments-api")}, 429, "TooManyRequestsException"},
		"a payload not JSON":   {lambda.InvokeInput{FunctionName: aws.String("kyc-api"), Payload: []byte(`{"a":`)}, 400, "InvalidRequestContentException"},
		"a payload above 6 MB": {lambda.InvokeInput{FunctionName: aws.String("kyc-api"), Payload: big}, 413, "RequestTooLargeException"},
		"an Event above 1 MB": {
			lambda.InvokeInput{FunctionName: aws.String("kyc-api"), Payload: big[5<<20-1:], InvocationType: types.InvocationTypeEvent},
			413, "RequestTooLargeException",
		},
		"an unknown invocation type": {
			lambda.InvokeInput{FunctionName: aws.String("kyc-api"), InvocationType: "Later"}, 400, "InvalidParameterValueException",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := client(h).Invoke(t.Context(), &test.in)
			var apiError smithy.APIError
			var response interface{ HTTPStatusCode() int }
			if !errors.As(err, &apiError) || !errors.As(err, &response) {
				t.Fatalf("no error of the API: %v", err)
			}
			if apiError.ErrorCode() != test.code || response.HTTPStatusCode() != test.status || apiError.ErrorMessage() == "" {
				t.Errorf("%d %s: %q", response.HTTPStatusCode(), apiError.ErrorCode(), apiError.ErrorMessage())
			}
			var throttle *types.TooManyRequestsException
			if errors.As(err, &throttle) && throttle.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded {
				t.Errorf("reason %q", throttle.Reason)
			}
		})
	}
	if list := h.Environments(); len(list) != 1 {
		t.Errorf("a refused invocation started an environment: %+v", list)
	}
}

func TestARequestThatIsNotSignedIsRefused(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api"})
	for _, path := range []string{
		"/2015-03-31/functions/payments-api/invocations", "/2015-03-31/functions/payments-api",
		"/2017-03-31/tags/" + url.PathEscape(paymentsARN), "/elsewhere",
	} {
		method := http.MethodGet
		if strings.HasSuffix(path, "invocations") {
			method = http.MethodPost
		}
		request, err := http.NewRequestWithContext(t.Context(), method, h.Endpoint()+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != 403 ||
			response.Header.Get("X-Amzn-Errortype") != "MissingAuthenticationTokenException" ||
			!bytes.Contains(body, []byte(`"message":"Missing Authentication Token"`)) {
			t.Errorf("%s: %d %v %s", path, response.StatusCode, err, body)
		}
	}
	if len(h.Environments()) != 0 {
		t.Error("it ran all the same")
	}
}

func TestTheSDKReadsConfigurationAndTags(t *testing.T) {
	h := newHost(t, functions.Config{})
	before := time.Now()
	deploy(t, h, functions.Function{
		Name: "payments-api", Timeout: 20 * time.Second, MemoryMB: 512, MaxEnvironments: 7, Aliases: []string{"live"},
		Env: []string{"SECRET_BROADCAST_ENV=prod"}, Tags: map[string]string{"domain": "payments", "env": "prod"},
	})
	api := client(h)
	configuration, err := api.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{
		FunctionName: aws.String(paymentsARN + ":live"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if *configuration.FunctionArn != paymentsARN+":live" || *configuration.FunctionName != "payments-api" ||
		*configuration.Version != "$LATEST" || configuration.State != types.StateActive ||
		configuration.LastUpdateStatus != types.LastUpdateStatusSuccessful ||
		*configuration.Timeout != 20 || *configuration.MemorySize != 512 ||
		configuration.Environment.Variables["SECRET_BROADCAST_ENV"] != "prod" {
		t.Errorf("%+v", configuration)
	}
	modified, err := time.Parse("2006-01-02T15:04:05.000-0700", *configuration.LastModified)
	if err != nil || modified.Before(before.Truncate(time.Millisecond)) || modified.After(time.Now()) {
		t.Errorf("last modified %s (%v); deployed at %v", *configuration.LastModified, err, before)
	}

	fn, err := api.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("payments-api"), Qualifier: aws.String("live")})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"domain": "payments", "env": "prod"}
	if *fn.Configuration.FunctionArn != paymentsARN+":live" || *fn.Concurrency.ReservedConcurrentExecutions != 7 || !cmp.Equal(fn.Tags, want) {
		t.Errorf("%+v", fn)
	}
	tags, err := api.ListTags(t.Context(), &lambda.ListTagsInput{Resource: aws.String(paymentsARN)})
	if err != nil || !cmp.Equal(tags.Tags, want) {
		t.Errorf("tags %+v, %v", tags, err)
	}
	var invalid *types.InvalidParameterValueException
	if _, err := api.ListTags(t.Context(), &lambda.ListTagsInput{Resource: aws.String(paymentsARN + ":live")}); !errors.As(err, &invalid) {
		t.Errorf("tags of an alias: %v", err)
	}
	var missing *types.ResourceNotFoundException
	if _, err := api.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("nobody")}); !errors.As(err, &missing) {
		t.Errorf("unknown function: %v", err)
	}
	if _, err := api.ListFunctions(t.Context(), &lambda.ListFunctionsInput{}); err == nil {
		t.Error("an operation that is not there succeeded")
	}
}

func TestDeployRefusesWhatCannotRun(t *testing.T) {
	h := newHost(t, functions.Config{})
	for name, fn := range map[string]functions.Function{
		"no name":          {Command: []string{"true"}},
		"an ARN as name":   {Name: paymentsARN, Command: []string{"true"}},
		"no command":       {Name: "a"},
		"negative":         {Name: "a", Command: []string{"true"}, Timeout: -1},
		"no NAME=value":    {Name: "a", Command: []string{"true"}, Env: []string{"NAME"}},
		"an entry no name": {Name: "a", Command: []string{"true"}, Env: []string{"=value"}},
	} {
		if err := h.Deploy(fn); err == nil {
			t.Errorf("%s: deployed", name)
		}
	}
}
