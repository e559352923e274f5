package tablestest

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
)

func queryCases() []contract {
	return []contract{
		{"a query returns one partition in the order of the sort key", queryOrder},
		{"a number sort key orders by value", queryNumberOrder},
		{"a sort condition selects a range", querySortConditions},
		{"a limit cuts the result into pages that join up", queryPages},
		{"a page holds at most about one megabyte", queryPageSize},
		{"a query can start after a key that is not there", queryStartsBetween},
		{"a projection returns only what it names", queryProjects},
		{"a key condition that is none is refused", refusesBadQueries},
	}
}

// sorted are the sort keys of rows.
func sorted(rows []row) []string {
	out := []string{}
	for _, r := range rows {
		switch v := r["sk"].(type) {
		case *types.AttributeValueMemberS:
			out = append(out, v.Value)
		case *types.AttributeValueMemberN:
			out = append(out, v.Value)
		}
	}
	return out
}

func (f *fixture) query(in dynamodb.QueryInput) *dynamodb.QueryOutput {
	f.Helper()
	in.TableName, in.ConsistentRead = &f.table, aws.Bool(true)
	out, err := f.client.Query(f.Context(), &in)
	f.must(err)
	if int(out.Count) != len(out.Items) || out.ScannedCount != out.Count {
		f.Errorf("count %d, scanned %d, items %d", out.Count, out.ScannedCount, len(out.Items))
	}
	return out
}

// log fills the partition "log" with revisions 1 to 9 and another with noise.
func (f *fixture) log() {
	f.Helper()
	for _, i := range []int{5, 3, 9, 1, 7, 2, 8, 4, 6} {
		f.put(with(at("log", fmt.Sprintf("r%d", i)), "v", n(fmt.Sprint(i))))
	}
	f.put(at("other", "r5"))
}

func (f *fixture) wantKeys(rows []row, want ...string) {
	f.Helper()
	if diff := cmp.Diff(append([]string{}, want...), sorted(rows)); diff != "" {
		f.Errorf("sort keys (-want +got):\n%s", diff)
	}
}

func queryOrder(f *fixture) {
	f.log()
	in := dynamodb.QueryInput{KeyConditionExpression: aws.String("#p = :p"), ExpressionAttributeNames: map[string]string{"#p": "pk"}, ExpressionAttributeValues: row{":p": s("log")}}
	f.wantKeys(f.query(in).Items, "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9")
	in.ScanIndexForward = aws.Bool(false)
	f.wantKeys(f.query(in).Items, "r9", "r8", "r7", "r6", "r5", "r4", "r3", "r2", "r1")
	in.ExpressionAttributeValues = row{":p": s("nothing")}
	f.wantKeys(f.query(in).Items)
}

func queryNumberOrder(f *fixture) {
	f.table = f.create("S", "N")
	for _, v := range []string{"10", "9", "-1", "2.5", "0", "-20"} {
		f.put(row{"pk": s("a"), "sk": n(v)})
	}
	all := dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": s("a")}}
	f.wantKeys(f.query(all).Items, "-20", "-1", "0", "2.5", "9", "10")
	above := dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p AND sk > :s"), ExpressionAttributeValues: row{":p": s("a"), ":s": n("2")}}
	f.wantKeys(f.query(above).Items, "2.5", "9", "10")
}

func querySortConditions(f *fixture) {
	f.log()
	for _, c := range []struct {
		condition string
		a, b      string
		want      []string
	}{
		{"sk = :a", "r5", "", []string{"r5"}},
		{"sk = :a", "r", "", nil},
		{"sk < :a", "r3", "", []string{"r1", "r2"}},
		{"sk <= :a", "r3", "", []string{"r1", "r2", "r3"}},
		{"sk > :a", "r7", "", []string{"r8", "r9"}},
		{"sk >= :a", "r7", "", []string{"r7", "r8", "r9"}},
		{"sk > :a", "r75", "", []string{"r8", "r9"}},
		{"sk > :a", "r9", "", nil},
		{"sk BETWEEN :a AND :b", "r3", "r5", []string{"r3", "r4", "r5"}},
		{"sk BETWEEN :a AND :b", "r31", "r39", nil},
		{"begins_with(sk, :a)", "r4", "", []string{"r4"}},
		{"begins_with(sk, :a)", "r", "", []string{"r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"}},
		{"begins_with(sk, :a)", "s", "", nil},
	} {
		f.Run(c.condition+" "+c.a, func() {
			values := row{":p": s("log"), ":a": s(c.a)}
			if c.b != "" {
				values[":b"] = s(c.b)
			}
			for _, expression := range []string{"pk = :p AND " + c.condition, c.condition + " AND pk = :p", "(pk = :p) and (" + c.condition + ")"} {
				f.wantKeys(f.query(dynamodb.QueryInput{KeyConditionExpression: &expression, ExpressionAttributeValues: values}).Items, c.want...)
			}
		})
	}
}

