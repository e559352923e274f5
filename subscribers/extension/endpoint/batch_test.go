package endpoint_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

// refusing has Secrets Manager refuse each request that names a secret.
func (w *world) refusing(id string, status int, kind string) {
	w.behind(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if !strings.Contains(string(body), id) {
			return w.vault.RoundTripper().RoundTrip(r)
		}
		if status == 0 {
			return nil, errors.New("connection reset")
		}
		refused := httptest.NewRecorder()
		refused.WriteHeader(status)
		fmt.Fprintf(refused, `{"__type":%q,"message":"example"}`, kind)
		return refused.Result(), nil
	})
}

// TestABatchIsRefusedAsItsSecretsAre: beside the others only where Secrets Manager says it of one secret
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_APIErrorType.html). Of an outage a client has to know, or
// it would not ask again.
func TestABatchIsRefusedAsItsSecretsAre(t *testing.T) {
	for _, c := range []struct {
		status  int
		kind    string
		answer  int // with the whole batch
		refused string
	}{
		{400, "ResourceNotFoundException", 200, ""},
		{400, "InvalidParameterException", 200, ""},
		{400, "InvalidRequestException", 200, ""},
		{400, "DecryptionFailure", 200, ""},
		{400, "AccessDeniedException", 200, ""},
		{400, "ThrottlingException", 400, "ThrottlingException"},
		{400, "ExpiredTokenException", 400, "ExpiredTokenException"},
		{400, "UnrecognizedClientException", 400, "UnrecognizedClientException"},
		{500, "InternalServiceError", 500, "InternalServiceError"},
		{503, "ServiceUnavailable", 503, "ServiceUnavailable"},
		{500, "ResourceNotFoundException", 500, "ResourceNotFoundException"},
		{0, "", 502, "ConnectionError"},
	} {
		for _, one := range []string{password, outside} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.put(password, "first")
				w.put(outside, "first")
				w.put("/bank/prod/payments/other", "first")
				w.refusing(one, c.status, c.kind)
				status, answer := w.sign("BatchGetSecretValue", `{"SecretIdList":["/bank/prod/payments/other","`+one+`"]}`)
				var got struct {
					Type   string `json:"__type"`
					Errors []struct{ ErrorCode string }
				}
				if err := json.Unmarshal([]byte(answer), &got); err != nil || status != c.answer || got.Type != c.refused {
					t.Errorf("%d %s of %s: got %d %s", c.status, c.kind, one, status, answer)
				}
				if status == 200 && (len(got.Errors) != 1 || got.Errors[0].ErrorCode != c.kind) {
					t.Errorf("%s of %s: got %s", c.kind, one, answer)
				}
			})
		}
	}
}
