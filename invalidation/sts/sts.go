// Package sts proves and verifies who sends a command. Lambda does not tell a function who invokes it. So the sender signs a
// GetCallerIdentity request, which names the command that it is for, and does not send it; the broadcaster has AWS answer
// it, and learns who signed. It is an edge: the AWS SDK stops here.
//
// GetCallerIdentity needs no permission (https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html), and
// whoever sees the signed request can learn nothing from it but that.
package sts

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	// forHeader is signed with the request: a proof of one command proves no other.
	forHeader = "x-secret-broadcaster-command"
	// validFor is how long a proof counts, in seconds: a command is sent at once.
	validFor = "60"
	// maxAnswer is more than any identity has.
	maxAnswer = 16 << 10
	// answerWithin bounds one question to AWS.
	answerWithin = 2 * time.Second
)

// ErrProof says that what is to prove the caller proves nothing.
var ErrProof = errors.New("the command does not prove who sends it")

// Prove returns a proof, to be sent with the command with this digest, of whose credentials the client has.
func Prove(ctx context.Context, client *sts.Client, digest string) (string, error) {
	signed, err := sts.NewPresignClient(client).PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, sts.WithAPIOptions(
			smithyhttp.SetHeaderValue(forHeader, digest), smithyhttp.SetHeaderValue("X-Amz-Expires", validFor)))
	})
	if err != nil {
		return "", fmt.Errorf("signing the proof of who sends the command: %w", err)
	}
	u, err := url.Parse(signed.URL)
	if err != nil {
		return "", fmt.Errorf("reading the signed request: %w", err)
	}
	return u.RawQuery, nil
}

// Callers asks AWS whose proofs are. It is safe for concurrent use.
type Callers struct{ options sts.Options }

// New returns a Callers that asks where the client does. It sends no credentials of its own.
func New(client *sts.Client) *Callers { return &Callers{client.Options()} }

// Caller returns the ARN of whoever signed the proof for a command with this digest, as AWS says it, or ErrProof, wrapped.
func (c *Callers) Caller(ctx context.Context, proof, digest string) (string, error) {
	query, err := check(proof)
	if err != nil {
		return "", err
	}
	// The endpoint is ours, never the proof's. The signature covers the host, so a proof is for one Region.
	endpoint, err := c.options.EndpointResolverV2.ResolveEndpoint(ctx, sts.EndpointParameters{
		Region: &c.options.Region, Endpoint: c.options.BaseEndpoint, UseGlobalEndpoint: aws.Bool(false),
	})
	if err != nil {
		return "", fmt.Errorf("finding STS: %w", err)
	}
	at := endpoint.URI
	at.Path, at.RawQuery = "/", query
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", fmt.Errorf("making the question who sends a command: %w", err)
	}
	request.Header.Set(forHeader, digest)
	response, err := c.options.HTTPClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("asking AWS who sends a command: %w", withoutQuery(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case err != nil:
		return "", fmt.Errorf("asking AWS who sends a command: %w", err)
	case response.StatusCode == http.StatusForbidden, response.StatusCode == http.StatusBadRequest:
		return "", fmt.Errorf("%w: AWS answers %s", ErrProof, response.Status)
	case response.StatusCode != http.StatusOK:
		return "", fmt.Errorf("asking AWS who sends a command: it answers %s", response.Status)
	}
	var is struct {
		Arn string `xml:"GetCallerIdentityResult>Arn"`
	}
	if err := xml.Unmarshal(body, &is); err != nil || !strings.HasPrefix(is.Arn, "arn:") {
		return "", errors.New("asking AWS who sends a command: its answer names nobody")
	}
	return is.Arn, nil
}

// check returns the proof's query if it is what Prove makes: the question who somebody is and nothing else, and with a
// signature that is for one command.
func check(proof string) (string, error) {
	values, err := url.ParseQuery(proof)
	if err != nil {
		return "", fmt.Errorf("%w: it is no query", ErrProof)
	}
	allowed := []string{
		"Action", "Version", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Security-Token", "X-Amz-Signature",
		"X-Amz-SignedHeaders",
	}
	for name, all := range values {
		if !slices.Contains(allowed, name) || len(all) != 1 {
			return "", fmt.Errorf("%w: it asks for something else", ErrProof)
		}
	}
	switch {
	case values.Get("Action") != "GetCallerIdentity":
		return "", fmt.Errorf("%w: it asks for something else", ErrProof)
	case values.Get("X-Amz-Expires") != validFor:
		return "", fmt.Errorf("%w: it counts for longer than a minute", ErrProof)
	case !slices.Contains(strings.Split(values.Get("X-Amz-SignedHeaders"), ";"), forHeader):
		return "", fmt.Errorf("%w: it is not for one command", ErrProof)
	}
	return values.Encode(), nil
}

// withoutQuery takes the URL off an error of an HTTP client: the proof stands in it.
func withoutQuery(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
