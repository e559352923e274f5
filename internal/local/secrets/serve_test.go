package secrets_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

func request(t testing.TB, operation, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://secrets", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"X-Amz-Target": {"secretsmanager." + operation}, "Authorization": {"any"}}
	return r
}

func call(t testing.TB, m *secrets.Manager, r *http.Request) (int, string, http.Header) {
	t.Helper()
	answer, err := m.RoundTripper().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body), answer.Header
}

func TestWireFormIsAWSs(t *testing.T) {
	c := newClock()
	c.advance(123 * time.Millisecond)
	m := secrets.New(secrets.Config{Now: c.Now, Suffix: func() string { return "abcdef" }, VersionID: func() string { return "version-1" }})
	const arn = `"ARN":"arn:aws:secretsmanager:eu-west-2:111122223333:secret:a-abcdef","Name":"a"`
	for _, step := range []struct{ operation, body, want string }{
		{"CreateSecret", `{"Name":"a","Description":"d","SecretString":"v1"}`, `{` + arn + `,"VersionId":"version-1"}`},
		{"GetSecretValue", `{"SecretId":"a"}`, `{` + arn + `,"VersionId":"version-1","SecretString":"v1","VersionStages":["AWSCURRENT"],"CreatedDate":1795428000.123}`},
		{"DescribeSecret", `{"SecretId":"a"}`, `{` + arn + `,"Description":"d","CreatedDate":1795428000.123,"LastChangedDate":1795428000.123,"VersionIdsToStages":{"version-1":["AWSCURRENT"]}}`},
		{"DeleteSecret", `{"SecretId":"a","RecoveryWindowInDays":7}`, `{` + arn + `,"DeletionDate":1796032800.124}`},
		{"DescribeSecret", `{"SecretId":"a"}`, `{` + arn + `,"Description":"d","CreatedDate":1795428000.123,"LastChangedDate":1795428000.124,"DeletedDate":1795428000.124,"VersionIdsToStages":{"version-1":["AWSCURRENT"]}}`},
		{"ListSecrets", `{}`, `{"SecretList":[]}`},
		{"ListSecrets", `{"IncludePlannedDeletion":true}`, `{"SecretList":[{` + arn + `,"Description":"d","CreatedDate":1795428000.123,"LastChangedDate":1795428000.124,"DeletedDate":1795428000.124,"SecretVersionsToStages":{"version-1":["AWSCURRENT"]}}]}`},
		{"RestoreSecret", `{"SecretId":"a"}`, `{` + arn + `}`},
		{"DeleteSecret", `{"SecretId":"a","ForceDeleteWithoutRecovery":true}`, `{` + arn + `,"DeletionDate":1795428000.123}`},
		{"DeleteSecret", `{"SecretId":"a","ForceDeleteWithoutRecovery":true}`, `{"Name":"a","DeletionDate":1795428000.123}`},
	} {
		status, got, header := call(t, m, request(t, step.operation, step.body))
		equal(t, got, step.want)
		equal(t, status, http.StatusOK)
		equal(t, header.Get("Content-Type"), "application/x-amz-json-1.1")
		equal(t, header["Date"], []string{"Mon, 23 Nov 2026 10:00:00 GMT"})
	}
}

