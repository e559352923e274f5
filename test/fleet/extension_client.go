package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/extension/endpoint"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// extensionClient is a function that knows no client, with the extension beside it: another process, which is frozen with
// the function's.
type extensionClient struct {
	e        *environment
	own      secretcache.Handler
	cache    *secretcache.Cache
	endpoint *endpoint.Endpoint
	sdk      *secretsmanager.Client
}

const sessionToken = "model-token"

func newExtensionClient(e *environment, function secretcache.Handler) client {
	c := &extensionClient{e: e, own: function}
	var err error
	c.cache, err = secretcache.New(secretcache.Config{
		Env: env, Domain: domain, Service: "api", Client: "extension/model", Log: logPort{e}, Secrets: secretsPort{e}, Reports: reportsPort{e},
		Clock: e.clock, Logger: e.w.logger,
	})
	if err != nil {
		panic(err)
	}
	own := credentials.NewStaticCredentialsProvider("model", "model", sessionToken)
	c.cache.InAccount("111122223333") // as Lambda tells the extension
	c.endpoint, err = endpoint.New(endpoint.Config{
		Cache: c.cache, TTL: ttl, MaxSecrets: places(e), Identity: endpoint.NewIdentity(aws.NewCredentialsCache(own), nil),
		Region: "eu-west-2", URL: func(string) (string, error) { return "https://secretsmanager.test", nil }, Client: passagePort{e}, Logger: e.w.logger,
	})
	if err != nil {
		panic(err)
	}
	c.sdk = secretsmanager.New(secretsmanager.Options{
		Region: "eu-west-2", Credentials: own, BaseEndpoint: aws.String("http://127.0.0.1:2773"), HTTPClient: c, Retryer: aws.NopRetryer{},
	})
	return c
}

// places returns how many ids are cached: in some environments too few, so that secrets are forgotten while they are read.
func places(e *environment) int {
	if e.id%4 >= 2 {
		return 2
	}
	return 1000
}

// errNotPushed: no broadcaster pushes to a function that takes no invalidations. Whoever does reaches the function's own
// code, so the model does not.
var errNotPushed = errors.New("this function takes no invalidations")

// invoke implements client. An invocation lasts until the extension has nothing more to do either.
func (c *extensionClient) invoke(ctx context.Context, payload []byte) ([]byte, error) {
	if _, ours, _ := wire.ParseInvalidation(payload); ours {
		return nil, errNotPushed
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		end := c.endpoint.Begin(context.Background())
		defer end()
		c.cache.Linger(context.Background())
	}()
	out, err := c.own.Invoke(ctx, payload)
	<-told
	return out, err
}

// get implements client: in some environments as code written for AWS's extension does, in the others as AWS's SDK does.
func (c *extensionClient) get(ctx context.Context, id string, told func(reading)) {
	read := c.byHTTPAPI
	if c.e.id%2 == 1 {
		read = c.bySDK
	}
	// The endpoint sees that whoever asked is gone, no deadline.
	connection, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	answered := make(chan reading, 1)
	go func() { answered <- read(connection, id) }()
	select {
	case r := <-answered:
		r.gaveUp = ctx.Err() != nil
		told(r)
	case <-ctx.Done():
		c.e.pass()
		told(reading{err: ctx.Err(), gaveUp: true})
	}
}

// byHTTPAPI reads by the HTTP API. Now and then it wants what is new.
func (c *extensionClient) byHTTPAPI(ctx context.Context, id string) reading {
	query := url.Values{"secretId": {id}}
	switch c.e.roll(10) {
	case 0:
		query.Set("refreshNow", "true")
	case 1:
		query.Set("versionStage", "AWSCURRENT")
	}
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/secretsmanager/get?"+query.Encode(), nil)
	request.Header.Set("X-Aws-Parameters-Secrets-Token", sessionToken)
	return readingOf(c.ask(request))
}

// ask is the way to the extension and back.
func (c *extensionClient) ask(request *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	c.e.pass()
	c.endpoint.ServeHTTP(answer, request)
	c.e.pass()
	return answer
}

// Do implements aws.HTTPClient: the SDK is told that Secrets Manager is the extension.
func (c *extensionClient) Do(r *http.Request) (*http.Response, error) {
	r.Host = r.URL.Host // as a server has it
	return c.ask(r).Result(), nil
}

// bySDK reads by Secrets Manager's own protocol. Now and then it names the label, or asks for a batch.
func (c *extensionClient) bySDK(ctx context.Context, id string) reading {
	in := &secretsmanager.GetSecretValueInput{SecretId: &id}
	switch c.e.roll(10) {
	case 0:
		return c.byBatch(ctx, id)
	case 1:
		in.VersionStage = aws.String("AWSCURRENT")
	}
	out, err := c.sdk.GetSecretValue(ctx, in)
	if err != nil {
		return reading{err: err}
	}
	return reading{version: *out.VersionId, text: *out.SecretString}
}

func (c *extensionClient) byBatch(ctx context.Context, id string) reading {
	out, err := c.sdk.BatchGetSecretValue(ctx, &secretsmanager.BatchGetSecretValueInput{SecretIdList: []string{id}})
	switch {
	case err != nil:
		return reading{err: err}
	case len(out.Errors) > 0:
		return reading{err: fmt.Errorf("in the batch: %s", aws.ToString(out.Errors[0].ErrorCode))}
	default:
		return reading{version: *out.SecretValues[0].VersionId, text: *out.SecretValues[0].SecretString}
	}
}

func readingOf(answer *httptest.ResponseRecorder) reading {
	if answer.Code != http.StatusOK {
		return reading{err: fmt.Errorf("HTTP status %d: %s", answer.Code, answer.Body)}
	}
	var got struct {
		VersionID    string `json:"VersionId"`
		SecretString string
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		panic(err)
	}
	return reading{version: got.VersionID, text: got.SecretString}
}

func (c *extensionClient) appliedHash() string {
	_, hash := c.cache.Position()
	return hash
}

func (c *extensionClient) counts() wire.Counts { return c.cache.Counts() }

// die implements client. What is on its way ends unheard.
func (c *extensionClient) die() {}

// passagePort is the extension's way to Secrets Manager for what it passes on.
type passagePort struct{ e *environment }

// Do implements aws.HTTPClient.
func (p passagePort) Do(r *http.Request) (*http.Response, error) {
	var asked struct {
		ID      string `json:"SecretId"`
		Version string `json:"VersionId"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return nil, err
	}
	got, err := secretsPort(p).Get(r.Context(), asked.ID, asked.Version)
	answer := &http.Response{StatusCode: http.StatusOK, Request: r}
	body, encodeErr := json.Marshal(map[string]any{
		"ARN": got.ARN, "Name": got.Name, "VersionId": got.VersionID, "SecretString": got.Text, "CreatedDate": float64(got.Created.UnixMilli()) / 1000,
	})
	switch refused := errorOf(err); {
	case encodeErr != nil:
		return nil, encodeErr
	case refused != nil && refused.Name == "Error":
		return nil, err
	case refused != nil:
		answer.StatusCode = http.StatusBadRequest
		body = []byte(`{"__type":"` + refused.Name + `"}`)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}
