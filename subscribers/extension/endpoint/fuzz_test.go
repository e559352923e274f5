package endpoint_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// FuzzRequest: whatever is sent, the endpoint answers with what it may, and a value only to who has the token or a
// signature.
func FuzzRequest(f *testing.F) {
	const own = "X-Aws-Parameters-Secrets-Token: " + token + "\r\n"
	for _, raw := range []string{
		"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /secretsmanager/get?secretId=%2Fbank%2Fprod%2Fpayments%2Fneon%2Fpassword HTTP/1.1\r\nHost: a\r\n" + own + "\r\n",
		"GET /secretsmanager/get?secretId=a&versionId=b&versionStage=c&refreshNow=1 HTTP/1.1\r\nHost: a\r\n" + own + "\r\n",
		"GET /v1//bank/prod/payments/neon/password?versionStage=AWSPREVIOUS HTTP/1.1\r\nHost: a\r\nX-Vault-Token: " + token + "\r\n\r\n",
		"GET /systemsmanager/parameters/get?name=a HTTP/1.1\r\nHost: a\r\n" + own + "X-Forwarded-For: 192.0.2.1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: secretsmanager.GetSecretValue\r\nX-Amz-Date: 20261123T100000Z\r\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-west-2/secretsmanager/aws4_request, SignedHeaders=host;x-amz-date, Signature=0\r\n" +
			"Content-Length: 2\r\n\r\n{}",
	} {
		f.Add([]byte(raw))
	}
	w := newWorld(f)
	w.put(password, canary)
	f.Fuzz(func(t *testing.T, raw []byte) {
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return // net/http answers that itself
		}
		answer := httptest.NewRecorder()
		w.endpoint.ServeHTTP(answer, request)
		has := func(h string) bool { return request.Header.Get(h) == token }
		if strings.Contains(answer.Body.String(), canary) && !has("X-Aws-Parameters-Secrets-Token") && !has("X-Vault-Token") {
			t.Errorf("a stranger got the value with %q", raw)
		}
		switch answer.Code {
		case 200, 400, 403, 404, 405, 413:
		default:
			t.Errorf("%q: got %d %s", raw, answer.Code, answer.Body)
		}
	})
}

// FuzzSigned: whatever the function itself sends, and Secrets Manager answers, is handled.
func FuzzSigned(f *testing.F) {
	f.Add("GetSecretValue", `{"SecretId":"`+password+`"}`, `{"VersionId":"a","SecretString":"b"}`)
	f.Add("GetSecretValue", `{"SecretId":"a","VersionId":"b"}`, `{"__type":"ThrottlingException","Message":"c"}`)
	f.Add("BatchGetSecretValue", `{"SecretIdList":["a","`+password+`"]}`, `[]`)
	f.Add("DescribeSecret", `{"SecretId":"`+password+`"}`, `{"VersionIdsToStages":{"a":["AWSCURRENT"],"b":null}}`)
	f.Add("UpdateSecret", `{"SecretId":1}`, `{"ARN":"a","Name":2}`)
	w := newWorld(f)
	w.put(password, canary)
	f.Fuzz(func(t *testing.T, operation, body, answer string) {
		if strings.ContainsFunc(operation, func(r rune) bool { return r < ' ' || r > '~' }) {
			return // no header can say that
		}
		w.t = t
		w.behind(func(r *http.Request) (*http.Response, error) {
			recorder := httptest.NewRecorder()
			fmt.Fprint(recorder, answer)
			return recorder.Result(), nil
		})
		w.clock.added.Add(int64(secretcache.DefaultTTL + time.Second))
		status, got, _ := w.ask(http.MethodPost, "/", body, w.signed(operation, body)...)
		if status != 200 && !strings.Contains(got, `"__type":"`) {
			t.Errorf("%s %s: got %d %s", operation, body, status, got)
		}
		if logs := w.logged.take(); strings.Contains(logs, canary) {
			t.Errorf("a value was logged: %s", logs)
		}
		w.called()
	})
}
