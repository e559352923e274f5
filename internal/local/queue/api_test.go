package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
)

// send posts a request as a client of the AWS JSON protocol does.
func send(t testing.TB, q *queue.Queue, target, authorization, body string) (*http.Response, map[string]string) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("X-Amz-Target", target)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	recorder := httptest.NewRecorder()
	q.ServeHTTP(recorder, request)
	response := recorder.Result()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer := map[string]string{}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return response, answer
}

func TestSendMessageOverHTTPArrivesAfterItsDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{}
		q := run(t, f, queue.Config{})
		body := fmt.Sprintf(`{"QueueUrl":%q,"MessageBody":"test","DelaySeconds":7}`, q.URL("http://127.0.0.1:9"))
		response, answer := send(t, q, "AmazonSQS.SendMessage", "signed", body)
		if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/x-amz-json-1.0" ||
			answer["MD5OfMessageBody"] != "098f6bcd4621d373cade4e832627b4f6" {
			t.Errorf("%d %v %v", response.StatusCode, response.Header, answer)
		}
		wait(t, q)
		check(t, f.at(), "7s: 1")
		if f.batches[0].ids[0] != answer["MessageId"] {
			t.Errorf("%v arrived, %s was sent", f.batches[0].ids, answer["MessageId"])
		}
	})
}

func TestSendMessageRefusesAsSQSDoes(t *testing.T) {
	q := queue.New(queue.Config{QueueARN: "arn:aws:sqs:eu-west-2:111122223333:secret-events"})
	const url = `"QueueUrl":"http://127.0.0.1:9/111122223333/secret-events"`
	tests := map[string]struct {
		target, body, kind, query string
	}{
		"another queue":         {"", `{"QueueUrl":"http://127.0.0.1:9/111122223333/other","MessageBody":"a"}`, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender"},
		"a name instead of URL": {"", `{"QueueUrl":"secret-events","MessageBody":"a"}`, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender"},
		"no body":               {"", `{` + url + `}`, "MissingParameter", "MissingParameter;Sender"},
		"a delay too long":      {"", `{` + url + `,"MessageBody":"a","DelaySeconds":901}`, "InvalidParameterValue", "InvalidParameterValue;Sender"},
		"a negative delay":      {"", `{` + url + `,"MessageBody":"a","DelaySeconds":-1}`, "InvalidParameterValue", "InvalidParameterValue;Sender"},
		"a body above 1 MiB":    {"", `{` + url + `,"MessageBody":"` + strings.Repeat("x", 1<<20+1) + `"}`, "InvalidParameterValue", "InvalidParameterValue;Sender"},
		"attributes":            {"", `{` + url + `,"MessageBody":"a","MessageAttributes":{"a":{"DataType":"String","StringValue":"b"}}}`, "UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation;Sender"},
		"a FIFO group":          {"", `{` + url + `,"MessageBody":"a","MessageGroupId":"g"}`, "UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation;Sender"},
		"no JSON":               {"", `Action=SendMessage`, "SerializationException", ""},
		"another operation":     {"AmazonSQS.ReceiveMessage", `{` + url + `}`, "UnknownOperationException", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			target := test.target
			if target == "" {
				target = "AmazonSQS.SendMessage"
			}
			response, answer := send(t, q, target, "signed", test.body)
			if response.StatusCode != 400 || !strings.HasSuffix(answer["__type"], "#"+test.kind) || answer["message"] == "" ||
				response.Header.Get("X-Amzn-Query-Error") != test.query {
				t.Errorf("%d %v %v", response.StatusCode, response.Header, answer)
			}
		})
	}
	response, answer := send(t, q, "AmazonSQS.SendMessage", "", `{`+url+`,"MessageBody":"a"}`)
	if response.StatusCode != 403 || !strings.HasSuffix(answer["__type"], "#MissingAuthenticationTokenException") {
		t.Errorf("not signed: %d %v", response.StatusCode, answer)
	}
	if q.Depth() != 0 {
		t.Errorf("%d messages", q.Depth())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := q.Wait(ctx); err != nil {
		t.Error(err)
	}
}
