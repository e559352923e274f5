package endpoint

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// signatureAge is how far a signature's time may be from now
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html).
const signatureAge = 5 * time.Minute

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
	accessKeyID, date, region string
	signedHeaders             []string
	// What the request and this environment say beside it.
	at          time.Time
	credentials aws.Credentials
}

// parseSignature reads an Authorization header, or returns false if it is none of Secrets Manager's.
func parseSignature(authorization string) (s signature, ok bool) {
	fields, ok := strings.CutPrefix(authorization, "AWS4-HMAC-SHA256 ")
	if !ok {
		return signature{}, false
	}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			scope := strings.Split(value, "/")
			if len(scope) != 5 || scope[3] != service || scope[4] != "aws4_request" {
				return signature{}, false
			}
			s.accessKeyID, s.date, s.region = scope[0], scope[1], scope[2]
		case "SignedHeaders":
			s.signedHeaders = strings.Split(value, ";")
		}
	}
	// The Region becomes part of a host's name.
	return s, s.accessKeyID != "" && smithyhttp.ValidHostLabel(s.region) && len(s.signedHeaders) > 0
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
	s.at, err = time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if !ok || err != nil || s.at.Format("20060102") != s.date {
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

// verify returns an error unless a signature is what it was claimed to be: the request is signed once more, and must get the
// signature that it came with.
func (e *Endpoint) verify(s signature, r *http.Request, body []byte) error {
	again := s.unsigned(r)
	signer := e.passage.signer
	if s.region != e.passage.region {
		signer = v4.NewSigner() // a signer keeps a key for each Region, and whoever asks may name any
	}
	err := signer.SignHTTP(context.Background(), s.credentials, again, hashOf(body), service, s.region, s.at)
	if err != nil || subtle.ConstantTimeCompare([]byte(signatureOf(again.Header.Get("Authorization"))), []byte(signatureOf(r.Header.Get("Authorization")))) != 1 {
		return refuse(invalidSignature, "the request's signature is not that of this function's own credentials")
	}
	return nil
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

// unsigned returns what was signed of a request: only the headers that its signature names count.
func (s signature) unsigned(r *http.Request) *http.Request {
	again := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: http.Header{}}
	for _, name := range s.signedHeaders {
		switch name {
		case "host": // is always signed
		case "content-length":
			again.ContentLength = r.ContentLength
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	return again
}

func signatureOf(authorization string) string {
	_, signature, _ := strings.Cut(authorization, "Signature=")
	return strings.TrimSpace(signature)
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
