package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// A value is a version as both protocols write it, but for the date: in the HTTP API it is a string, in Secrets Manager's
// own protocol a number. Its members stand in the order in which AWS's agent writes them.
type value struct {
	ARN           string
	Name          string
	VersionID     string  `json:"VersionId"`
	SecretString  *string `json:",omitempty"`
	SecretBinary  []byte  `json:",omitempty"`
	VersionStages []string
	CreatedDate   any
}

// seconds is a time in seconds with a fraction, of which AWS knows three digits.
func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64)
}

// timeOf is the other way round.
func timeOf(seconds float64) time.Time { return time.UnixMilli(int64(seconds*1000 + 0.5)) }

func (f found) value() value {
	v := value{ARN: f.ARN, Name: f.Name, VersionID: f.VersionID, VersionStages: f.Labels}
	if f.Binary {
		v.SecretBinary = []byte(f.text)
	} else {
		v.SecretString = &f.text
	}
	return v
}

// forHTTPAPI is the version as the HTTP API has it.
func (f found) forHTTPAPI() value {
	v := f.value()
	v.CreatedDate = seconds(f.Created)
	return v
}

// forJSON is the version as Secrets Manager's own protocol has it.
func (f found) forJSON() value {
	v := f.value()
	v.CreatedDate = json.Number(seconds(f.Created))
	return v
}

// errUnreadable stands for an error that might quote the answer, which might hold a value.
var errUnreadable = errors.New("the answer of Secrets Manager cannot be read: check the endpoint and what is in front of it")

func decodeValue(body []byte) (found, error) {
	var v struct {
		value
		CreatedDate float64
	}
	if json.Unmarshal(body, &v) != nil || v.VersionID == "" {
		return found{}, errUnreadable
	}
	f := found{Details: secretcache.Details{
		Name: v.Name, ARN: v.ARN, VersionID: v.VersionID, Labels: v.VersionStages, Binary: v.SecretString == nil,
		Created: timeOf(v.CreatedDate),
	}}
	if f.text = string(v.SecretBinary); !f.Binary {
		f.text = *v.SecretString
	}
	return f, nil
}

// unavailable is what AWS calls a trouble that passes.
const unavailable = "ServiceUnavailable"

// A refusal is an answer that says no, as AWS words it.
type refusal struct {
	status  int
	Type    string `json:"__type"`
	Message string `json:"message,omitempty"`
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s (HTTP status %d): %s", r.Type, r.status, r.Message)
}

func refuse(kind, message string) *refusal { return &refusal{http.StatusBadRequest, kind, message} }

// refusal returns what Secrets Manager has refused, or that its answer cannot be read.
func (p passed) refusal() error {
	r := &refusal{status: p.status}
	if json.Unmarshal(p.body, r) != nil || r.Type == "" { // it takes a Message as well, which AWS writes too
		return errUnreadable
	}
	return r
}

// refusalOf makes of an error what AWS's agent makes of it: AWS's own status and type are passed through.
func refusalOf(err error) *refusal {
	var (
		refused *refusal
		api     smithy.APIError
		send    *smithyhttp.RequestSendError
		network net.Error
	)
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, errNoCredentials):
		return &refusal{http.StatusServiceUnavailable, unavailable, "this function's credentials cannot be had just now"}
	case errors.As(err, &api):
		return &refusal{statusOf(err), api.ErrorCode(), api.ErrorMessage()}
	case errors.Is(err, secretcache.ErrDeleted): // the log says so, Secrets Manager not yet
		return refuse("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	case errors.Is(err, secretcache.ErrNotFound):
		return refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return &refusal{http.StatusGatewayTimeout, "TimeoutError", "Timeout"}
	case errors.As(err, &send), errors.As(err, &network), errors.Is(err, errUnreadable):
		return &refusal{http.StatusBadGateway, "ConnectionError", "Read Error"}
	default:
		return &refusal{status: http.StatusInternalServerError, Type: "InternalFailure"}
	}
}

func statusOf(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusBadRequest {
		return response.HTTPStatusCode()
	}
	return http.StatusBadRequest
}

// encode writes JSON as AWS does: nothing in it is escaped for the sake of a browser.
func encode(v any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err) // strings, numbers and lists of them can always be encoded
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// send writes an answer; of no content type if it is empty, as AWS's agent does.
func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header()["Content-Type"] = nil
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever asked may be gone
}

// tell answers with a plain word of the HTTP API.
func tell(w http.ResponseWriter, status int, text string) { send(w, status, "", []byte(text)) }
