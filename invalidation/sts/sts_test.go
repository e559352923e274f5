package sts_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	local "github.com/bank-platform/secret-broadcaster/internal/local/sts"
	"github.com/bank-platform/secret-broadcaster/invalidation/sts"
)

func client(endpoint string) *awssts.Client { return clientOf(endpoint, "placeholder", "placeholder") }

func clientOf(endpoint, key, secret string) *awssts.Client {
	return awssts.New(awssts.Options{
		Region: "eu-west-2", BaseEndpoint: &endpoint, HTTPClient: http.DefaultClient,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	})
}

func prove(t *testing.T, endpoint, digest string) string {
	t.Helper()
	proof, err := sts.Prove(t.Context(), client(endpoint), digest)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// TestTheCallerIsWhoSigned: asked of an emulator that checks signatures, and of our own stand-in.
func TestTheCallerIsWhoSigned(t *testing.T) {
	t.Run("third party", func(t *testing.T) {
		endpoint := checkingMinistack(t)
		key, secret := user(t, endpoint, "oncall")
		theCallerIsWhoSigned(t, endpoint, key, secret)
	})
	t.Run("stand-in", func(t *testing.T) {
		server := httptest.NewServer(local.New(local.Config{Users: []local.User{{Key: "K", Secret: "S", ARN: "arn:aws:iam::000000000000:user/oncall"}}}))
		t.Cleanup(server.Close)
		theCallerIsWhoSigned(t, server.URL, "K", "S")
	})
}

func theCallerIsWhoSigned(t *testing.T, endpoint, key, secret string) {
	t.Helper()
	own := sts.New(client(endpoint)) // its own credentials must not be what is answered
	for name, c := range map[string]struct{ secret, made, sent, want string }{
		"whoever signed":              {secret, "d1", "d1", "arn:aws:iam::000000000000:user/oncall"},
		"a proof for another command": {secret, "d1", "d2", ""},
		"a forged signature":          {"another secret", "d1", "d1", ""},
	} {
		proof, err := sts.Prove(t.Context(), clientOf(endpoint, key, c.secret), c.made)
		if err != nil {
			t.Fatal(err)
		}
		who, err := own.Caller(t.Context(), proof, c.sent)
		if who != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, sts.ErrProof) {
			t.Errorf("%s: got %q, %v; want %q", name, who, err, c.want)
		}
	}
}

// checkingMinistack starts an emulator that checks signatures, and returns its address.
func checkingMinistack(t *testing.T) string {
	t.Helper()
	python := os.Getenv("MINISTACK_PYTHON")
	if python == "" {
		t.Fatal("MINISTACK_PYTHON is not set: run `make test`, which installs the emulator")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	said, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	emulator := exec.CommandContext(t.Context(), python, "-m", "ministack")
	emulator.Env = append(os.Environ(), "BIND_HOST=127.0.0.1", "GATEWAY_PORT="+port, "PERSIST_STATE=0", "AUTH=true", "TMPDIR="+t.TempDir())
	emulator.Stdout, emulator.Stderr = said, said
	if err := emulator.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = emulator.Process.Kill()
		_ = emulator.Wait()
	})
	endpoint := "http://127.0.0.1:" + port
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(50 * time.Millisecond) {
		response, err := http.Get(endpoint + "/_ministack/health")
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return endpoint
		}
	}
	last, _ := os.ReadFile(said.Name())
	t.Fatalf("the emulator does not start; its words:\n%s", last)
	return ""
}

// user makes an IAM user and returns credentials of theirs.
func user(t *testing.T, endpoint, name string) (key, secret string) {
	t.Helper()
	iam(t, endpoint, "CreateUser", name)
	var made struct {
		Key    string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	if err := xml.Unmarshal(iam(t, endpoint, "CreateAccessKey", name), &made); err != nil || made.Key == "" || made.Secret == "" {
		t.Fatalf("making a user: %v", err)
	}
	return made.Key, made.Secret
}

// iam calls IAM as the account's root.
func iam(t *testing.T, endpoint, action, name string) []byte {
	t.Helper()
	body := url.Values{"Action": {action}, "UserName": {name}, "Version": {"2010-05-08"}}.Encode()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(body))
	root := aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}
	if err := v4.NewSigner().SignHTTP(t.Context(), root, r, hex.EncodeToString(sum[:]), "iam", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v\n%s", action, response.Status, err, answer)
	}
	return answer
}

