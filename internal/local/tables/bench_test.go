package tables_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
)

// BenchmarkTransact is one append of a change log as the fleet model does it:
// a transaction of four items over the in-process transport, memory only.
func BenchmarkTransact(b *testing.B) {
	b.Run("wire", func(b *testing.B) {
		tbl := withChanges(b, tables.Config{})
		transport := tbl.RoundTripper()
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			r := request(b, "TransactWriteItems", fmt.Sprintf(transactFour, n, n, n+1, n))
			if answer, err := transport.RoundTrip(r); err != nil || answer.StatusCode != http.StatusOK {
				b.Fatal(answer, err)
			}
		}
	})
	b.Run("SDK", func(b *testing.B) {
		client := sdkClient(withChanges(b, tables.Config{}))
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if _, err := client.TransactWriteItems(b.Context(), transactFourSDK(n)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPut is one small write.
func BenchmarkPut(b *testing.B) {
	for _, name := range []string{"memory", "journal"} {
		b.Run(name, func(b *testing.B) {
			var cfg tables.Config
			if name == "journal" {
				cfg.Dir = b.TempDir()
			}
			tbl := withChanges(b, cfg)
			transport := tbl.RoundTripper()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				r := request(b, "PutItem", fmt.Sprintf(`{"TableName":"changes","Item":{"pk":{"S":"log"},"sk":{"S":"%020d"},"v":{"N":"%d"}}}`, n, n))
				if answer, err := transport.RoundTrip(r); err != nil || answer.StatusCode != http.StatusOK {
					b.Fatal(answer, err)
				}
			}
		})
	}
}

const transactFour = `{"ClientRequestToken":"%036d","TransactItems":[
	{"Put":{"TableName":"changes","Item":{"pk":{"S":"log"},"sk":{"S":"%020d"},"hash":{"S":"77ab"},"previousHash":{"S":"9f2c"},"time":{"N":"1795428000"}},"ConditionExpression":"attribute_not_exists(pk)"}},
	{"Update":{"TableName":"changes","Key":{"pk":{"S":"secret"},"sk":{"S":"a"}},"UpdateExpression":"SET revision = :n, versionId = :v","ConditionExpression":"attribute_not_exists(revision) OR revision < :n","ExpressionAttributeValues":{":n":{"N":"%d"},":v":{"S":"EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE"}}}},
	{"Put":{"TableName":"changes","Item":{"pk":{"S":"audit"},"sk":{"S":"%020d"},"cause":{"S":"Secret Label Updated"}}}},
	{"ConditionCheck":{"TableName":"changes","Key":{"pk":{"S":"paused"},"sk":{"S":"-"}},"ConditionExpression":"attribute_not_exists(pk)"}}]}`

func transactFourSDK(n int) *dynamodb.TransactWriteItemsInput {
	table := aws.String("changes")
	s := func(text string) types.AttributeValue { return &types.AttributeValueMemberS{Value: text} }
	number := func(n int) types.AttributeValue { return &types.AttributeValueMemberN{Value: fmt.Sprint(n)} }
	key := func(pk, sk string) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{"pk": s(pk), "sk": s(sk)}
	}
	row := key("log", fmt.Sprintf("%020d", n))
	row["hash"], row["previousHash"], row["time"] = s("77ab"), s("9f2c"), number(1795428000)
	audit := key("audit", fmt.Sprintf("%020d", n))
	audit["cause"] = s("Secret Label Updated")
	return &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: table, Item: row, ConditionExpression: aws.String("attribute_not_exists(pk)")}},
		{Update: &types.Update{
			TableName: table, Key: key("secret", "a"), UpdateExpression: aws.String("SET revision = :n, versionId = :v"),
			ConditionExpression:       aws.String("attribute_not_exists(revision) OR revision < :n"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":n": number(n + 1), ":v": s("EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE")},
		}},
		{Put: &types.Put{TableName: table, Item: audit}},
		{ConditionCheck: &types.ConditionCheck{TableName: table, Key: key("paused", "-"), ConditionExpression: aws.String("attribute_not_exists(pk)")}},
	}}
}

// sdkClient is a client of the in-process transport.
func sdkClient(tbl *tables.Tables) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String("http://tables"),
		Region:       "eu-west-2",
		Credentials:  credentials.NewStaticCredentialsProvider(strings.Repeat("1", 12), "not-checked", ""),
		HTTPClient:   &http.Client{Transport: tbl.RoundTripper()},
	})
}
