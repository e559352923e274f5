package secretcacheaws

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/bank-platform/secret-broadcaster/invalidation/connection"
)

// maxAnswerBytes bounds an answer. A Query returns at most 1 MB of items
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html); as JSON in JSON they grow.
const maxAnswerBytes = 4 << 20

// skewed is how far this machine's clock must be off for a signature's refusal to be put down to it: as in the SDK.
const skewed = 4 * time.Minute

// tables speaks DynamoDB's JSON protocol with one endpoint, without retries. It is safe for concurrent use.
type tables struct {
	connection  *connection.Client
	credentials aws.CredentialsProvider
	signer      *v4.Signer
	endpoint    string
	region      string
	offset      atomic.Int64 // of the server's clock to this one, as a refusal has told
}

func newTables(cfg aws.Config, endpoint string) *tables {
	return &tables{
		connection: connection.New(cfg.HTTPClient), credentials: cfg.Credentials, signer: v4.NewSigner(),
		endpoint: endpoint, region: cfg.Region,
	}
}

// value is an attribute value: of a string or of a number.
type value struct {
	S *string `json:"S,omitempty"`
	N *string `json:"N,omitempty"`
}

func text(s string) value   { return value{S: &s} }
func number(n string) value { return value{N: &n} }

// call executes one operation on a table and decodes its answer into out. The date is DynamoDB's own, or zero.
func (t *tables) call(ctx context.Context, operation, table string, in, out any) (date time.Time, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return time.Time{}, fmt.Errorf("encoding a %s: %w", operation, err)
	}
	status, header, answer, err := t.post(ctx, operation, body)
	if err == nil && t.correctClock(status, header, answer) {
		status, header, answer, err = t.post(ctx, operation, body)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("calling %s on table %s: %w", operation, table, err)
	}
	if status != http.StatusOK {
		return time.Time{}, fmt.Errorf("calling %s on table %s: %w", operation, table, refusal(status, answer))
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return time.Time{}, fmt.Errorf("decoding the answer to %s on table %s: %w", operation, table, err)
	}
	date, err = http.ParseTime(header.Get("Date"))
	if err != nil {
		date = time.Time{} // an endpoint that tells none is no reason to fail
	}
	return date, nil
}

// post signs and sends one request and reads the answer. After a failure, also the server's, the next request gets a
// fresh connection.
func (t *tables) post(ctx context.Context, operation string, body []byte) (int, http.Header, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("making a request: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	request.Header.Set("Accept-Encoding", "identity")
	credentials, err := t.credentials.Retrieve(ctx)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("retrieving credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	err = t.signer.SignHTTP(ctx, credentials, request, hex.EncodeToString(sum[:]), "dynamodb", t.region, t.now())
	if err != nil {
		return 0, nil, nil, fmt.Errorf("signing the request: %w", err)
	}
	response, err := t.connection.Do(request)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("sending the request: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	response.Body.Close()
	if err != nil || response.StatusCode >= http.StatusInternalServerError {
		t.connection.CloseIdle()
	}
	switch {
	case err != nil:
		return 0, nil, nil, fmt.Errorf("reading the answer: %w", err)
	case len(answer) > maxAnswerBytes:
		return 0, nil, nil, fmt.Errorf("reading the answer: it is longer than %d bytes", maxAnswerBytes)
	}
	return response.StatusCode, response.Header, answer, nil
}

// now is the time that requests are signed with.
func (t *tables) now() time.Time { return time.Now().Add(time.Duration(t.offset.Load())) }

// correctClock reports whether a signature was refused because of its time, and the next has the server's
// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html).
func (t *tables) correctClock(status int, header http.Header, answer []byte) bool {
	if status != http.StatusBadRequest {
		return false
	}
	code, _ := errorIn(answer)
	server, err := http.ParseTime(header.Get("Date"))
	if code != "InvalidSignatureException" && code != "RequestExpired" || err != nil || server.Sub(t.now()).Abs() < skewed {
		return false
	}
	t.offset.Store(int64(time.Until(server)))
	return true
}

// errorIn returns the code and the text of an answer that is no result; empty if it is none of DynamoDB's.
func errorIn(answer []byte) (code, message string) {
	var body struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if json.Unmarshal(answer, &body) != nil {
		return "", ""
	}
	return body.Type[strings.LastIndexByte(body.Type, '#')+1:], body.Message
}

// refusal makes an error of an answer that is no result
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html).
func refusal(status int, answer []byte) error {
	code, message := errorIn(answer)
	if code == "" {
		return fmt.Errorf("HTTP status %d, and no error of DynamoDB's: check the endpoint and what is in front of it", status)
	}
	const maxMessage = 500
	return fmt.Errorf("%s (HTTP status %d): %s%s", code, status, message[:min(len(message), maxMessage)], remedy(code))
}

func remedy(code string) string {
	switch code {
	case "AccessDeniedException":
		return "; check that the function's role allows this action on this table, and that no VPC endpoint's policy forbids it"
	case "ResourceNotFoundException":
		return "; check the table's name in SECRET_BROADCAST_TABLE or SECRET_BROADCAST_REPORTS_TABLE, and the account and Region"
	case "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignatureException", "MissingAuthenticationTokenException",
		"ExpiredTokenException", "ExpiredToken":
		return "; check the credentials, the Region and the clock"
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded":
		return "; check the table's capacity mode and limits"
	default:
		return ""
	}
}
