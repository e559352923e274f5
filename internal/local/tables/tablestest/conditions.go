package tablestest

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func conditionCases() []contract {
	return []contract{
		{"a condition holds or fails as DynamoDB says", conditionsHold},
		{"a condition on an item that is not there sees no attributes", conditionsOnNothing},
		{"a malformed condition is refused before anything is written", refusesBadConditions},
		{"missing, unused and empty placeholders are refused", refusesBadPlaceholders},
		{"a failed condition returns the item only if asked to", failureReturnsItem},
		{"of many conditional puts of one key exactly one wins", oneWinner},
	}
}

// conditionItem is what conditions are tried on.
func conditionItem() row {
	return row{
		"pk": s("c"), "sk": s("c"), "txt": s("abc"), "num": n("5"),
		"flag": &types.AttributeValueMemberBOOL{Value: true},
		"lst":  &types.AttributeValueMemberL{Value: []types.AttributeValue{n("1"), s("x")}},
		"m":    &types.AttributeValueMemberM{Value: row{"x": s("y")}},
		"tags": &types.AttributeValueMemberSS{Value: []string{"a", "b"}},
	}
}

// conditional puts an item's own content again, on a condition.
func (f *fixture) conditional(it row, expression string, values row, names map[string]string) error {
	in := &dynamodb.PutItemInput{
		TableName: &f.table, Item: it, ConditionExpression: &expression,
		ExpressionAttributeValues: values, ExpressionAttributeNames: names,
	}
	_, err := f.client.PutItem(f.Context(), in)
	return err
}

func conditionsHold(f *fixture) {
	f.put(conditionItem())
	for _, c := range []struct {
		expression string
		v, w       types.AttributeValue
		want       bool
	}{
		{"attribute_exists(pk)", nil, nil, true},
		{"attribute_exists(absent)", nil, nil, false},
		{"attribute_not_exists(pk)", nil, nil, false},
		{"attribute_not_exists(absent)", nil, nil, true},
		{"attribute_exists(m.x)", nil, nil, true},
		{"attribute_exists(m.absent)", nil, nil, false},
		{"txt = :v", s("abc"), nil, true},
		{"txt = :v", s("abd"), nil, false},
		{":v = txt", s("abc"), nil, true},
		{"txt <> :v", s("abd"), nil, true},
		{"txt < :v", s("abd"), nil, true},
		{"txt < :v", s("abc"), nil, false},
		{"txt <= :v", s("abc"), nil, true},
		{"txt > :v", s("ab"), nil, true},
		{"txt >= :v", s("abcd"), nil, false},
		{"num = :v", n("5.0"), nil, true},
		{"num < :v", n("10"), nil, true},
		{"num > :v", n("10"), nil, false},
		{"num >= :v", n("5"), nil, true},
		{"num < :v", s("6"), nil, false},
		{"num = :v", s("5"), nil, false},
		{"num <> :v", s("5"), nil, true},
		{"absent = :v", n("5"), nil, false},
		{"absent <> :v", n("5"), nil, true},
		{"absent < :v", n("5"), nil, false},
		{"NOT absent = :v", n("5"), nil, true},
		{"num BETWEEN :v AND :w", n("5"), n("6"), true},
		{"num BETWEEN :v AND :w", n("6"), n("7"), false},
		{"num BETWEEN :v AND :w AND attribute_exists(pk)", n("1"), n("9"), true},
		{"begins_with(txt, :v)", s("ab"), nil, true},
		{"begins_with(txt, :v)", s("b"), nil, false},
		{"begins_with(absent, :v)", s("b"), nil, false},
		{"flag = :v", &types.AttributeValueMemberBOOL{Value: true}, nil, true},
		{"tags = :v", &types.AttributeValueMemberSS{Value: []string{"b", "a"}}, nil, true},
		{"m = :v", &types.AttributeValueMemberM{Value: row{"x": s("y")}}, nil, true},
		{"m.x = :v", s("y"), nil, true},
		{"lst = :v", &types.AttributeValueMemberL{Value: []types.AttributeValue{n("1.0"), s("x")}}, nil, true},
		{"lst[1] = :v", s("x"), nil, true},
		{"lst[2] = :v", s("x"), nil, false},
		{"(txt = :v)", s("abc"), nil, true},
		{"txt = :v OR num = :w", s("no"), n("5"), true},
		{"txt = :v AND num = :w", s("abc"), n("6"), false},
		{"txt = :v OR num = :w AND attribute_not_exists(pk)", s("abc"), n("5"), true},
		{"(txt = :v OR num = :w) AND attribute_not_exists(pk)", s("abc"), n("5"), false},
		{"NOT (txt = :v OR num = :w) AND attribute_exists(pk)", s("abc"), n("6"), false},
		{"not txt = :v or num = :w and attribute_exists(pk)", s("abc"), n("5"), true},
		{"NOT NOT num = :v", n("5"), nil, true},
		{"num=:v and(num=:v)", n("5"), nil, true},
	} {
		f.Run(c.expression, func() {
			values := row{}
			if c.v != nil {
				values[":v"] = c.v
			}
			if c.w != nil {
				values[":w"] = c.w
			}
			if len(values) == 0 {
				values = nil
			}
			err := f.conditional(conditionItem(), c.expression, values, nil)
			if c.want {
				f.must(err)
			} else {
				f.refused(err, conditionFailed)
			}
		})
	}
}

