package endpoint_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

// direct is AWS's client of Secrets Manager itself.
func (w *world) direct() *secretsmanager.Client {
	return w.client(func(o *secretsmanager.Options) {
		o.BaseEndpoint = aws.String("https://secretsmanager." + region + ".test")
		o.HTTPClient = &http.Client{Transport: w}
	})
}

func read(t *testing.T, client *secretsmanager.Client, in *secretsmanager.GetSecretValueInput) string {
	t.Helper()
	out, err := client.GetSecretValue(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.SecretString)
}

func ofID(id string) *secretsmanager.GetSecretValueInput {
	return &secretsmanager.GetSecretValueInput{SecretId: &id}
}

// TestAnSDKSeesWhatSecretsManagerSays: unmodified code gets the same answers as without the extension.
func TestAnSDKSeesWhatSecretsManagerSays(t *testing.T) {
	w := newWorld(t)
	first := w.put(password, "first")
	w.put(password, "second")
	w.put(outside, "other")
	ours, direct := w.client(), w.direct()
	for name, in := range map[string]*secretsmanager.GetSecretValueInput{
		"by name":             ofID(password),
		"outside":             ofID(outside),
		"by label":            {SecretId: aws.String(password), VersionStage: aws.String("AWSCURRENT")},
		"by another label":    {SecretId: aws.String(password), VersionStage: aws.String("AWSPREVIOUS")},
		"by version":          {SecretId: aws.String(password), VersionId: &first},
		"version and label":   {SecretId: aws.String(password), VersionId: &first, VersionStage: aws.String("AWSPREVIOUS")},
		"not found":           ofID("/bank/prod/payments/none"),
		"label not found":     {SecretId: aws.String(password), VersionStage: aws.String("AWSPENDING")},
		"label of another":    {SecretId: aws.String(password), VersionId: &first, VersionStage: aws.String("AWSCURRENT")},
		"an id that is empty": ofID(""),
	} {
		t.Run(name, func(t *testing.T) {
			want, wantErr := direct.GetSecretValue(t.Context(), in)
			got, err := ours.GetSecretValue(t.Context(), in)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(secretsmanager.GetSecretValueOutput{}), cmpopts.IgnoreFields(secretsmanager.GetSecretValueOutput{}, "ResultMetadata")); diff != "" {
				t.Error(diff)
			}
			wantSame(t, err, wantErr)
		})
	}
}

// wantSame compares what AWS says of an error.
func wantSame(t *testing.T, err, want error) {
	t.Helper()
	describe := func(err error) (code, message string, status int) {
		var api smithy.APIError
		var response *smithyhttp.ResponseError
		if errors.As(err, &api) {
			code, message = api.ErrorCode(), api.ErrorMessage()
		}
		if errors.As(err, &response) {
			status = response.HTTPStatusCode()
		}
		return code, message, status
	}
	code, message, status := describe(err)
	wantCode, wantMessage, wantStatus := describe(want)
	if code != wantCode || message != wantMessage || status != wantStatus || (err == nil) != (want == nil) {
		t.Errorf("got %v\nwant %v", err, want)
	}
}

func TestAnSDKsReadFollowsTheLog(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	w.put(password, "first")
	for range 5 {
		if got := read(t, client, ofID(password)); got != "first" {
			t.Errorf("got %q", got)
		}
	}
	w.put(password, "second")
	w.announce(password)
	w.untilCheck()
	if got := read(t, client, ofID(password)); got != "second" {
		t.Errorf("got %q", got)
	}
	if calls := w.called(); len(calls) != 2 {
		t.Errorf("Secrets Manager was called %d times, want twice: %v", len(calls), calls)
	}
}

