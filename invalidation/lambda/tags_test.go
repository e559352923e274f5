//go:build linux

package lambda_test

import (
	"errors"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
)

func tagsAt(url string) *lambda.Tags {
	client := sdk.New(sdk.Options{
		Region: "eu-west-2", BaseEndpoint: &url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("placeholder", "placeholder", ""),
	})
	return lambda.NewTags(client, arn.ARN{Partition: "aws", Service: "sts", AccountID: "111122223333"}, "eu-west-2")
}

// TestTheTagsOfAFunctionOfTheLocalHost: by each name that Lambda takes.
func TestTheTagsOfAFunctionOfTheLocalHost(t *testing.T) {
	host, err := functions.New(functions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	tags := map[string]string{"secret-broadcaster:push": "true"}
	if err := host.Deploy(functions.Function{Name: "payments-api", Command: []string{os.Args[0]}, Aliases: []string{"live"}, Tags: tags}); err != nil {
		t.Fatal(err)
	}
	of := tagsAt(host.Endpoint())
	for _, name := range []string{
		"payments-api", "payments-api:live", "payments-api:$LATEST", "111122223333:function:payments-api",
		"111122223333:function:payments-api:live", apiARN, apiARN + ":live", apiARN + ":$LATEST",
	} {
		if got, err := of.Tags(t.Context(), name); err != nil || len(got) != 1 || got["secret-broadcaster:push"] != "true" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"payments-old", "payments-api:next", apiARN + ":next", "444455556666:function:payments-api"} {
		if _, err := of.Tags(t.Context(), name); !errors.Is(err, invalidation.ErrNoFunction) {
			t.Errorf("%s: got %v, want that it does not exist", name, err)
		}
	}
}

// TestTagsThatMayNotBeSeen.
func TestTagsThatMayNotBeSeen(t *testing.T) {
	for _, api := range []lambdaAPI{
		{"/2017-03-31/tags/" + apiARN: "!AccessDeniedException", "/2015-03-31/functions/payments-api/aliases/live": `{"FunctionVersion":"7"}`},
		{"/2015-03-31/functions/payments-api/aliases/live": "!AccessDeniedException"},
	} {
		server := httptest.NewServer(api)
		if _, err := tagsAt(server.URL).Tags(t.Context(), "payments-api:live"); !errors.Is(err, invalidation.ErrNotPermitted) {
			t.Errorf("got %v", err)
		}
		server.Close()
	}
}
