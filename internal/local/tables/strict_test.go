package tables_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
)

// Here is what DynamoDB does and the emulator of the contract suite does not.

// conditional is an update that changes nothing, on a condition.
func conditional(expression, values string) string {
	body := `{"TableName":"changes","Key":{"pk":{"S":"c"},"sk":{"S":"c"}},"ConditionExpression":` + strconv.Quote(expression)
	if values != "" {
		body += `,"ExpressionAttributeValues":` + values
	}
	return body + "}"
}

func TestConditionsThatOnlyDynamoDBRefuses(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	putRow(t, tbl, "c", "c", `,"num":{"N":"5"},"txt":{"S":"abc"}`)
	for _, c := range []struct{ expression, values, message string }{
		{"num = num", "", "first operand must be distinct from the remaining operands for this operator or function; operator: =, first operand: [num]"},
		{"num < :v", `{":v":{"BOOL":true}}`, "operator or function: <, operand type: BOOL"},
		{"num < :v", `{":v":{"L":[]}}`, "operator or function: <, operand type: L"},
		{"begins_with(txt, :v)", `{":v":{"N":"1"}}`, "operator or function: begins_with, operand type: N"},
		{"attribute_foo(txt)", "", "Invalid function name; function: attribute_foo"},
		{"Attribute_Exists(pk)", "", "Invalid function name; function: Attribute_Exists"},
		{"attribute_exists(txt) = :v", `{":v":{"N":"1"}}`, "Syntax error"},
		{"txt = attribute_exists(txt)", "", "not allowed to be used this way"},
		{"txt != :v", `{":v":{"S":"x"}}`, `Syntax error; token: "!", near: "txt !="`},
		{"txt = 'x'", "", `Syntax error; token: "'", near: "= 'x"`},
		{"txt == :v", `{":v":{"S":"x"}}`, `Syntax error; token: "=", near: "== :v"`},
		{"txt = :v AND", `{":v":{"S":"x"}}`, `Syntax error; token: "<EOF>", near: "AND"`},
		{"num BETWEEN :v AND :w", `{":v":{"N":"1"},":w":{"S":"1"}}`, "same data type for lower and upper bounds; lower bound operand: AttributeValue: {N:1}, upper bound operand: AttributeValue: {S:1}"},
		{"num = :v", `{"v":{"N":"5"}}`, `contains invalid key: Syntax error; key: "v"`},
		{"num = :v", `{":v":{"N":"5"},":":{"N":"5"}}`, `contains invalid key: Syntax error; key: ":"`},
		{strings.Repeat("x", 5000), "", "Expression size has exceeded the maximum allowed size"},
		{"size(txt) > :v", `{":v":{"N":"1"}}`, "does not support the function size"},
		{"contains(txt, :v)", `{":v":{"S":"a"}}`, "does not support the function contains"},
		{"num IN (:v)", `{":v":{"N":"1"}}`, "does not support IN"},
	} {
		wantRefused(t, tbl, "UpdateItem", conditional(c.expression, c.values), validation, c.message)
	}
}

func TestConditionsThatOnlyDynamoDBEvaluates(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	putRow(t, tbl, "c", "c", `,"num":{"N":"5"},"txt":{"S":"abc"}`)
	mustCall(t, tbl, "UpdateItem", conditional("begins_with(:v, txt)", `{":v":{"S":"abcd"}}`))
	mustCall(t, tbl, "UpdateItem", conditional("nope <> nada", ""))
	const failed = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
	wantRefused(t, tbl, "UpdateItem", conditional("nope = nada", ""), failed, "")
	wantRefused(t, tbl, "UpdateItem", conditional("begins_with(num, :v)", `{":v":{"S":"5"}}`), failed, "")
}