// TestTheProofNamesTheCommandAndAWSIsToldSo: the signature is over the header, and the header that is sent is of the command
// that came, not of the proof.
func TestTheProofNamesTheCommandAndAWSIsToldSo(t *testing.T) {
	var asked *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.WriteHeader(http.StatusForbidden) // as AWS does for a signature that is of another header
	}))
	t.Cleanup(server.Close)
	_, err := sts.New(client(server.URL)).Caller(t.Context(), prove(t, server.URL, "of another command"), "of this command")
	if !errors.Is(err, sts.ErrProof) {
		t.Errorf("got %v, want ErrProof", err)
	}
	if got := asked.Header.Get("X-Secret-Broadcaster-Command"); got != "of this command" {
		t.Errorf("AWS is told %q", got)
	}
	if asked.Header.Get("Authorization") != "" || asked.Method != http.MethodGet {
		t.Errorf("AWS is asked with %s and other credentials", asked.Method)
	}
}

// TestWhatIsNoProofIsNotSent: the broadcaster asks no question but who somebody is, at no other place than AWS's.
func TestWhatIsNoProofIsNotSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
	t.Cleanup(server.Close)
	good, err := url.ParseQuery(prove(t, server.URL, "d1"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, values ...string) string {
		edited := url.Values{}
		for n, v := range good {
			edited[n] = v
		}
		edited[name] = values
		return edited.Encode()
	}
	for name, proof := range map[string]string{
		"nothing": "", "no query": "%zz", "another action": with("Action", "AssumeRole"), "two actions": with("Action", "GetCallerIdentity", "AssumeRole"),
		"a parameter more": with("RoleArn", "arn:aws:iam::111122223333:role/admin"), "valid for long": with("X-Amz-Expires", "900"),
		"not for a command": with("X-Amz-SignedHeaders", "host"), "no signature for one": with("X-Amz-SignedHeaders"),
	} {
		if _, err := sts.New(client(server.URL)).Caller(t.Context(), proof, "d1"); !errors.Is(err, sts.ErrProof) {
			t.Errorf("%s: got %v, want ErrProof", name, err)
		}
	}
}

// TestAnErrorShowsNoProof: whoever reads a log within a minute could use it.
func TestAnErrorShowsNoProof(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	proof := prove(t, server.URL, "d1")
	server.Close()
	_, err := sts.New(client(server.URL)).Caller(t.Context(), proof, "d1")
	if err == nil || errors.Is(err, sts.ErrProof) || strings.Contains(err.Error(), "Signature") {
		t.Errorf("got %v", err)
	}
}

func TestAnAnswerThatNamesNobody(t *testing.T) {
	for _, answer := range []struct {
		status int
		body   string
	}{{200, ""}, {200, "{}"}, {200, "<GetCallerIdentityResponse/>"}, {500, ""}, {302, ""}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(answer.status)
			_, _ = w.Write([]byte(answer.body))
		}))
		who, err := sts.New(client(server.URL)).Caller(t.Context(), prove(t, server.URL, "d1"), "d1")
		server.Close()
		if who != "" || err == nil || errors.Is(err, sts.ErrProof) {
			t.Errorf("%+v: got %q, %v", answer, who, err)
		}
	}
}

// TestTheEndpointIsTheRegions: a proof is signed for the host that the broadcaster asks.
func TestTheEndpointIsTheRegions(t *testing.T) {
	var hosts []string
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		hosts = append(hosts, r.URL.Scheme+"://"+r.URL.Host+r.URL.Path)
		return nil, errors.New("not sent by the test")
	})
	on := aws.Config{Region: "eu-west-2", HTTPClient: &http.Client{Transport: transport}, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}
	proof, err := sts.Prove(t.Context(), awssts.NewFromConfig(on), "d1")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = sts.New(awssts.NewFromConfig(on)).Caller(t.Context(), proof, "d1")
	if len(hosts) != 1 || hosts[0] != "https://sts.eu-west-2.amazonaws.com/" {
		t.Errorf("asked at %v", hosts)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
