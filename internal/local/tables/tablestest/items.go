package tablestest

import (
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
)

func itemCases() []contract {
	return []contract{
		{"every attribute type comes back as it was put", keepsEveryType},
		{"numbers come back without exponent and superfluous zeros", normalisesNumbers},
		{"a put replaces the whole item and can return the old one", putReplaces},
		{"a delete is idempotent and can return the old item", deletes},
		{"a key that is missing, empty, too long or of another type is refused", refusesBadKeys},
		{"a value that breaks its type's rules is refused", refusesBadValues},
		{"an item of 400 KB is stored and a larger one refused", limitsItemSize},
		{"number keys are equal by value", numberKeys},
		{"a table without a sort key keeps one item per hash key", hashOnly},
		{"a projection returns only what it names", projects},
		{"a batch returns what is there", batchGet},
		{"a batch that is empty, too large or has a key twice is refused", refusesBadBatches},
		{"a batch of puts and deletes is done", batchWrite},
		{"a batch of writes that is too large or has a key twice is refused", refusesBadBatchWrites},
		{"a small read costs half a unit, or one if consistent", readCost},
	}
}

func keepsEveryType(f *fixture) {
	want := row{
		"pk": s("types"), "sk": s("all"),
		"s": s("ü \"quoted\" \\ \n <tag> 𝄞"), "empty": s(""),
		"n":    n("-12.5"),
		"b":    &types.AttributeValueMemberB{Value: []byte{0, 255, 1}},
		"bool": &types.AttributeValueMemberBOOL{Value: true}, "no": &types.AttributeValueMemberBOOL{Value: false},
		"null": &types.AttributeValueMemberNULL{Value: true},
		"m":    &types.AttributeValueMemberM{Value: row{"x": s("y"), "deep": &types.AttributeValueMemberM{Value: row{"n": n("1")}}}},
		"m0":   &types.AttributeValueMemberM{Value: row{}},
		"l":    &types.AttributeValueMemberL{Value: []types.AttributeValue{s("b"), n("2"), s("a")}},
		"l0":   &types.AttributeValueMemberL{Value: []types.AttributeValue{}},
		"ss":   &types.AttributeValueMemberSS{Value: []string{"b", "a"}},
		"ns":   &types.AttributeValueMemberNS{Value: []string{"2", "1.5"}},
		"bs":   &types.AttributeValueMemberBS{Value: [][]byte{{1}, {0}}},
	}
	f.put(want)
	f.same(f.get(at("types", "all")), want)
}

func normalisesNumbers(f *fixture) {
	for sent, want := range map[string]string{
		"007": "7", "1.50": "1.5", "1e3": "1000", "-0": "0", "0.00": "0", "1.5e-7": "0.00000015", ".5": "0.5",
		"12345678901234567890123456789012345678": "12345678901234567890123456789012345678",
	} {
		f.put(with(at("number", sent), "v", n(sent)))
		f.same(f.get(at("number", sent)), with(at("number", sent), "v", n(want)))
	}
}

func putReplaces(f *fixture) {
	old := row{"pk": s("a"), "sk": s("b"), "gone": s("x"), "v": n("1")}
	f.put(old)
	out, err := f.client.PutItem(f.Context(), &dynamodb.PutItemInput{
		TableName: &f.table, Item: with(at("a", "b"), "v", n("2")), ReturnValues: types.ReturnValueAllOld,
	})
	f.must(err)
	f.same(out.Attributes, old)
	f.same(f.get(at("a", "b")), with(at("a", "b"), "v", n("2")))
}

func deletes(f *fixture) {
	f.put(with(at("a", "b"), "v", n("1")))
	for _, want := range []row{with(at("a", "b"), "v", n("1")), nil} {
		out, err := f.client.DeleteItem(f.Context(), &dynamodb.DeleteItemInput{
			TableName: &f.table, Key: at("a", "b"), ReturnValues: types.ReturnValueAllOld,
		})
		f.must(err)
		f.same(out.Attributes, want)
		f.same(f.get(at("a", "b")), nil)
	}
}