func TestUpdatesThatOnlyDynamoDBRefuses(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	putRow(t, tbl, "c", "c", `,"txt":{"S":"abc"}`)
	update := func(expression, values string) string {
		body := `{"TableName":"changes","Key":{"pk":{"S":"c"},"sk":{"S":"c"}},"UpdateExpression":` + strconv.Quote(expression)
		if values != "" {
			body += `,"ExpressionAttributeValues":` + values
		}
		return body + "}"
	}
	for _, c := range []struct{ expression, values, message string }{
		{"SET a = :v SET b = :v", `{":v":{"S":"x"}}`, `The "SET" section can only be used once`},
		{"SET a = :v, a = :v", `{":v":{"S":"x"}}`, "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a]"},
		{"SET a = :v REMOVE a", `{":v":{"S":"x"}}`, "overlap"},
		{"SET a = txt + :v", `{":v":{"N":"1"}}`, "incorrect data type"},
		{"SET a = list_append(a, :v)", `{":v":{"S":"x"}}`, "operator or function: list_append, operand type: S"},
		{"SET a = if_not_exists(:v, :v)", `{":v":{"S":"x"}}`, "requires a document path"},
		{"SET a = nope(b, :v)", `{":v":{"S":"x"}}`, "Invalid function name; function: nope"},
		{"SET", "", `Syntax error; token: "<EOF>", near: "SET"`},
		{"SET a = :v ADD", `{":v":{"S":"x"}}`, `Syntax error; token: "<EOF>", near: "ADD"`},
		{"ADD a :v", `{":v":{"S":"x"}}`, "operator: ADD"},
		{"DELETE a :v", `{":v":{"SS":["x"]}}`, "does not support DELETE"},
		{"SET a.b = :v", `{":v":{"S":"x"}}`, "does not support a nested path"},
		{"SET a = a", "", "refers to an attribute that does not exist"},
		{"SET c = :v", `{":v":{"N":"9.9e125"}}`, ""},
	} {
		if c.message == "" {
			mustCall(t, tbl, "UpdateItem", update(c.expression, c.values))
			continue
		}
		wantRefused(t, tbl, "UpdateItem", update(c.expression, c.values), validation, c.message)
	}
	wantRefused(t, tbl, "UpdateItem", update("ADD c :v", `{":v":{"N":"9e125"}}`), validation, "Number overflow")
	wantRefused(t, tbl, "UpdateItem", update("ADD c :v", `{":v":{"N":"1"}}`), validation, "38 significant digits")
	// In a transaction that is the reason of a cancellation.
	status, got := call(t, tbl, "TransactWriteItems", `{"TransactItems":[{"Update":{"TableName":"changes","Key":{"pk":{"S":"c"},"sk":{"S":"c"}},
		"UpdateExpression":"SET pk = :v","ExpressionAttributeValues":{":v":{"S":"x"}}}}]}`)
	if status != http.StatusBadRequest || !strings.Contains(got, `"Code":"ValidationError"`) || !strings.Contains(got, "part of the key") {
		t.Errorf("%d %s", status, got)
	}
}

func TestKeyConditionsThatOnlyDynamoDBRefuses(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	for _, c := range []struct{ expression, values, message string }{
		{"pk = :p OR sk = :p", `{":p":{"S":"a"}}`, "Invalid operator used in KeyConditionExpression: OR"},
		{"NOT pk = :p", `{":p":{"S":"a"}}`, "Invalid operator used in KeyConditionExpression: NOT"},
		{"pk = :p AND sk <> :p", `{":p":{"S":"a"}}`, "Invalid operator used in KeyConditionExpression: <>"},
		{"pk = sk", "", "must be compared with a value"},
		{"pk.x = :p", `{":p":{"S":"a"}}`, "Key attributes must be scalars"},
		{"pk = :p AND begins_with(:p, sk)", `{":p":{"S":"a"}}`, "must be the first operand"},
		{"pk = :p AND :p < sk", `{":p":{"S":"a"}}`, "must be the first operand"},
		{"pk = :p pk", `{":p":{"S":"a"}}`, "Syntax error"},
	} {
		body := `{"TableName":"changes","KeyConditionExpression":` + strconv.Quote(c.expression)
		if c.values != "" {
			body += `,"ExpressionAttributeValues":` + c.values
		}
		wantRefused(t, tbl, "Query", body+"}", validation, c.message)
	}
	wantRefused(t, tbl, "Query", `{"TableName":"changes","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}},"ProjectionExpression":"z z"}`, validation, "Syntax error")
}