// TestWhatIsNotAnsweredIsPassedOnUnchanged: signed anew, so that AWS accepts it.
func TestWhatIsNotAnsweredIsPassedOnUnchanged(t *testing.T) {
	w := newWorld(t)
	w.behind(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusTeapot, Header: http.Header{"X-Amzn-Requestid": {"example-id"}, "Content-Type": {"application/x-amz-json-1.1"}, "Connection": {"close"}},
			Body: io.NopCloser(strings.NewReader(`{"any": "answer" }`)), Request: r,
		}, nil
	})
	// A member that nobody knows yet, and blanks: the body is what AWS has to see.
	for _, c := range []struct{ operation, body string }{
		{"ListSecrets", `{ "MaxResults":1}`},
		{"PutSecretValue", `{"SecretId":"a","SecretString":"` + canary + `"}`},
		{"GetSecretValue", `{"SecretId":"a","Newer":1}`},
		{"GetSecretValue", `{"SecretId":"a"} {}`},
		{"GetSecretValue", `{"SecretId":"a"`},
		{"GetSecretValue", `["SecretId","a"]`},
		{"GetSecretValue", `{"SecretId":1}`},
		{"GetSecretValue", `null`},
		{"GetSecretValue", `{"secretid":"a"}`}, // no names of Secrets Manager's
		{"GetSecretValue", `{"SecretId":"a","VERSIONSTAGE":"AWSPENDING"}`},
		{"GetSecretValue", `{"SecretId":"a","SecretId":"b"}`}, // which one counts is for Secrets Manager to say
		{"GetSecretValue", `{"SecretId":"a","VersionStage":"AWSPENDING","VersionStage":"AWSCURRENT"}`},
		{"BatchGetSecretValue", `{"secretIdList":["a"]}`},
		{"GetSecretValue", `not JSON`},
		{"GetSecretValue", `{"SecretId":"a","VersionStage":"AWSPENDING"}`},
		{"BatchGetSecretValue", `{"Filters":[{"Key":"name","Values":["a"]}]}`},
		{"BatchGetSecretValue", `{"SecretIdList":["` + strings.Repeat(`a","`, 20) + `a"]}`},
		{"SomethingNew", ``},
	} {
		status, answer, header := w.ask(http.MethodPost, "/", c.body, w.signed(c.operation, c.body)...)
		if status != http.StatusTeapot || answer != `{"any": "answer" }` || header.Get("X-Amzn-Requestid") != "example-id" || header.Get("Connection") != "" {
			t.Errorf("%s: got %d %s %v", c.operation, status, answer, header)
		}
		calls := w.called()
		if len(calls) != 1 || calls[0].operation != c.operation || calls[0].body != c.body {
			t.Fatalf("%s: passed on as %v", c.operation, calls)
		}
		if err := verify(calls[0].request, c.body, region); err != nil {
			t.Errorf("%s: %v", c.operation, err)
		}
	}
}

// TestARequestForAnotherRegionGoesThere: a client may have been made for another Region than the function's.
func TestARequestForAnotherRegionGoesThere(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	client := w.client(func(o *secretsmanager.Options) { o.Region = "us-east-1" })
	for range 2 {
		if got := read(t, client, ofID(password)); got != "first" {
			t.Errorf("got %q", got)
		}
	}
	calls := w.called()
	if len(calls) != 2 || calls[0].request.URL.Host != "secretsmanager.us-east-1.test" {
		t.Fatalf("called: %v", calls)
	}
	if err := verify(calls[0].request, calls[0].body, "us-east-1"); err != nil {
		t.Error(err)
	}
}