func refusesBadKeys(f *fixture) {
	for name, key := range map[string]row{
		"missing":  {"pk": s("a")},
		"empty pk": at("", "b"),
		"empty sk": at("a", ""),
		"type":     {"pk": s("a"), "sk": n("1")},
		"long pk":  at(strings.Repeat("x", 2049), "b"),
		"long sk":  at("a", strings.Repeat("x", 1025)),
	} {
		f.Run(name, func() {
			_, err := f.client.PutItem(f.Context(), &dynamodb.PutItemInput{TableName: &f.table, Item: key})
			f.refused(err, validation)
			_, err = f.client.GetItem(f.Context(), &dynamodb.GetItemInput{TableName: &f.table, Key: key})
			f.refused(err, validation)
			_, err = f.client.DeleteItem(f.Context(), &dynamodb.DeleteItemInput{TableName: &f.table, Key: key})
			f.refused(err, validation)
		})
	}
	_, err := f.client.GetItem(f.Context(), &dynamodb.GetItemInput{TableName: &f.table, Key: with(at("a", "b"), "more", s("c"))})
	f.refused(err, validation)
}

func refusesBadValues(f *fixture) {
	for name, v := range map[string]types.AttributeValue{
		"empty set":     &types.AttributeValueMemberSS{Value: []string{}},
		"double member": &types.AttributeValueMemberSS{Value: []string{"a", "a"}},
		"double number": &types.AttributeValueMemberNS{Value: []string{"1", "1.0"}},
		"null is false": &types.AttributeValueMemberNULL{Value: false},
		"no number":     n("abc"),
		"space":         n(" 1"),
		"no digits":     n(""),
		"39 digits":     n(strings.Repeat("1", 39)),
		"overflow":      n("1e126"),
		"underflow":     n("1e-131"),
		"nested":        &types.AttributeValueMemberL{Value: []types.AttributeValue{n("abc")}},
	} {
		f.Run(name, func() {
			_, err := f.client.PutItem(f.Context(), &dynamodb.PutItemInput{TableName: &f.table, Item: with(at("a", "b"), "v", v)})
			f.refused(err, validation)
		})
	}
}

func limitsItemSize(f *fixture) {
	const limit = 400 << 10
	names := len("pk" + "a" + "sk" + "b" + "v")
	f.put(with(at("a", "b"), "v", s(strings.Repeat("x", limit-names))))
	_, err := f.client.PutItem(f.Context(), &dynamodb.PutItemInput{
		TableName: &f.table, Item: with(at("a", "b"), "v", s(strings.Repeat("x", limit-names+1))),
	})
	f.refused(err, validation)
	_, err = f.client.UpdateItem(f.Context(), &dynamodb.UpdateItemInput{
		TableName: &f.table, Key: at("a", "b"), UpdateExpression: aws.String("SET more = :m"), ExpressionAttributeValues: row{":m": s("x")},
	})
	f.refused(err, validation)
}

func numberKeys(f *fixture) {
	f.table = f.create("N", "N")
	f.put(row{"pk": n("1"), "sk": n("10"), "v": s("old")})
	f.put(row{"pk": n("1.0"), "sk": n("1e1"), "v": s("new")})
	f.same(f.get(row{"pk": n("1"), "sk": n("10")}), row{"pk": n("1"), "sk": n("10"), "v": s("new")})
}

func hashOnly(f *fixture) {
	f.table = f.create("S", "")
	f.put(row{"pk": s("a"), "v": s("old")})
	f.put(row{"pk": s("a"), "v": s("new")})
	f.same(f.get(row{"pk": s("a")}), row{"pk": s("a"), "v": s("new")})
	_, err := f.client.GetItem(f.Context(), &dynamodb.GetItemInput{TableName: &f.table, Key: at("a", "b")})
	f.refused(err, validation)
}

func projects(f *fixture) {
	f.put(row{"pk": s("a"), "sk": s("b"), "v": n("1"), "w": n("2")})
	out, err := f.client.GetItem(f.Context(), &dynamodb.GetItemInput{
		TableName: &f.table, Key: at("a", "b"),
		ProjectionExpression: aws.String("sk, #v, absent"), ExpressionAttributeNames: map[string]string{"#v": "v"},
	})
	f.must(err)
	f.same(out.Item, row{"sk": s("b"), "v": n("1")})
}

