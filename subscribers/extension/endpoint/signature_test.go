package endpoint_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/subscribers/extension/endpoint"
)

// signedBy returns the headers of a request of Secrets Manager's protocol, signed.
func signedBy(t testing.TB, c aws.Credentials, at time.Time, operation, body, service, region string) []string {
	t.Helper()
	return signedWith(t, c, at, body, service, region, "X-Amz-Target", "secretsmanager."+operation)
}

// signedWith returns the headers of a request that is signed with some more of them.
func signedWith(t testing.TB, c aws.Credentials, at time.Time, body, service, region string, more ...string) []string {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	for i := 0; i < len(more); i += 2 {
		request.Header.Set(more[i], more[i+1])
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(context.Background(), c, request, hex.EncodeToString(sum[:]), service, region, at); err != nil {
		t.Fatal(err)
	}
	var headers []string
	for name := range request.Header {
		headers = append(headers, name, request.Header.Get(name))
	}
	return headers
}

// signedBefore returns the headers of a request that is signed with some that Go's signer leaves out.
func signedBefore(t *testing.T, at time.Time, body string, more ...string) []string {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	headers := append(more, "X-Amz-Target", "secretsmanager.GetSecretValue", "X-Amz-Security-Token", token, "X-Amz-Date", at.UTC().Format("20060102T150405Z"))
	names := []string{"host"}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
		names = append(names, strings.ToLower(headers[i]))
	}
	slices.Sort(names)
	scope := at.UTC().Format("20060102") + "/" + region + "/secretsmanager/aws4_request"
	return append(headers, "Authorization", "AWS4-HMAC-SHA256 Credential="+ownCredentials().AccessKeyID+"/"+scope+
		", SignedHeaders="+strings.Join(names, ";")+", Signature="+endpoint.SignatureOf(request, ownCredentials(), at.UTC(), scope, names, body))
}

// signed are the headers of a request that the function has signed.
func (w *world) signed(operation, body string) []string {
	w.t.Helper()
	return signedBy(w.t, ownCredentials(), time.Now(), operation, body, "secretsmanager", region)
}

// verify returns an error if a request is not signed by the function.
func verify(r *http.Request, body, region string) error {
	got := r.Header.Get("Authorization")
	again := httptest.NewRequest(r.Method, r.URL.String(), bytes.NewReader([]byte(body)))
	again.Header = r.Header.Clone()
	again.Header.Del("Authorization")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(context.Background(), ownCredentials(), again, hex.EncodeToString(sum[:]), "secretsmanager", region, at); err != nil {
		return err
	}
	if want := again.Header.Get("Authorization"); got != want {
		return fmt.Errorf("it is signed %q, want %q", got, want)
	}
	return nil
}