func TestRefusedRequests(t *testing.T) {
	m := secrets.New(secrets.Config{})
	unsigned := request(t, "ListSecrets", `{}`)
	unsigned.Header.Del("Authorization")
	foreign := request(t, "", `{}`)
	foreign.Header.Set("X-Amz-Target", "DynamoDB_20120810.ListTables")
	for _, c := range []struct {
		request *http.Request
		want    string
	}{
		{unsigned, `{"__type":"MissingAuthenticationTokenException","Message":"Missing Authentication Token"}`},
		{foreign, `{"__type":"UnknownOperationException","Message":""}`},
		{request(t, "RotateSecret", `{}`), `{"__type":"UnknownOperationException","Message":"the local Secrets Manager does not support RotateSecret"}`},
		{request(t, "CreateSecret", `{"Name":"a","Tags":[]}`), `{"__type":"ValidationException","Message":"the local Secrets Manager does not support the parameter \"Tags\""}`},
		{request(t, "GetSecretValue", `{"SecretId":"a"}`), `{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`},
		{request(t, "ListSecrets", `{"Filters":[{"Key":"tag-key","Values":["a"]}]}`), `{"__type":"ValidationException","Message":"the local Secrets Manager supports one filter, with the key name"}`},
		{request(t, "ListSecrets", `{"Filters":[{"Key":"name","Values":["!a"]}]}`), `{"__type":"ValidationException","Message":"the local Secrets Manager does not support filter values that begin with !"}`},
		{request(t, "ListSecrets", `{"NextToken":"nonsense"}`), `{"__type":"InvalidNextTokenException","Message":"The NextToken value is invalid."}`},
		{request(t, "ListSecrets", `{"MaxResults":0}`), `{"__type":"InvalidParameterException","Message":"MaxResults must be between 1 and 100."}`},
		{request(t, "DeleteSecret", `{"SecretId":"a","RecoveryWindowInDays":0}`), `{"__type":"InvalidParameterException","Message":"The RecoveryWindowInDays value must be between 7 and 30 days (inclusive)."}`},
		{request(t, "CreateSecret", `{"Name":"a","ClientRequestToken":"short"}`), `{"__type":"InvalidParameterException","Message":"ClientRequestToken must be 32-64 characters long."}`},
	} {
		status, got, _ := call(t, m, c.request)
		equal(t, got, c.want)
		equal(t, status, http.StatusBadRequest)
	}
	if status, got, _ := call(t, m, request(t, "GetSecretValue", `{`)); status != http.StatusBadRequest || !strings.Contains(got, "SerializationException") {
		t.Errorf("%d %s", status, got)
	}
}

func TestTwentyLabelsFitOnAVersion(t *testing.T) {
	m := secrets.New(secrets.Config{})
	id := create(m, "v1")
	for i := range 19 {
		equal(t, move(m, strings.Repeat("x", i+1), id, ""), nil)
	}
	if err := move(m, "ONE-MORE", id, ""); !errors.Is(err, secrets.LimitExceeded) {
		t.Errorf("got %v", err)
	}
	equal(t, len(must(m.DescribeSecret(name)).VersionIDsToStages[id]), 20)
}

func TestEndedContextExecutesNothing(t *testing.T) {
	m := secrets.New(secrets.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.RoundTripper().RoundTrip(request(t, "CreateSecret", `{"Name":"a"}`).WithContext(ctx))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := m.DescribeSecret("a"); !errors.Is(err, secrets.ResourceNotFound) {
		t.Errorf("executed: %v", err)
	}
}

func TestSDKClientWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := secrets.New(secrets.Config{Lag: func(secrets.Read) time.Duration { return 3 * time.Second }})
		client := secretsmanager.New(secretsmanager.Options{
			BaseEndpoint: aws.String("http://secrets"), Region: "eu-west-2",
			Credentials: credentials.NewStaticCredentialsProvider("111111111111", "not-checked", ""),
			HTTPClient:  &http.Client{Transport: m.RoundTripper()},
		})
		create(m, "v0")
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				for range 5 {
					time.Sleep(time.Second)
					_, err := client.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(name), SecretString: aws.String(strings.Repeat("v", i+1))})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		time.Sleep(3 * time.Second)
		out, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String(name)})
		if err != nil || *out.SecretString == "v0" {
			t.Errorf("%v, %v", out, err)
		}
	})
}

// TestConcurrentUse is for the race detector, and for labels under contention.
func TestConcurrentUse(t *testing.T) {
	m := secrets.New(secrets.Config{Lag: func(secrets.Read) time.Duration { return time.Millisecond }, OnLabel: func(secrets.LabelUpdated) {}})
	create(m, "v1")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				put(m, "v")
				if _, err := m.DescribeSecret(name); err != nil && !errors.Is(err, secrets.ResourceNotFound) {
					t.Error(err)
				}
				must(m.ListSecrets(secrets.ListSecretsInput{}))
				m.Prune(time.Now().Add(-time.Second))
			}
		})
	}
	group.Wait()
}