func queryPages(f *fixture) {
	f.log()
	for _, forward := range []bool{true, false} {
		in := dynamodb.QueryInput{
			KeyConditionExpression: aws.String("pk = :p AND sk >= :s"), ExpressionAttributeValues: row{":p": s("log"), ":s": s("r2")},
			Limit: aws.Int32(3), ScanIndexForward: &forward,
		}
		var got []row
		pages := 0
		for {
			out := f.query(in)
			got = append(got, out.Items...)
			pages++
			if out.LastEvaluatedKey == nil {
				break
			}
			f.same(out.LastEvaluatedKey, at("log", sorted(out.Items)[len(out.Items)-1]))
			in.ExclusiveStartKey = out.LastEvaluatedKey
		}
		want := []string{"r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"}
		if !forward {
			want = []string{"r9", "r8", "r7", "r6", "r5", "r4", "r3", "r2"}
		}
		f.wantKeys(got, want...)
		if pages != 3 {
			f.Errorf("%d pages", pages)
		}
	}
	// A page that ends with the last row still has a last key: only the empty
	// page after it tells that there is no more.
	out := f.query(dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": s("log")}, Limit: aws.Int32(9)})
	f.same(out.LastEvaluatedKey, at("log", "r9"))
}

func queryPageSize(f *fixture) {
	for i := range 5 {
		f.put(with(at("big", fmt.Sprintf("r%d", i)), "v", s(strings.Repeat("x", 300_000))))
	}
	in := dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": s("big")}}
	first := f.query(in)
	if len(first.Items) < 3 || len(first.Items) > 4 || first.LastEvaluatedKey == nil {
		f.Fatalf("first page has %d items, last key %v", len(first.Items), first.LastEvaluatedKey)
	}
	in.ExclusiveStartKey = first.LastEvaluatedKey
	second := f.query(in)
	f.wantKeys(append(first.Items, second.Items...), "r0", "r1", "r2", "r3", "r4")
	if second.LastEvaluatedKey != nil {
		f.Errorf("second page has a last key")
	}
}

func queryStartsBetween(f *fixture) {
	f.log()
	in := dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": s("log")}, ExclusiveStartKey: at("log", "r75")}
	f.wantKeys(f.query(in).Items, "r8", "r9")
	in.ScanIndexForward, in.Limit = aws.Bool(false), aws.Int32(2)
	f.wantKeys(f.query(in).Items, "r7", "r6")
}

func queryProjects(f *fixture) {
	f.log()
	out := f.query(dynamodb.QueryInput{
		KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": s("log")},
		ProjectionExpression: aws.String("v"), Limit: aws.Int32(1),
	})
	f.same(out.Items[0], row{"v": n("1")})
	f.same(out.LastEvaluatedKey, at("log", "r1"))
}

func refusesBadQueries(f *fixture) {
	f.log()
	p := row{":p": s("log")}
	ps := row{":p": s("log"), ":s": s("r5")}
	for name, in := range map[string]dynamodb.QueryInput{
		"no condition":        {},
		"empty":               {KeyConditionExpression: aws.String(""), ExpressionAttributeValues: p},
		"no hash key":         {KeyConditionExpression: aws.String("sk = :p"), ExpressionAttributeValues: p},
		"range of hash keys":  {KeyConditionExpression: aws.String("pk > :p"), ExpressionAttributeValues: p},
		"other attribute":     {KeyConditionExpression: aws.String("pk = :p AND v = :s"), ExpressionAttributeValues: ps},
		"hash key twice":      {KeyConditionExpression: aws.String("pk = :p AND pk = :p"), ExpressionAttributeValues: p},
		"three parts":         {KeyConditionExpression: aws.String("pk = :p AND sk = :s AND sk = :s"), ExpressionAttributeValues: ps},
		"function":            {KeyConditionExpression: aws.String("attribute_exists(pk)")},
		"prefix of hash key":  {KeyConditionExpression: aws.String("begins_with(pk, :p)"), ExpressionAttributeValues: p},
		"type of hash key":    {KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": n("1")}},
		"type of sort key":    {KeyConditionExpression: aws.String("pk = :p AND sk > :s"), ExpressionAttributeValues: row{":p": s("a"), ":s": n("1")}},
		"empty hash key":      {KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": s("")}},
		"bounds":              {KeyConditionExpression: aws.String("pk = :p AND sk BETWEEN :s AND :p"), ExpressionAttributeValues: ps},
		"undefined value":     {KeyConditionExpression: aws.String("pk = :p")},
		"unused value":        {KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: ps},
		"unused name":         {KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: p, ExpressionAttributeNames: map[string]string{"#n": "v"}},
		"limit of zero":       {KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: p, Limit: aws.Int32(0)},
		"start key of others": {KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: p, ExclusiveStartKey: at("other", "r5")},
		"start key too short": {KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: p, ExclusiveStartKey: row{"pk": s("log")}},
		"start key outside":   {KeyConditionExpression: aws.String("pk = :p AND sk > :s"), ExpressionAttributeValues: ps, ExclusiveStartKey: at("log", "r1")},
		"projection twice":    {KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: p, ProjectionExpression: aws.String("v, v")},
	} {
		f.Run(name, func() {
			in.TableName = &f.table
			_, err := f.client.Query(f.Context(), &in)
			f.refused(err, validation)
		})
	}
}