func TestABatchIsReadLikeItsSecrets(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	w.put(outside, "other")
	client := w.client()
	read(t, client, ofID(password))
	w.put(password, "second")
	w.announce(password)
	w.untilCheck()
	out, err := client.BatchGetSecretValue(t.Context(), &secretsmanager.BatchGetSecretValueInput{SecretIdList: []string{password, "/none", outside}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range out.SecretValues {
		got = append(got, aws.ToString(v.Name)+" "+aws.ToString(v.SecretString))
		if v.CreatedDate == nil || v.ARN == nil || v.VersionId == nil || len(v.VersionStages) == 0 {
			t.Errorf("it lacks something: %+v", v)
		}
	}
	if diff := cmp.Diff([]string{password + " second", outside + " other"}, got); diff != "" {
		t.Error(diff)
	}
	if len(out.Errors) != 1 || aws.ToString(out.Errors[0].SecretId) != "/none" || aws.ToString(out.Errors[0].ErrorCode) != "ResourceNotFoundException" {
		t.Errorf("errors: %+v", out.Errors)
	}
	if calls := w.called(); slices.ContainsFunc(calls, func(c call) bool { return c.operation != "GetSecretValue" }) || len(calls) != 4 {
		t.Errorf("called: %v", calls)
	}
}

// TestDescribeSecretAgreesWithTheLog: caching clients describe a secret and then read the version that AWSCURRENT names. No value
// is asked for: whoever describes a secret may not be allowed to, and a trail of reads would tell of one.
func TestDescribeSecretAgreesWithTheLog(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	client := w.client()
	current := func(id string) string {
		t.Helper()
		out, err := client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &id})
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		for version, labels := range out.VersionIdsToStages {
			if slices.Contains(labels, "AWSCURRENT") {
				if found != "" {
					t.Errorf("AWSCURRENT is on two versions: %v", out.VersionIdsToStages)
				}
				found = version
			}
		}
		return found
	}
	late := w.answerLate("DescribeSecret")
	current(password)
	second := w.put(password, "second")
	w.announce(password)
	w.untilCheck()
	late()
	for _, id := range w.idsOf(password) {
		if got := current(id); got != second {
			t.Errorf("with an answer that is late AWSCURRENT of %s is %s, want %s", id, got, second)
		}
	}
	w.behind(nil)
	if third := w.put(password, "third"); current(password) != third { // it knows more than the log
		t.Errorf("AWSCURRENT is %s, want %s", current(password), third)
	}
	late = w.answerLate("DescribeSecret")
	before := current(password)
	if _, err := w.vault.DeleteSecret(secrets.DeleteSecretInput{SecretID: password}); err != nil {
		t.Fatal(err)
	}
	w.announce(password)
	w.untilCheck()
	late()
	if got := current(password); got != before { // that it is deleted is not for a label to say
		t.Errorf("once it is deleted AWSCURRENT is %q, want %s", got, before)
	}
	w.behind(nil)
	w.put(outside, "other")
	current(outside)
	if calls := w.called(); slices.ContainsFunc(calls, func(c call) bool { return c.operation != "DescribeSecret" }) {
		t.Errorf("more than the description was asked for: %v", calls)
	}
}

func TestARequestThatIsTooLong(t *testing.T) {
	w := newWorld(t)
	body := strings.Repeat("a", 1<<20+1)
	status, answer, _ := w.ask(http.MethodPost, "/", body, w.signed("PutSecretValue", body)...)
	var got map[string]string
	if err := json.Unmarshal([]byte(answer), &got); err != nil || status != http.StatusRequestEntityTooLarge || got["__type"] != "SerializationException" {
		t.Errorf("got %d %s", status, answer)
	}
	if calls := w.called(); len(calls) > 0 {
		t.Errorf("it was passed on")
	}
}

// TestWhenSecretsManagerCannotBeReached: the client is told so at once, as something to try again.
func TestWhenSecretsManagerCannotBeReached(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	calls := 0
	w.behind(func(r *http.Request) (*http.Response, error) {
		calls++
		return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
	})
	for _, c := range []struct {
		operation string
		tries     int
	}{{"ListSecrets", 2}, {"PutSecretValue", 1}} {
		calls = 0
		status, answer, _ := w.ask(http.MethodPost, "/", "{}", w.signed(c.operation, "{}")...)
		if status != http.StatusBadGateway || !strings.Contains(answer, "ConnectionError") || calls != c.tries {
			t.Errorf("%s: got %d %s after %d tries", c.operation, status, answer, calls)
		}
	}
	if status, answer, _ := w.get("/v1/" + password + "?versionStage=AWSPREVIOUS"); status != http.StatusBadGateway || answer != `{"__type":"ConnectionError","message":"Read Error"}` {
		t.Errorf("got %d %s", status, answer)
	}
}
