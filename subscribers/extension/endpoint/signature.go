package endpoint

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// signatureAge is how far a signature's time may be from now
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html).
const signatureAge = 5 * time.Minute

// What Signature Version 4 writes.
const (
	algorithm  = "AWS4-HMAC-SHA256"
	dateFormat = "20060102T150405Z"
)

// The ways in which Secrets Manager refuses a signature.
const (
	missingToken     = "MissingAuthenticationTokenException"
	incomplete       = "IncompleteSignatureException"
	unknownClient    = "UnrecognizedClientException"
	invalidSignature = "InvalidSignatureException"
)

// A signature is what an Authorization header says
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html).
type signature struct {
	accessKeyID, scope, region string // the scope begins with the date
	signedHeaders              []string
	text                       string
	// What the request and this environment say beside it.
	at          time.Time
	credentials aws.Credentials
}

// parseSignature reads an Authorization header, or returns false if it is none of Secrets Manager's.
func parseSignature(authorization string) (s signature, ok bool) {
	fields, ok := strings.CutPrefix(authorization, algorithm+" ")
	if !ok {
		return signature{}, false
	}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			s.accessKeyID, s.scope, _ = strings.Cut(value, "/")
			scope := strings.Split(s.scope, "/")
			if len(scope) != 4 || scope[2] != service || scope[3] != "aws4_request" {
				return signature{}, false
			}
			s.region = scope[1]
		case "SignedHeaders":
			s.signedHeaders = strings.Split(value, ";")
		case "Signature":
			s.text = value
		}
	}
	// The Region becomes part of a host's name. A header that was named again and again would be written as often.
	return s, s.accessKeyID != "" && smithyhttp.ValidHostLabel(s.region) && isAscending(s.signedHeaders)
}

func isAscending(names []string) bool {
	for i := 1; i < len(names); i++ {
		if names[i-1] >= names[i] {
			return false
		}
	}
	return len(names) > 0
}

// claimed returns the signature that a request says it has, if it may be one of this environment's own credentials. That is
// seen without the request's body, and proves nothing yet.
func (e *Endpoint) claimed(r *http.Request) (signature, error) {
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		return signature{}, refuse(missingToken, "the request is not signed")
	}
	s, ok := parseSignature(authorization)
	var err error
	s.at, err = time.Parse(dateFormat, r.Header.Get("X-Amz-Date"))
	if !ok || err != nil || !strings.HasPrefix(s.scope, s.at.Format("20060102/")) {
		return signature{}, refuse(incomplete, "the request's signature is not one of Signature Version 4 for Secrets Manager")
	}
	if name := s.uncovered(r.Header); name != "" {
		return signature{}, refuse(incomplete, "the request's signature does not cover the header "+name)
	}
	if age := time.Since(s.at); age > signatureAge || age < -signatureAge {
		// SDKs correct their clock and try again: by this type, this message and the answer's date.
		return signature{}, refuse(invalidSignature, "Signature expired: the request was signed more than five minutes from now")
	}
	s.credentials, err = e.identity.ofKey(r.Context(), s.accessKeyID)
	if errors.Is(err, errStranger) {
		err = refuse(unknownClient, "the request is not signed with this function's own credentials")
	}
	return s, err
}

// verify returns an error unless a signature is what it was claimed to be: this environment's key must make the same one of
// the headers that it names and the body.
func (s signature) verify(r *http.Request, body []byte) error {
	isOwn := subtle.ConstantTimeCompare([]byte(s.of(r, body)), []byte(s.text)) == 1
	if !isOwn || r.Header.Get("X-Amz-Security-Token") != s.credentials.SessionToken {
		return refuse(invalidSignature, "the request's signature is not that of this function's own credentials")
	}
	return nil
}

// of returns the signature of a request that is sent to / without a query. The SDK's own signer does not do: it leaves out
// headers that other SDKs sign.
func (s signature) of(r *http.Request, body []byte) string {
	var canonical strings.Builder
	canonical.WriteString(r.Method + "\n/\n\n")
	for _, name := range s.signedHeaders {
		var values []string
		for _, value := range valuesOf(r, name) {
			values = append(values, strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r == ' ' }), " "))
		}
		canonical.WriteString(name + ":" + strings.Join(values, ",") + "\n")
	}
	canonical.WriteString("\n" + strings.Join(s.signedHeaders, ";") + "\n" + hashOf(body))
	key := []byte("AWS4" + s.credentials.SecretAccessKey)
	for part := range strings.SplitSeq(s.scope, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, algorithm+"\n"+s.at.Format(dateFormat)+"\n"+s.scope+"\n"+hashOf([]byte(canonical.String()))))
}

// valuesOf returns the values of a header, also of those that net/http keeps elsewhere.
func valuesOf(r *http.Request, name string) []string {
	switch name {
	case "host":
		return []string{r.Host}
	case "content-length":
		return []string{strconv.FormatInt(r.ContentLength, 10)}
	case "transfer-encoding":
		return r.TransferEncoding
	default:
		return r.Header.Values(name)
	}
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// uncovered returns the name of a header that AWS wants to be signed, and that is not: the host, and all of AWS's own. Every
// SDK signs these (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
func (s signature) uncovered(header http.Header) string {
	if !slices.Contains(s.signedHeaders, "host") {
		return "Host"
	}
	for name := range header {
		if strings.HasPrefix(name, "X-Amz-") && !slices.Contains(s.signedHeaders, strings.ToLower(name)) {
			return name
		}
	}
	return ""
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
