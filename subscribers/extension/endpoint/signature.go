package endpoint

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
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
	return s, s.accessKeyID != "" && s.region != "" && len(s.signedHeaders) > 0
}

// verify returns the Region that a request is signed for, if it is signed with this environment's own credentials: it is
// signed once more, and must get the signature that it came with.
func (e *Endpoint) verify(r *http.Request, body []byte) (region string, err error) {
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		return "", refuse(missingToken, "the request is not signed")
	}
	s, ok := parseSignature(authorization)
	at, timeErr := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if !ok || timeErr != nil || at.Format("20060102") != s.date {
		return "", refuse(incomplete, "the request's signature is not one of Signature Version 4 for Secrets Manager")
	}
	if age := time.Since(at); age > signatureAge || age < -signatureAge {
		return "", refuse(invalidSignature, "Signature expired: the request was signed more than five minutes from now")
	}
	credentials, ok := e.identity.ofKey(r.Context(), s.accessKeyID)
	if !ok {
		return "", refuse(unknownClient, "the request is not signed with this function's own credentials")
	}
	again := s.unsigned(r)
	signer := e.passage.signer
	if s.region != e.passage.region {
		signer = v4.NewSigner() // a signer keeps a key for each Region, and whoever asks may name any
	}
	err = signer.SignHTTP(context.Background(), credentials, again, hashOf(body), service, s.region, at)
	if err != nil || subtle.ConstantTimeCompare([]byte(signatureOf(again.Header.Get("Authorization"))), []byte(signatureOf(authorization))) != 1 {
		return "", refuse(invalidSignature, "the request's signature is not that of this function's own credentials")
	}
	return s.region, nil
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
