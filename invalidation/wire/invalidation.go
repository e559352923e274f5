package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Invalidation is the payload of a push: an event in EventBridge's envelope whose detail is the newest row of the log.
// It is a hint to check the log now; a client applies only rows that it read from the log itself.
type Invalidation struct {
	Version    string    `json:"version"`
	ID         string    `json:"id"`
	Source     string    `json:"source"`
	DetailType string    `json:"detail-type"`
	Account    string    `json:"account"`
	Region     string    `json:"region"`
	Time       time.Time `json:"time"`
	// Resources are the ARNs of the secrets in Detail, as far as they are known.
	Resources []string `json:"resources"`
	Detail    Row      `json:"detail"`
}

// Errors of ParseInvalidation for a payload that is an invalidation but cannot be used.
var (
	ErrMalformed   = errors.New("malformed invalidation")
	ErrNewerSchema = errors.New("invalidation of a newer schema: update the client")
)

// ParseInvalidation tells whether an Invoke's payload is an invalidation and decodes it. Whatever is not one belongs to
// the function's own handler: then ours is false and err nil. With ours true, err is nil, ErrMalformed or
// ErrNewerSchema; the payload must then not reach the function's own handler either.
func ParseInvalidation(payload []byte) (inv Invalidation, ours bool, err error) {
	if !bytes.Contains(payload, []byte(Source)) {
		return Invalidation{}, false, nil // nothing to decode: the price of a business event is one scan
	}
	var head struct {
		Source     string          `json:"source"`
		DetailType string          `json:"detail-type"`
		Detail     json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(payload, &head) != nil || head.Source != Source || head.DetailType != DetailType {
		return Invalidation{}, false, nil
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(head.Detail, &version); err != nil {
		return Invalidation{}, true, fmt.Errorf("%w: detail.schema is missing or no number", ErrMalformed)
	}
	if version.Schema > Schema {
		return Invalidation{}, true, fmt.Errorf("%w (it says %d, this client knows %d)", ErrNewerSchema, version.Schema, Schema)
	}
	if err := json.Unmarshal(payload, &inv); err != nil {
		return Invalidation{}, true, fmt.Errorf("%w: %s", ErrMalformed, kindOfJSONError(err))
	}
	switch d := inv.Detail; {
	case d.Schema < 1:
		return Invalidation{}, true, fmt.Errorf("%w: detail.schema must be at least 1", ErrMalformed)
	case d.Env == "", d.Domain == "":
		return Invalidation{}, true, fmt.Errorf("%w: detail.env and detail.domain must be set", ErrMalformed)
	case d.Revision < 1, d.Hash == "":
		return Invalidation{}, true, fmt.Errorf("%w: detail.revision and detail.hash must be set", ErrMalformed)
	}
	return inv, true, nil
}

// kindOfJSONError names the place and the expected type, never the text that was found there.
func kindOfJSONError(err error) string {
	var typed *json.UnmarshalTypeError
	if errors.As(err, &typed) {
		return fmt.Sprintf("%s must be %s, not %s", typed.Field, typed.Type, typed.Value)
	}
	return "a field has the wrong form"
}
