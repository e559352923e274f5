package tablestest

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func updateCases() []contract {
	return []contract{
		{"an update changes what it names and nothing else", updates},
		{"an update of an item that is not there makes it", updateMakes},
		{"return values are of the item, or of what was updated, before or after", updateReturns},
		{"an update that cannot be done is refused and changes nothing", refusesBadUpdates},
		{"a conditional update moves a watermark forward only", watermark},
	}
}

// update applies an expression to the item at (u, u).
func (f *fixture) update(expression string, values row, wanted types.ReturnValue) (row, error) {
	out, err := f.client.UpdateItem(f.Context(), &dynamodb.UpdateItemInput{
		TableName: &f.table, Key: at("u", "u"), UpdateExpression: &expression,
		ExpressionAttributeValues: values, ReturnValues: wanted,
	})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

func updates(f *fixture) {
	list := func(items ...types.AttributeValue) types.AttributeValue {
		return &types.AttributeValueMemberL{Value: items}
	}
	set := func(members ...string) types.AttributeValue { return &types.AttributeValueMemberSS{Value: members} }
	base := row{"pk": s("u"), "sk": s("u"), "txt": s("x"), "num": n("5"), "lst": list(s("1")), "tags": set("a")}
	for _, c := range []struct {
		expression string
		values     row
		name       string
		want       types.AttributeValue // nil: removed
	}{
		{"SET txt = :v", row{":v": s("y")}, "txt", s("y")},
		{"set txt = :v", row{":v": s("y")}, "txt", s("y")},
		{"SET fresh = txt", nil, "fresh", s("x")},
		{"SET num = num + :v", row{":v": n("5.5")}, "num", n("10.5")},
		{"SET num = :v - num", row{":v": n("5.5")}, "num", n("0.5")},
		{"SET num = if_not_exists(num, :v)", row{":v": n("1")}, "num", n("5")},
		{"SET fresh = if_not_exists(fresh, :v) + :v", row{":v": n("1")}, "fresh", n("2")},
		{"SET lst = list_append(lst, :v)", row{":v": list(s("2"))}, "lst", list(s("1"), s("2"))},
		{"SET fresh = list_append(if_not_exists(fresh, :e), :v)", row{":e": list(), ":v": list(s("2"))}, "fresh", list(s("2"))},
		{"ADD num :v", row{":v": n("-7")}, "num", n("-2")},
		{"ADD fresh :v", row{":v": n("3")}, "fresh", n("3")},
		{"ADD tags :v", row{":v": set("b", "a")}, "tags", set("a", "b")},
		{"ADD fresh :v", row{":v": set("b")}, "fresh", set("b")},
		{"REMOVE txt, absent", nil, "txt", nil},
	} {
		f.Run(c.expression, func() {
			f.put(base)
			_, err := f.update(c.expression, c.values, "")
			f.must(err)
			want := with(base, c.name, c.want)
			if c.want == nil {
				delete(want, c.name)
			}
			f.same(f.get(at("u", "u")), want)
		})
	}
	f.put(base)
	_, err := f.update("SET txt = :v, fresh = num REMOVE lst ADD num :n", row{":v": s("y"), ":n": n("1")}, "")
	f.must(err)
	f.same(f.get(at("u", "u")), row{"pk": s("u"), "sk": s("u"), "txt": s("y"), "num": n("6"), "fresh": n("5"), "tags": set("a")})
}

func updateMakes(f *fixture) {
	_, err := f.update("SET v = :v", row{":v": n("1")}, "")
	f.must(err)
	f.same(f.get(at("u", "u")), with(at("u", "u"), "v", n("1")))
	_, err = f.client.UpdateItem(f.Context(), &dynamodb.UpdateItemInput{TableName: &f.table, Key: at("only", "key")})
	f.must(err)
	f.same(f.get(at("only", "key")), at("only", "key"))
}

func updateReturns(f *fixture) {
	old := row{"pk": s("u"), "sk": s("u"), "a": n("1"), "b": n("2"), "c": n("3")}
	fresh := row{"pk": s("u"), "sk": s("u"), "a": n("9"), "c": n("3")}
	for wanted, want := range map[types.ReturnValue]row{
		types.ReturnValueNone:       nil,
		types.ReturnValueAllOld:     old,
		types.ReturnValueAllNew:     fresh,
		types.ReturnValueUpdatedOld: {"a": n("1"), "b": n("2")},
		types.ReturnValueUpdatedNew: {"a": n("9")},
	} {
		f.Run(string(wanted), func() {
			f.put(old)
			got, err := f.update("SET a = :v REMOVE b", row{":v": n("9")}, wanted)
			f.must(err)
			f.same(got, want)
		})
	}
	_, err := f.update("SET a = :v", row{":v": n("9")}, "SOMETHING")
	f.refused(err, validation)
}

func refusesBadUpdates(f *fixture) {
	base := row{"pk": s("u"), "sk": s("u"), "txt": s("x"), "tags": &types.AttributeValueMemberSS{Value: []string{"a"}}}
	f.put(base)
	for expression, values := range map[string]row{
		"":                    nil,
		"FOO a":               nil,
		"SET a = :v":          nil,
		"SET a = absent":      nil,
		"SET a = absent + :v": {":v": n("1")},
		"SET status = :v":     {":v": n("1")},
		"SET pk = :v":         {":v": s("other")},
		"REMOVE sk":           nil,
		"SET x.y = :v":        {":v": s("v")},
		"ADD txt :v":          {":v": n("1")},
		"ADD txt :v ":         {":v": s("1")},
		"ADD tags :v":         {":v": &types.AttributeValueMemberNS{Value: []string{"1"}}},
	} {
		f.Run(expression, func() {
			_, err := f.update(expression, values, "")
			f.refused(err, validation)
			f.same(f.get(at("u", "u")), base)
		})
	}
}

func watermark(f *fixture) {
	forward := func(to string) error {
		_, err := f.client.UpdateItem(f.Context(), &dynamodb.UpdateItemInput{
			TableName: &f.table, Key: at("mark", "1"), UpdateExpression: aws.String("SET mark = :v"),
			ConditionExpression: aws.String("attribute_not_exists(mark) OR mark < :v"), ExpressionAttributeValues: row{":v": n(to)},
		})
		return err
	}
	f.must(forward("5"))
	f.refused(forward("5"), conditionFailed)
	f.refused(forward("4"), conditionFailed)
	f.must(forward("10"))
	f.same(f.get(at("mark", "1")), with(at("mark", "1"), "mark", n("10")))
}