// TestOnlyThisFunctionsOwnRequestsAreAnswered: a forged request of another process gets nothing.
func TestOnlyThisFunctionsOwnRequestsAreAnswered(t *testing.T) {
	w := newWorld(t)
	w.put(password, canary)
	body := `{"SecretId":"` + password + `"}`
	now := time.Now()
	other := ownCredentials()
	other.SecretAccessKey = "another-key"
	stranger := other
	stranger.AccessKeyID = "AKIDSTRANGER"
	tokenless := ownCredentials()
	tokenless.SessionToken = ""
	without := func(headers []string, name string) []string {
		for i := 0; i < len(headers); i += 2 {
			if headers[i] == name {
				return append(append([]string{}, headers[:i]...), headers[i+2:]...)
			}
		}
		t.Fatalf("no header %s", name)
		return nil
	}
	own := w.signed("GetSecretValue", body)
	inRegion := func(region string) []string {
		return signedBy(t, ownCredentials(), now, "GetSecretValue", body, "secretsmanager", region)
	}
	withoutHost := append([]string{}, own...)
	for i := range withoutHost {
		withoutHost[i] = strings.Replace(withoutHost[i], ";host;", ";", 1)
	}
	twice := append([]string{}, own...)
	for i := range twice {
		twice[i] = strings.Replace(twice[i], ";host;", ";host;host;", 1)
	}
	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
		kind    string // "": it is answered
	}{
		"signed":              {body, own, 200, ""},
		"not signed":          {body, without(own, "Authorization"), 400, "MissingAuthenticationTokenException"},
		"not this way":        {body, append(without(own, "Authorization"), "Authorization", "Bearer "+token), 400, "IncompleteSignatureException"},
		"half a signature":    {body, append(without(own, "Authorization"), "Authorization", "AWS4-HMAC-SHA256 Credential=a/b"), 400, "IncompleteSignatureException"},
		"without a date":      {body, without(own, "X-Amz-Date"), 400, "IncompleteSignatureException"},
		"with another key":    {body, signedBy(t, other, now, "GetSecretValue", body, "secretsmanager", region), 400, "InvalidSignatureException"},
		"by a stranger":       {body, signedBy(t, stranger, now, "GetSecretValue", body, "secretsmanager", region), 400, "UnrecognizedClientException"},
		"for another service": {body, signedBy(t, ownCredentials(), now, "GetSecretValue", body, "s3", region), 400, "IncompleteSignatureException"},
		"another body":        {`{"SecretId":"/other"}`, own, 400, "InvalidSignatureException"},
		"another operation":   {body, append(without(own, "X-Amz-Target"), "X-Amz-Target", "secretsmanager.DeleteSecret"), 400, "InvalidSignatureException"},
		"a moment ago":        {body, signedBy(t, ownCredentials(), now.Add(-4*time.Minute), "GetSecretValue", body, "secretsmanager", region), 200, ""},
		"long ago":            {body, signedBy(t, ownCredentials(), now.Add(-6*time.Minute), "GetSecretValue", body, "secretsmanager", region), 400, "InvalidSignatureException"},
		"long from now":       {body, signedBy(t, ownCredentials(), now.Add(6*time.Minute), "GetSecretValue", body, "secretsmanager", region), 400, "InvalidSignatureException"},
		"an operation that is not signed": {
			body, append(signedWith(t, ownCredentials(), now, body, "secretsmanager", region), "X-Amz-Target", "secretsmanager.GetSecretValue"), 400, "IncompleteSignatureException",
		},
		"another header of AWS's that is not signed": {body, append(own[:len(own):len(own)], "X-Amz-Other", "a"), 400, "IncompleteSignatureException"},
		"a host that is not signed":                  {body, withoutHost, 400, "IncompleteSignatureException"},
		"a header that is named twice":               {body, twice, 400, "IncompleteSignatureException"},
		"a header of the SDK's that is signed": {
			body, signedWith(t, ownCredentials(), now, body, "secretsmanager", region, "X-Amz-Target", "secretsmanager.GetSecretValue", "X-Amz-User-Agent", "a"), 200, "",
		},
		"headers that Go's SDK does not sign": {body, signedBefore(t, now, body, "Expect", "100-continue", "User-Agent", "aws-sdk-dotnet-coreclr/3.7"), 200, ""},
		"a header that is another now": {
			body, append(signedBefore(t, now, body, "User-Agent", "aws-sdk-dotnet-coreclr/3.7"), "User-Agent", "another"), 400, "InvalidSignatureException",
		},
		"without the token":            {body, signedBy(t, tokenless, now, "GetSecretValue", body, "secretsmanager", region), 400, "InvalidSignatureException"},
		"headers that no SDK signs":    {body, append(own[:len(own):len(own)], "User-Agent", "a", "X-Amzn-Trace-Id", "b", "Amz-Sdk-Request", "c"), 200, ""},
		"a Region that is an address":  {body, inRegion("x@evil.test:8443#"), 400, "IncompleteSignatureException"},
		"a Region of two labels":       {body, inRegion("eu-west-2.evil"), 400, "IncompleteSignatureException"},
		"a Region that is too long":    {body, inRegion(strings.Repeat("a", 64)), 400, "IncompleteSignatureException"},
		"a Region that is a long name": {body, inRegion(strings.Repeat("a", 63)), 200, ""},
		"forwarded by a proxy":         {body, append(own, "X-Forwarded-For", "192.0.2.1"), 400, "Forwarded"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer, _ := w.ask(http.MethodPost, "/", c.body, c.headers...)
			if status != c.status || !strings.Contains(answer, c.kind) || strings.Contains(answer, canary) != (c.kind == "") {
				t.Errorf("got %d %s, want %d %s", status, answer, c.status, c.kind)
			}
		})
	}
	if status, answer, _ := w.ask(http.MethodGet, "/", body, own...); status != 400 || !strings.Contains(answer, "UnknownOperationException") {
		t.Errorf("got, not posted: %d %s", status, answer)
	}
}

// late is a client whose clock is late: what it signs is dated earlier, and what it is answered seems to be from later on.
type late struct{ by time.Duration }

// SignHTTP implements secretsmanager.HTTPSignerV4.
func (l late) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, at time.Time, options ...func(*v4.SignerOptions)) error {
	return v4.NewSigner().SignHTTP(ctx, c, r, hash, service, region, at.Add(-l.by), options...)
}

// RoundTrip implements http.RoundTripper.
func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return nil, err
	}
	response.Header.Set("Date", date.Add(l.by).Format(http.TimeFormat))
	return response, nil
}

// TestAClientWhoseClockIsWrongCorrectsIt: as at AWS, by the refusal's type and date.
func TestAClientWhoseClockIsWrongCorrectsIt(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	for _, by := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		for tries, wanted := range map[int]string{1: "InvalidSignatureException: Signature expired", 2: ""} {
			client := w.client(func(o *secretsmanager.Options) {
				o.RetryMaxAttempts, o.HTTPSignerV4, o.HTTPClient = tries, late{by}, &http.Client{Transport: late{by}}
			})
			_, err := client.GetSecretValue(t.Context(), ofID(password))
			if (err == nil) != (wanted == "") || err != nil && !strings.Contains(err.Error(), wanted) {
				t.Errorf("late by %v, after %d tries: %v", by, tries, err)
			}
		}
	}
}

