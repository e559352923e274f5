// Package connection sends requests from a process that is frozen most of the time, as a Lambda function is: the
// broadcaster and every client of it.
package connection

import (
	"crypto/tls"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// trustIdleFor is how long an unused connection is believed to be alive. While an environment is frozen the other end,
// or a NAT gateway between, may drop its connections in silence
// (https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html: after 350 seconds). A new
// connection costs milliseconds, a dead one the whole timeout.
const trustIdleFor = 20 * time.Second

// A Client is quick to give up connections that may be dead. It implements aws.HTTPClient and is safe for concurrent use.
type Client struct {
	client   aws.HTTPClient
	now      func() time.Time
	lastUsed atomic.Int64 // by the wall clock: the monotonic one may stand still in a frozen environment
}

// New takes over what an AWS configuration says about HTTP, such as root certificates, but keeps its own pool
// of connections where it can. HTTP/1.1 only: of HTTP/2, one dead connection would be used again and again.
func New(client aws.HTTPClient) *Client {
	switch configured := client.(type) {
	case nil:
		client = ownPool(awshttp.NewBuildableClient())
	case *awshttp.BuildableClient:
		client = ownPool(configured)
	case *http.Client:
		same := *configured
		same.CheckRedirect = noRedirect
		client = &same
	}
	return &Client{client: client, now: time.Now}
}

func ownPool(configured *awshttp.BuildableClient) *http.Client {
	transport := configured.GetTransport()
	transport.ForceAttemptHTTP2 = false
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	transport.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0) // a new connection without the certificates' cost
	return &http.Client{Transport: transport, CheckRedirect: noRedirect, Timeout: configured.GetTimeout()}
}

// noRedirect: an AWS endpoint redirects nobody, and a signed request is nobody else's business.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Do implements aws.HTTPClient.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	now := c.now().UnixNano()
	if idle := time.Duration(now - c.lastUsed.Swap(now)); idle > trustIdleFor || idle < 0 {
		c.CloseIdle()
	}
	response, err := c.client.Do(r)
	if err != nil {
		c.CloseIdle()
	}
	return response, err
}

// CloseIdle makes the next request use a fresh connection.
func (c *Client) CloseIdle() {
	if pool, ok := c.client.(interface{ CloseIdleConnections() }); ok {
		pool.CloseIdleConnections()
	}
}
