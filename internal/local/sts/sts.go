// Package sts stands in for AWS's Security Token Service: it says who signed a presigned GetCallerIdentity request, and nothing
// else. It exists for the demo that is held, so that commands prove there who sends them, as they do on AWS. It is held to the
// same test as a third party's emulator, in package invalidation/sts.
package sts

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A User is somebody whose signature is known.
type User struct{ Key, Secret, ARN string }

// Config says who is known. The zero value knows nobody.
type Config struct {
	Users []User
	// Now is time.Now if nil.
	Now func() time.Time
}

// Service is an http.Handler. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg}
}

// Asks reports whether a request is one for STS.
func Asks(r *http.Request) bool { return r.URL.Query().Get("Action") == "GetCallerIdentity" }

// ServeHTTP answers GetCallerIdentity, signed in the query
// (https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html).
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/xml")
	user, code, problem := s.caller(r)
	if code != "" {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, problem)
		return
	}
	fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>%s</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`, user.ARN)
}

// dated is the form of times in a signature.
const dated = "20060102T150405Z"

// caller returns who signed a request, or AWS's code for what is wrong with the signature
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
func (s *Service) caller(r *http.Request) (is User, code, problem string) {
	query := r.URL.Query()
	signature := query.Get("X-Amz-Signature")
	query.Del("X-Amz-Signature") // which does not cover itself
	key, scope, _ := strings.Cut(query.Get("X-Amz-Credential"), "/")
	at := slices.IndexFunc(s.cfg.Users, func(u User) bool { return u.Key == key })
	if at < 0 {
		return User{}, "InvalidClientTokenId", "The security token included in the request is invalid."
	}
	user, parts := s.cfg.Users[at], strings.Split(scope, "/") // date, Region, service, aws4_request
	signed, err := time.Parse(dated, query.Get("X-Amz-Date"))
	seconds, wrong := strconv.Atoi(query.Get("X-Amz-Expires"))
	switch age := s.cfg.Now().Sub(signed); {
	case err != nil || wrong != nil || !Asks(r) || len(parts) != 4 || parts[0] != signed.Format("20060102") || parts[2] != "sts" || parts[3] != "aws4_request":
		return User{}, "IncompleteSignature", "The request signature does not conform to AWS standards."
	case age > time.Duration(seconds)*time.Second || age < -5*time.Minute:
		return User{}, "SignatureDoesNotMatch", "Signature expired."
	}
	sum := sha256.Sum256([]byte(canonical(r, query)))
	secret := []byte("AWS4" + user.Secret)
	for _, part := range append(parts, strings.Join([]string{"AWS4-HMAC-SHA256", query.Get("X-Amz-Date"), scope, hex.EncodeToString(sum[:])}, "\n")) {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(part))
		secret = mac.Sum(nil)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(secret)), []byte(signature)) {
		return User{}, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."
	}
	return user, "", ""
}

// canonical is the request in the form that is signed: a presigned one has no body.
func canonical(r *http.Request, query url.Values) string {
	names := strings.Split(query.Get("X-Amz-SignedHeaders"), ";")
	headers := ""
	for _, name := range names {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers += name + ":" + strings.TrimSpace(value) + "\n"
	}
	sum := sha256.Sum256(nil)
	return strings.Join([]string{
		r.Method, r.URL.EscapedPath(), strings.ReplaceAll(query.Encode(), "+", "%20"), headers, strings.Join(names, ";"), hex.EncodeToString(sum[:]),
	}, "\n")
}