func TestValuesThatOnlyDynamoDBRefuses(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	for value, message := range map[string]string{
		`{}`:                     "is empty",
		`{"X":"1"}`:              "is empty",
		`{"S":"a","N":"1"}`:      "more than one datatypes",
		`{"L":[{"M":{"a":{}}}]}`: "is empty",
	} {
		wantRefused(t, tbl, "PutItem", `{"TableName":"changes","Item":{"pk":{"S":"a"},"sk":{"S":"1"},"v":`+value+`}}`, validation, message)
	}
	if status, got := call(t, tbl, "PutItem", `{"TableName":"changes","Item":{"pk":{"S":"a"},"sk":{"S":"1"},"v":{"B":"!"}}}`); status != http.StatusBadRequest {
		t.Errorf("%d %s", status, got)
	}
	both := `{"TransactItems":[{"Put":{"TableName":"changes","Item":{"pk":{"S":"a"},"sk":{"S":"1"}}},"Delete":{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"1"}}}}]}`
	wantRefused(t, tbl, "TransactWriteItems", both, validation, "only contain one of")
	wantRefused(t, tbl, "TransactWriteItems", `{"TransactItems":[{"ConditionCheck":{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"1"}}}}]}`, validation, "conditionExpression")
}

// TestReadUnits holds the cost of reads to 4 KB steps.
func TestReadUnits(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	names := len("pk" + "a" + "sk" + "1" + "v")
	put := func(sk string, size int) {
		putRow(t, tbl, "a", sk, fmt.Sprintf(`,"v":{"S":"%s"}`, strings.Repeat("x", size-names)))
	}
	put("1", 4096)
	put("2", 4097)
	put("3", 300)
	for _, c := range []struct{ operation, body, want string }{
		{"GetItem", `"Key":{"pk":{"S":"a"},"sk":{"S":"1"}}`, "0.5"},
		{"GetItem", `"ConsistentRead":true,"Key":{"pk":{"S":"a"},"sk":{"S":"1"}}`, "1"},
		{"GetItem", `"Key":{"pk":{"S":"a"},"sk":{"S":"2"}}`, "1"},
		{"GetItem", `"ConsistentRead":true,"Key":{"pk":{"S":"a"},"sk":{"S":"2"}}`, "2"},
		// A query is rounded as a whole: 8,493 bytes are three steps.
		{"Query", `"KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}}`, "1.5"},
		{"Query", `"ConsistentRead":true,"KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}}`, "3"},
		{"Query", `"ConsistentRead":true,"Limit":1,"KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}}`, "1"},
		{"Query", `"ConsistentRead":true,"ProjectionExpression":"sk","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}}`, "3"},
		{"Query", `"ConsistentRead":true,"KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"none"}}`, "1"},
	} {
		got := mustCall(t, tbl, c.operation, `{"TableName":"changes","ReturnConsumedCapacity":"INDEXES",`+c.body+`}`)
		want := `"ConsumedCapacity":{"TableName":"changes","CapacityUnits":` + c.want + `,"Table":{"CapacityUnits":` + c.want + `}}`
		if !strings.Contains(got, want) {
			t.Errorf("%s %s: want %s", c.operation, c.body, want)
		}
	}
	got := mustCall(t, tbl, "BatchGetItem", `{"ReturnConsumedCapacity":"TOTAL","RequestItems":{"changes":{"ConsistentRead":true,
		"Keys":[{"pk":{"S":"a"},"sk":{"S":"2"}},{"pk":{"S":"a"},"sk":{"S":"3"}},{"pk":{"S":"a"},"sk":{"S":"4"}}]}}}`)
	if want := `"ConsumedCapacity":[{"TableName":"changes","CapacityUnits":4}]`; !strings.Contains(got, want) {
		t.Errorf("batch: want %s", want)
	}
	wantRefused(t, tbl, "GetItem", `{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"1"}},"ReturnConsumedCapacity":"SOME"}`, validation, "INDEXES, TOTAL, NONE")
}