func batchGet(f *fixture) {
	f.put(with(at("a", "1"), "v", n("1")))
	f.put(with(at("a", "2"), "v", n("2")))
	out, err := f.client.BatchGetItem(f.Context(), &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
		f.table: {Keys: []row{at("a", "1"), at("a", "2"), at("a", "3")}, ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String("v")},
	}})
	f.must(err)
	var got []string
	for _, it := range out.Responses[f.table] {
		got = append(got, it["v"].(*types.AttributeValueMemberN).Value)
	}
	if len(got) != 2 || got[0] == got[1] || len(out.UnprocessedKeys) != 0 {
		f.Errorf("got %v, unprocessed %v", got, out.UnprocessedKeys)
	}
}

func refusesBadBatches(f *fixture) {
	var many []row
	for i := range 101 {
		many = append(many, at("a", strconv.Itoa(i)))
	}
	for name, keys := range map[string][]row{"empty": {}, "double": {at("a", "b"), at("a", "b")}, "101": many} {
		f.Run(name, func() {
			_, err := f.client.BatchGetItem(f.Context(), &dynamodb.BatchGetItemInput{
				RequestItems: map[string]types.KeysAndAttributes{f.table: {Keys: keys}},
			})
			f.refused(err, validation)
		})
	}
}

func putRequest(it row) types.WriteRequest {
	return types.WriteRequest{PutRequest: &types.PutRequest{Item: it}}
}

func (f *fixture) writeBatch(requests ...types.WriteRequest) error {
	out, err := f.client.BatchWriteItem(f.Context(), &dynamodb.BatchWriteItemInput{
		RequestItems: map[string][]types.WriteRequest{f.table: requests},
	})
	if err == nil && len(out.UnprocessedItems) != 0 {
		f.Errorf("unprocessed %v", out.UnprocessedItems)
	}
	return err
}

func batchWrite(f *fixture) {
	f.put(with(at("a", "1"), "v", n("1")))
	f.put(at("a", "2"))
	f.must(f.writeBatch(
		putRequest(with(at("a", "1"), "v", n("2"))),
		types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: at("a", "2")}},
		types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: at("a", "3")}},
		putRequest(at("a", "4"))))
	f.same(f.get(at("a", "1")), with(at("a", "1"), "v", n("2")))
	f.same(f.get(at("a", "2")), nil)
	f.same(f.get(at("a", "4")), at("a", "4"))
}

func refusesBadBatchWrites(f *fixture) {
	var many []types.WriteRequest
	for i := range 26 {
		many = append(many, putRequest(at("a", strconv.Itoa(i))))
	}
	f.refused(f.writeBatch(many...), validation)
	f.refused(f.writeBatch(putRequest(at("a", "1")), types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: at("a", "1")}}), validation)
	f.same(f.get(at("a", "1")), nil)
	f.must(f.writeBatch(many[:25]...))
}

func readCost(f *fixture) {
	f.put(at("a", "b"))
	for consistent, want := range map[bool]float64{false: 0.5, true: 1} {
		for _, key := range []row{at("a", "b"), at("a", "missing")} {
			out, err := f.client.GetItem(f.Context(), &dynamodb.GetItemInput{
				TableName: &f.table, Key: key, ConsistentRead: &consistent, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
			})
			f.must(err)
			if diff := cmp.Diff(want, *out.ConsumedCapacity.CapacityUnits); diff != "" {
				f.Errorf("consistent %t (-want +got):\n%s", consistent, diff)
			}
		}
		out, err := f.client.Query(f.Context(), &dynamodb.QueryInput{
			TableName: &f.table, KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": s("a")},
			ConsistentRead: &consistent, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
		})
		f.must(err)
		if got := *out.ConsumedCapacity.CapacityUnits; got != want {
			f.Errorf("query, consistent %t: %v units, want %v", consistent, got, want)
		}
	}
}