// TestTheDateIsThatOfTheClockThatJudges: a client corrects its clock by each answer, and signs for this endpoint.
func TestTheDateIsThatOfTheClockThatJudges(t *testing.T) {
	w := newWorld(t)
	w.behind(func(*http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		recorder.Header().Set("Date", time.Now().Add(time.Hour).Format(http.TimeFormat))
		fmt.Fprint(recorder, "{}")
		return recorder.Result(), nil
	})
	if status, _, header := w.ask(http.MethodPost, "/", "{}", w.signed("ListSecrets", "{}")...); status != 200 || header.Get("Date") != "" {
		t.Errorf("got %d, dated %s", status, header.Get("Date"))
	}
}

// TestRefusalsAreToldRarely: whoever asks again and again does not fill the log.
func TestRefusalsAreToldRarely(t *testing.T) {
	for name, ask := range map[string]func(*world){
		"not signed":      func(w *world) { w.ask(http.MethodPost, "/", "{}", "X-Amz-Target", "secretsmanager.ListSecrets") },
		"without a token": func(w *world) { w.ask(http.MethodGet, "/v1/"+password, "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				wantLines := func(want int, text string) {
					t.Helper()
					logs := w.logged.take()
					if got := strings.Count(logs, "\n"); got != want || !strings.Contains(logs, text) {
						t.Errorf("%d lines, want %d with %s: %s", got, want, text, logs)
					}
				}
				ask(w)
				wantLines(1, `"times":1}`)
				time.Sleep(time.Minute - time.Nanosecond)
				for range 100 {
					ask(w)
				}
				wantLines(0, "")
				time.Sleep(time.Nanosecond)
				ask(w)
				wantLines(1, `"times":101}`)
				ask(w)
				wantLines(0, "")
			})
		})
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	_, err := endpoint.New(endpoint.Config{})
	for _, name := range []string{"Cache", "Identity", "Region", "URL", "Client"} {
		if err == nil || !strings.Contains(err.Error(), name+" is missing") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}

// TestSignaturesAreAWSsOwn holds signatures against those of AWS's test suite for Signature Version 4
// (https://github.com/awslabs/aws-c-auth/tree/main/tests/aws-signing-test-suite/v4).
func TestSignaturesAreAWSsOwn(t *testing.T) {
	c := aws.Credentials{SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	for name, v := range map[string]struct {
		method, body string
		headers      [][2]string
		want         string
	}{
		"post-vanilla":          {"POST", "", nil, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		"post-header-key-sort":  {"POST", "", [][2]string{{"My-Header1", "value1"}}, "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		"get-header-value-trim": {"GET", "", [][2]string{{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}}, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		"get-header-value-order": {
			"GET", "",
			[][2]string{{"My-Header1", "value4"}, {"My-Header1", "value1"}, {"My-Header1", "value3"}, {"My-Header1", "value2"}},
			"08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
		},
		"post-x-www-form-urlencoded": {
			"POST", "Param1=value1",
			[][2]string{{"Content-Type", "application/x-www-form-urlencoded"}},
			"ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(v.method, "https://example.amazonaws.com/", strings.NewReader(v.body))
			request.Header.Set("X-Amz-Date", "20150830T123600Z")
			names := []string{"host", "x-amz-date"}
			for _, header := range v.headers {
				request.Header.Add(header[0], header[1])
				names = append(names, strings.ToLower(header[0]))
			}
			slices.Sort(names)
			at := time.Date(2015, time.August, 30, 12, 36, 0, 0, time.UTC)
			if got := endpoint.SignatureOf(request, c, at, "20150830/us-east-1/service/aws4_request", slices.Compact(names), v.body); got != v.want {
				t.Errorf("got %s, want %s", got, v.want)
			}
		})
	}
}

// TestWhateverGosSignerSignsIsAccepted, as a server receives it.
func TestWhateverGosSignerSignsIsAccepted(t *testing.T) {
	w := newWorld(t)
	w.put(password, "first")
	server := httptest.NewServer(w.endpoint)
	t.Cleanup(server.Close)
	body := `{"SecretId":"` + password + `"}`
	rapid.Check(t, func(t *rapid.T) {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{"X-Amz-Target": {"secretsmanager.GetSecretValue"}}
		headers := rapid.MapOfN(rapid.StringMatching(`(X-Amz-|Amz-Sdk-|)[A-Z][a-z0-9]{3,8}`), rapid.SliceOfN(rapid.StringMatching(`[ -~]{0,12}`), 1, 3), 0, 4).Draw(t, "headers")
		for name, values := range headers {
			request.Header[name] = values
		}
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(context.Background(), ownCredentials(), request, hex.EncodeToString(sum[:]), "secretsmanager", region, time.Now()); err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%q: got %d", request.Header, response.StatusCode)
		}
	})
}
