// Package secretstest holds the contract of Secrets Manager as this project
// uses it: a suite that drives an endpoint with the AWS SDK. The local
// stand-in passes all of it; a third party's emulator passes what it claims
// to do, so that the stand-in cannot drift away from what the world takes
// Secrets Manager to be.
//
// A case belongs here if AWS documents it. What only the stand-in has (lag,
// events, its clock) is tested beside it.
package secretstest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/awstest"
)

// Endpoint is what a suite runs against.
type Endpoint struct {
	// URL is the base URL of the endpoint.
	URL string
	// Transport carries the requests. Nil: a connection for each request.
	Transport http.RoundTripper
}

// Run runs the contract but for the cases that one of the deviations excludes.
// A deviation that excludes no case fails, so that the list stays true.
// newEndpoint is called once per case; two cases may get the same endpoint,
// since each case signs with a random twelve-digit access key id, which an
// emulator takes for an account of its own.
func Run(t *testing.T, newEndpoint func(t *testing.T) Endpoint, known ...Deviation) {
	t.Helper()
	excluded := make(map[Deviation]int)
	for _, group := range []struct {
		name  string
		cases []contract
	}{
		{"creating", creatingCases()},
		{"labels", labelCases()},
		{"deleting", deletingCases()},
		{"reading", readingCases()},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.cases {
				if slices.Contains(known, c.unless) {
					excluded[c.unless]++
					t.Logf("not asked of this endpoint: %q, because %s", c.name, c.unless)
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(newFixture(t, newEndpoint(t)))
				})
			}
		})
	}
	for _, d := range known {
		if excluded[d] == 0 {
			t.Errorf("no case is excluded because %s", d)
		}
	}
}

// contract is one case: a sentence that is true of Secrets Manager.
type contract struct {
	name   string
	run    func(f *fixture)
	unless Deviation // empty: asked of every endpoint
}

// fixture is a client of the endpoint.
type fixture struct {
	*testing.T
	client *secretsmanager.Client
}

func newFixture(t *testing.T, endpoint Endpoint) *fixture {
	t.Helper()
	account, err := rand.Int(rand.Reader, big.NewInt(900_000_000_000))
	if err != nil {
		t.Fatal(err)
	}
	options := secretsmanager.Options{
		BaseEndpoint: &endpoint.URL,
		Region:       "eu-west-2",
		Credentials:  credentials.NewStaticCredentialsProvider(fmt.Sprintf("%012d", 100_000_000_000+account.Int64()), "not-checked", ""),
		HTTPClient:   &http.Client{Transport: endpoint.Transport},
		// Each call is made once: a repeated one may have another answer.
		Retryer: aws.NopRetryer{},
	}
	if endpoint.Transport == nil {
		options.HTTPClient = awstest.Client()
	}
	return &fixture{T: t, client: secretsmanager.New(options)}
}

// name is the secret that most cases are about; it looks as the project's do.
const name = "/bank/test/payments/neon/connection-string"

// Error codes that cases expect.
const (
	notFound         = "ResourceNotFoundException"
	exists           = "ResourceExistsException"
	invalidRequest   = "InvalidRequestException"
	invalidParameter = "InvalidParameterException"
	validation       = "ValidationException"
)

// The staging labels of AWS.
const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"
	pending  = "AWSPENDING"
)

// token is a ClientRequestToken of valid length with a readable end.
func token(end string) *string {
	return aws.String("00000000-0000-4000-8000-" + strings.Repeat("0", 12-len(end)) + end)
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// refused fails unless the error has one of the codes.
func (f *fixture) refused(err error, codes ...string) string {
	f.Helper()
	var got smithy.APIError
	switch {
	case err == nil:
		f.Fatalf("accepted, want %s", codes)
	case !errors.As(err, &got):
		f.Fatalf("got %v, want %s", err, codes)
	case !slices.Contains(codes, got.ErrorCode()):
		f.Fatalf("got %s (%s), want %s", got.ErrorCode(), got.ErrorMessage(), codes)
	}
	return got.ErrorMessage()
}

func (f *fixture) equal(got, want any) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("(-want +got):\n%s", diff)
	}
}

// create makes a secret with that value and returns its first version's id.
func (f *fixture) create(name, value string) string {
	f.Helper()
	out, err := f.client.CreateSecret(f.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value})
	f.must(err)
	return *out.VersionId
}

// put adds a version and returns its id; without labels it is AWSCURRENT.
func (f *fixture) put(value string, labels ...string) string {
	f.Helper()
	out, err := f.client.PutSecretValue(f.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(name), SecretString: &value, VersionStages: labels})
	f.must(err)
	return *out.VersionId
}

func (f *fixture) get(in secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error) {
	if in.SecretId == nil {
		in.SecretId = aws.String(name)
	}
	return f.client.GetSecretValue(f.Context(), &in)
}

func (f *fixture) describe(id string) *secretsmanager.DescribeSecretOutput {
	f.Helper()
	out, err := f.client.DescribeSecret(f.Context(), &secretsmanager.DescribeSecretInput{SecretId: &id})
	f.must(err)
	return out
}

// wantLabels fails unless exactly these labels are on exactly these versions.
func (f *fixture) wantLabels(want map[string]string) {
	f.Helper()
	got := make(map[string]string)
	for id, labels := range f.describe(name).VersionIdsToStages {
		for _, label := range labels {
			if other, twice := got[label]; twice {
				f.Errorf("label %s is on %s and on %s", label, other, id)
			}
			got[label] = id
		}
	}
	f.equal(got, want)
}

// move moves or removes a label; an empty id is not sent.
func (f *fixture) move(label, to, from string) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: aws.String(name), VersionStage: &label}
	if to != "" {
		in.MoveToVersionId = &to
	}
	if from != "" {
		in.RemoveFromVersionId = &from
	}
	_, err := f.client.UpdateSecretVersionStage(f.Context(), in)
	return err
}