func conditionsOnNothing(f *fixture) {
	f.refused(f.conditional(at("a", "b"), "attribute_exists(pk)", nil, nil), conditionFailed)
	f.refused(f.conditional(at("a", "b"), "pk = :v", row{":v": s("a")}, nil), conditionFailed)
	f.same(f.get(at("a", "b")), nil)
	f.must(f.conditional(at("a", "b"), "attribute_not_exists(pk) OR v < :v", row{":v": n("1")}, nil))
	f.same(f.get(at("a", "b")), at("a", "b"))
}

func refusesBadConditions(f *fixture) {
	one := row{":v": s("x")}
	for expression, values := range map[string]row{
		"":                       nil,
		"txt = ":                 one,
		"txt = :v AND":           one,
		"AND txt = :v":           one,
		"txt == :v":              one,
		"txt = 5":                nil,
		"(txt = :v":              one,
		"txt = :v)":              one,
		"((txt = :v))":           one,
		"txt":                    nil,
		"txt :v":                 one,
		"status = :v":            one,
		"Status = :v":            one,
		"m.status = :v":          one,
		"attribute_exists(:v)":   one,
		"attribute_exists(a, b)": nil,
		"attribute_exists()":     nil,
		"begins_with(txt)":       nil,
		"num BETWEEN :b AND :a":  {":a": n("1"), ":b": n("2")},
	} {
		f.Run(expression, func() {
			f.refused(f.conditional(at("a", "b"), expression, values, nil), validation)
			f.same(f.get(at("a", "b")), nil)
		})
	}
}

func refusesBadPlaceholders(f *fixture) {
	for name, c := range map[string]struct {
		expression string
		values     row
		names      map[string]string
	}{
		"undefined value":  {"txt = :v", nil, nil},
		"misspelled value": {"txt = :v", row{":w": s("x")}, nil},
		"unused value":     {"txt = :v", row{":v": s("x"), ":w": s("x")}, nil},
		"empty values":     {"attribute_not_exists(pk)", row{}, nil},
		"undefined name":   {"attribute_not_exists(#n)", nil, nil},
		"unused name":      {"attribute_not_exists(#n)", nil, map[string]string{"#n": "pk", "#m": "pk"}},
		"empty names":      {"attribute_not_exists(pk)", nil, map[string]string{}},
	} {
		f.Run(name, func() { f.refused(f.conditional(at("a", "b"), c.expression, c.values, c.names), validation) })
	}
	_, err := f.client.PutItem(f.Context(), &dynamodb.PutItemInput{TableName: &f.table, Item: at("a", "b"), ExpressionAttributeValues: row{":v": s("x")}})
	f.refused(err, validation)
	f.must(f.conditional(at("a", "b"), "attribute_not_exists(#n)", nil, map[string]string{"#n": "status"}))
}

func failureReturnsItem(f *fixture) {
	stored := with(at("a", "b"), "v", n("1"))
	f.put(stored)
	for _, want := range []row{stored, nil} {
		in := &dynamodb.PutItemInput{TableName: &f.table, Item: at("a", "b"), ConditionExpression: aws.String("attribute_not_exists(pk)")}
		if want != nil {
			in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
		}
		_, err := f.client.PutItem(f.Context(), in)
		var failed *types.ConditionalCheckFailedException
		if !errors.As(err, &failed) {
			f.Fatalf("got %v", err)
		}
		f.same(failed.Item, want)
		if failed.ErrorMessage() != "The conditional request failed" {
			f.Errorf("message %q", failed.ErrorMessage())
		}
	}
}

func oneWinner(f *fixture) {
	var winners atomic.Int32
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			err := f.conditional(at("claim", "1"), "attribute_not_exists(pk)", nil, nil)
			var lost *types.ConditionalCheckFailedException
			if err == nil {
				winners.Add(1)
			} else if !errors.As(err, &lost) {
				f.Error(err)
			}
		})
	}
	group.Wait()
	if got := winners.Load(); got != 1 {
		f.Errorf("%d winners", got)
	}
}