// TestArithmeticIsExact compares sums with math/big.
func TestArithmeticIsExact(t *testing.T) {
	tbl := withChanges(t, tables.Config{})
	rapid.Check(t, func(r *rapid.T) {
		number := rapid.Custom(func(r *rapid.T) string {
			digits := rapid.StringMatching(`-?[0-9]{1,15}(\.[0-9]{1,9})?`).Draw(r, "digits")
			return digits + rapid.SampledFrom([]string{"", "e5", "E-7", "e+2"}).Draw(r, "exponent")
		})
		a, b := number.Draw(r, "a"), number.Draw(r, "b")
		putRow(t, tbl, "c", "c", `,"n":{"N":"`+a+`"}`)
		out := mustCall(t, tbl, "UpdateItem", `{"TableName":"changes","Key":{"pk":{"S":"c"},"sk":{"S":"c"}},"ReturnValues":"UPDATED_NEW",
			"UpdateExpression":"SET n = n + :b, m = n - :b","ExpressionAttributeValues":{":b":{"N":"`+b+`"}}}`)
		left, _ := new(big.Rat).SetString(a)
		right, _ := new(big.Rat).SetString(b)
		for name, want := range map[string]*big.Rat{"n": new(big.Rat).Add(left, right), "m": new(big.Rat).Sub(left, right)} {
			_, rest, _ := strings.Cut(out, `"`+name+`":{"N":"`)
			text, _, _ := strings.Cut(rest, `"`)
			got, ok := new(big.Rat).SetString(text)
			if !ok || got.Cmp(want) != 0 || strings.ContainsAny(text, "eE") || text == "-0" {
				r.Fatalf("%s of %s and %s is %q in %s, want %s", name, a, b, text, out, want.FloatString(20))
			}
		}
		// Numbers compare by value.
		for operator, want := range map[string]bool{"<": left.Cmp(right) < 0, "=": left.Cmp(right) == 0, ">": left.Cmp(right) > 0} {
			putRow(t, tbl, "c", "c", `,"n":{"N":"`+a+`"}`)
			status, out := call(t, tbl, "UpdateItem", conditional("n "+operator+" :b", `{":b":{"N":"`+b+`"}}`))
			if got := status == http.StatusOK; got != want {
				r.Fatalf("%s %s %s: %s", a, operator, b, out)
			}
		}
	})
}

// FuzzExpressions feeds text to the parsers: whatever it is, the answer is
// either success or a client's error.
func FuzzExpressions(f *testing.F) {
	for _, seed := range []string{
		"attribute_not_exists(pk) OR (n < :v AND NOT begins_with(#n, :v))", "SET a = if_not_exists(a, :v) + :v REMOVE b ADD c :v",
		"pk = :v AND sk BETWEEN :v AND :v", "a.b[0].#n = :v", "((", "SET", "[", ":", "#", "a[", "a.",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		tbl := withChanges(t, tables.Config{})
		parameters := `,"ExpressionAttributeNames":{"#n":"n"},"ExpressionAttributeValues":{":v":{"N":"1"}}}`
		for _, c := range []struct{ operation, body string }{
			{"PutItem", `{"TableName":"changes","Item":{"pk":{"S":"a"},"sk":{"S":"1"}},"ConditionExpression":%s`},
			{"UpdateItem", `{"TableName":"changes","Key":{"pk":{"S":"a"},"sk":{"S":"1"}},"UpdateExpression":%s`},
			{"Query", `{"TableName":"changes","KeyConditionExpression":%s`},
			{"Query", `{"TableName":"changes","KeyConditionExpression":"pk = :v","ProjectionExpression":%s`},
		} {
			quoted, err := json.Marshal(expression)
			if err != nil {
				t.Fatal(err)
			}
			status, out := call(t, tbl, c.operation, fmt.Sprintf(c.body, quoted)+parameters)
			if status != http.StatusOK && status != http.StatusBadRequest {
				t.Errorf("%s %q: %d %s", c.operation, expression, status, out)
			}
		}
	})
}
