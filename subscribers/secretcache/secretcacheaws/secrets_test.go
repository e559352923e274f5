package secretcacheaws_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/logging"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

const (
	arn    = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:/bank/prod/payments/neon/connection-string-AbCdEf"
	canary = "canary-value"
	answer = `{"ARN":"` + arn + `","CreatedDate":1795428000.713,"Name":"` + connectionString + `",` +
		`"VersionId":"EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE","VersionStages":["AWSCURRENT"],`
)

func TestGetAsksForWhatIsWanted(t *testing.T) {
	endpoint := newEndpoint(t, always(200, answer+`"SecretString":"first"}`))
	secrets := configFrom(t, awsConfig(endpoint.URL)).Secrets
	got, err := secrets.Get(t.Context(), connectionString, "")
	if err != nil {
		t.Fatal(err)
	}
	want := secretcache.Fetched{
		Name: connectionString, ARN: arn, VersionID: "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE", Text: "first",
		Labels:  []string{"AWSCURRENT"},
		Created: time.Date(2026, time.November, 23, 10, 0, 0, 713e6, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := secrets.Get(t.Context(), arn, "EXAMPLE2-90ab-cdef-fedc-ba987EXAMPLE"); err != nil {
		t.Fatal(err)
	}
	got, err = secrets.Pending(t.Context(), connectionString)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantBodies := []string{
		`{"SecretId":"` + connectionString + `"}`,
		`{"SecretId":"` + arn + `","VersionId":"EXAMPLE2-90ab-cdef-fedc-ba987EXAMPLE"}`,
		`{"SecretId":"` + connectionString + `","VersionStage":"AWSPENDING"}`,
	}
	requests := endpoint.got()
	if len(requests) != len(wantBodies) {
		t.Fatalf("%d requests, want %d", len(requests), len(wantBodies))
	}
	for i, request := range requests {
		if diff := cmp.Diff(wantBodies[i], request.body); diff != "" {
			t.Error(diff)
		}
	}
}

func TestABinarySecretIsItsBytes(t *testing.T) {
	endpoint := newEndpoint(t, always(200, answer+`"SecretBinary":"AAH/"}`))
	got, err := configFrom(t, awsConfig(endpoint.URL)).Secrets.Get(t.Context(), connectionString, "")
	if err != nil || got.Text != "\x00\x01\xff" {
		t.Errorf("got %q, %v", got.Text, err)
	}
}

func TestErrorsOfSecretsManagerAreClassed(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       error
	}{
		{"not found", `{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`, secretcache.ErrNotFound},
		{"no value yet", `{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"}`, secretcache.ErrNotFound},
		{"marked", `{"__type":"InvalidRequestException","Message":"You can't perform this operation on the secret because it was marked for deletion."}`, secretcache.ErrDeleted},
		{"scheduled", `{"__type":"InvalidRequestException","Message":"You can't perform this operation on the secret because it is scheduled for deletion."}`, secretcache.ErrDeleted},
		{"another invalid request", `{"__type":"InvalidRequestException","Message":"You provided a parameter value that is not valid for the current state."}`, nil},
		{"denied", `{"__type":"AccessDeniedException","Message":"User is not authorized to perform: secretsmanager:GetSecretValue"}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			endpoint := newEndpoint(t, always(400, test.body))
			_, err := configFrom(t, awsConfig(endpoint.URL)).Secrets.Get(t.Context(), connectionString, "")
			if err == nil {
				t.Fatal("no error")
			}
			for _, class := range []error{secretcache.ErrNotFound, secretcache.ErrDeleted} {
				if errors.Is(err, class) != errors.Is(test.want, class) {
					t.Errorf("%v: is %v", err, class)
				}
			}
			if code, _, _ := strings.Cut(test.body[11:], `"`); !strings.Contains(err.Error(), code) {
				t.Errorf("%v does not tell what AWS said", err)
			}
		})
	}
}

// TestNoErrorHoldsAValue: an answer that cannot be decoded may hold one, and so may the SDK's error about it.
func TestNoErrorHoldsAValue(t *testing.T) {
	for name, body := range map[string]string{
		"not JSON":       answer + `"SecretString":"` + canary,
		"bare":           canary,
		"wrong type":     answer + `"SecretString":{"` + canary + `":"` + canary + `"}}`,
		"wrong encoding": answer + `"SecretBinary":"!` + canary + `"}`,
		"wrong date":     `{"CreatedDate":"` + canary + `","SecretString":"` + canary + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := newEndpoint(t, always(200, body))
			var log strings.Builder
			cfg := awsConfig(endpoint.URL)
			cfg.Logger = logging.NewStandardLogger(&log)
			cfg.ClientLogMode = aws.LogResponseWithBody | aws.LogRetries
			got, err := configFrom(t, cfg).Secrets.Get(t.Context(), connectionString, "")
			if err == nil {
				t.Fatalf("no error, and %d bytes", len(got.Text))
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, canary) {
					t.Errorf("the error holds the value: %s", text)
				}
			}
			if strings.Contains(log.String(), canary) {
				t.Errorf("the SDK's log holds the value: %s", log.String())
			}
		})
	}
}

func TestGetEndsWithItsContext(t *testing.T) {
	for name, before := range map[string]string{"before the answer": "", "in the answer": answer} {
		t.Run(name, func(t *testing.T) {
			endpoint := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, _, _ int) {
				if before != "" {
					io.WriteString(w, before)             //nolint:errcheck // the client sees it
					http.NewResponseController(w).Flush() //nolint:errcheck // the client sees it
				}
				<-r.Context().Done()
			})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := configFrom(t, awsConfig(endpoint.URL)).Secrets.Get(ctx, connectionString, "")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}
