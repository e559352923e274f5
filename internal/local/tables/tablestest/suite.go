// Package tablestest holds the contract of a DynamoDB endpoint as this project
// uses one: a suite that drives it with the AWS SDK. The local stand-in and a
// third party's emulator both pass all of it, so that the stand-in cannot
// drift away from what the world takes DynamoDB to be.
//
// A case belongs here if it is true of DynamoDB and of both endpoints. What
// only the stand-in does (its journal, its clock, its fault lever, strictness
// that the emulator lacks) is tested beside it.
package tablestest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
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

// Run runs the whole contract. newEndpoint is called once per case; two cases
// may get the same endpoint, since each case signs with a random twelve-digit
// access key id, which an emulator takes for an account of its own, and uses
// tables with random names.
func Run(t *testing.T, newEndpoint func(t *testing.T) Endpoint) {
	t.Helper()
	for _, group := range []struct {
		name  string
		cases []contract
	}{
		{"tables", tableCases()},
		{"items", itemCases()},
		{"conditions", conditionCases()},
		{"updates", updateCases()},
		{"queries", queryCases()},
		{"transactions", transactionCases()},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(newFixture(t, newEndpoint(t)))
				})
			}
		})
	}
}

// contract is one case: a sentence that is true of DynamoDB.
type contract struct {
	name string
	run  func(f *fixture)
}

// fixture is a client of the endpoint with a table of its own: hash key pk and
// sort key sk, both strings.
type fixture struct {
	*testing.T
	client *dynamodb.Client
	table  string
}

func newFixture(t *testing.T, endpoint Endpoint) *fixture {
	t.Helper()
	options := dynamodb.Options{
		BaseEndpoint: &endpoint.URL,
		Region:       "eu-west-2",
		Credentials:  credentials.NewStaticCredentialsProvider(fmt.Sprintf("%012d", random(t)), "not-checked", ""),
		HTTPClient:   &http.Client{Transport: endpoint.Transport},
		// Each call is made once: a repeated one may have another answer.
		Retryer: aws.NopRetryer{},
	}
	if endpoint.Transport == nil {
		options.HTTPClient = awstest.Client()
	}
	f := &fixture{T: t, client: dynamodb.New(options)}
	f.table = f.create("S", "S")
	return f
}

func random(t *testing.T) int64 {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(900_000_000_000))
	if err != nil {
		t.Fatal(err)
	}
	return 100_000_000_000 + n.Int64()
}

// create makes a table with a random name; the sort key is left out if its
// type is empty.
func (f *fixture) create(hashType, sortType types.ScalarAttributeType) string {
	f.Helper()
	in := &dynamodb.CreateTableInput{
		TableName:            aws.String(fmt.Sprintf("t-%d", random(f.T))),
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: hashType}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
	}
	if sortType != "" {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: aws.String("sk"), AttributeType: sortType})
		in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange})
	}
	_, err := f.client.CreateTable(f.Context(), in)
	f.must(err)
	return *in.TableName
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// refused fails unless the error is the named one.
func (f *fixture) refused(err error, code string) {
	f.Helper()
	var got smithy.APIError
	switch {
	case err == nil:
		f.Fatalf("accepted, want %s", code)
	case !errors.As(err, &got):
		f.Fatalf("got %v, want %s", err, code)
	case got.ErrorCode() != code:
		f.Fatalf("got %s (%s), want %s", got.ErrorCode(), got.ErrorMessage(), code)
	}
}

// Error codes that cases expect.
const (
	validation      = "ValidationException"
	conditionFailed = "ConditionalCheckFailedException"
	cancelled       = "TransactionCanceledException"
	notFound        = "ResourceNotFoundException"
)

// row is an item in short form.
type row = map[string]types.AttributeValue

func s(text string) types.AttributeValue   { return &types.AttributeValueMemberS{Value: text} }
func n(number string) types.AttributeValue { return &types.AttributeValueMemberN{Value: number} }

// at is a key of the fixture's table.
func at(pk, sk string) row { return row{"pk": s(pk), "sk": s(sk)} }

// with is a row with more attributes.
func with(base row, name string, v types.AttributeValue) row {
	out := maps.Clone(base)
	out[name] = v
	return out
}

func (f *fixture) put(it row) {
	f.Helper()
	_, err := f.client.PutItem(f.Context(), &dynamodb.PutItemInput{TableName: &f.table, Item: it})
	f.must(err)
}

func (f *fixture) get(key row) row {
	f.Helper()
	out, err := f.client.GetItem(f.Context(), &dynamodb.GetItemInput{TableName: &f.table, Key: key, ConsistentRead: aws.Bool(true)})
	f.must(err)
	return out.Item
}

// same fails unless two rows are equal; members of sets have no order.
func (f *fixture) same(got, want row) {
	f.Helper()
	if diff := cmp.Diff(plain(want), plain(got)); diff != "" {
		f.Errorf("item (-want +got):\n%s", diff)
	}
}

// plain turns a row into something that compares and prints well.
func plain(it row) map[string]any {
	out := make(map[string]any, len(it))
	for name, v := range it {
		out[name] = plainValue(v)
	}
	return out
}

func plainValue(v types.AttributeValue) any {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return "S:" + v.Value
	case *types.AttributeValueMemberN:
		return "N:" + v.Value
	case *types.AttributeValueMemberB:
		return "B:" + string(v.Value)
	case *types.AttributeValueMemberBOOL:
		return v.Value
	case *types.AttributeValueMemberNULL:
		return nil
	case *types.AttributeValueMemberM:
		return plain(v.Value)
	case *types.AttributeValueMemberL:
		out := make([]any, len(v.Value))
		for i, e := range v.Value {
			out[i] = plainValue(e)
		}
		return out
	case *types.AttributeValueMemberSS:
		return append([]string{"SS"}, slices.Sorted(slices.Values(v.Value))...)
	case *types.AttributeValueMemberNS:
		return append([]string{"NS"}, slices.Sorted(slices.Values(v.Value))...)
	case *types.AttributeValueMemberBS:
		out := []string{}
		for _, b := range v.Value {
			out = append(out, string(b))
		}
		return append([]string{"BS"}, slices.Sorted(slices.Values(out))...)
	}
	return fmt.Sprintf("%T", v)
}

// Run runs a part of a case as a subtest with the same table.
func (f *fixture) Run(name string, part func()) {
	f.Helper()
	outer := f.T
	outer.Run(name, func(t *testing.T) {
		f.T = t
		defer func() { f.T = outer }()
		part()
	})
}
