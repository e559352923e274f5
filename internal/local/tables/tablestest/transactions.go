package tablestest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
)

func transactionCases() []contract {
	return []contract{
		{"all four actions are done together", transactionCommits},
		{"one failed condition undoes all and the reasons are in item order", transactionCancels},
		{"a failed condition returns the item only if asked to", transactionReturnsItems},
		{"an action that cannot be done cancels with a validation error", transactionValidationReason},
		{"two actions on one item are refused", refusesDoubleItem},
		{"a transaction that is empty, too long, too large or malformed is refused", refusesBadTransactions},
		{"a repeated token is not executed again", tokenRepeats},
		{"a token with other content is refused", tokenMismatch},
		{"writers that race for the next revision each win another one", writersRace},
	}
}

func (f *fixture) transact(token string, actions ...types.TransactWriteItem) error {
	in := &dynamodb.TransactWriteItemsInput{TransactItems: actions}
	if token != "" {
		in.ClientRequestToken = &token
	}
	_, err := f.client.TransactWriteItems(f.Context(), in)
	return err
}

func (f *fixture) putAction(it row, condition string) types.TransactWriteItem {
	p := &types.Put{TableName: &f.table, Item: it}
	if condition != "" {
		p.ConditionExpression = &condition
	}
	return types.TransactWriteItem{Put: p}
}

func (f *fixture) checkAction(key row, condition string) types.TransactWriteItem {
	return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: &f.table, Key: key, ConditionExpression: &condition}}
}

func (f *fixture) updateAction(key row, expression string, values row) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{TableName: &f.table, Key: key, UpdateExpression: &expression, ExpressionAttributeValues: values}}
}

func (f *fixture) deleteAction(key row) types.TransactWriteItem {
	return types.TransactWriteItem{Delete: &types.Delete{TableName: &f.table, Key: key}}
}

// reasons are the codes of a cancelled transaction.
func (f *fixture) reasons(err error) []types.CancellationReason {
	f.Helper()
	var got *types.TransactionCanceledException
	if !errors.As(err, &got) {
		f.Fatalf("got %v, want %s", err, cancelled)
	}
	codes := []string{}
	for _, r := range got.CancellationReasons {
		codes = append(codes, aws.ToString(r.Code))
	}
	want := "Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]"
	if got.ErrorMessage() != want {
		f.Errorf("message %q, want %q", got.ErrorMessage(), want)
	}
	return got.CancellationReasons
}

func (f *fixture) wantReasons(err error, want ...string) {
	f.Helper()
	var got []string
	for _, r := range f.reasons(err) {
		got = append(got, aws.ToString(r.Code))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("reasons (-want +got):\n%s", diff)
	}
}

func transactionCommits(f *fixture) {
	f.put(at("there", "1"))
	f.put(at("old", "1"))
	f.must(f.transact("",
		f.putAction(with(at("new", "1"), "v", n("1")), "attribute_not_exists(pk)"),
		f.updateAction(at("count", "1"), "ADD tally :n", row{":n": n("2")}),
		f.deleteAction(at("old", "1")),
		f.checkAction(at("there", "1"), "attribute_exists(pk)")))
	f.same(f.get(at("new", "1")), with(at("new", "1"), "v", n("1")))
	f.same(f.get(at("count", "1")), with(at("count", "1"), "tally", n("2")))
	f.same(f.get(at("old", "1")), nil)
	f.same(f.get(at("there", "1")), at("there", "1"))
}

func transactionCancels(f *fixture) {
	f.put(at("there", "1"))
	err := f.transact("",
		f.putAction(at("new", "1"), ""),
		f.checkAction(at("there", "1"), "attribute_not_exists(pk)"),
		f.deleteAction(at("there", "2")),
		f.putAction(at("there", "3"), "attribute_exists(pk)"))
	f.wantReasons(err, "None", "ConditionalCheckFailed", "None", "ConditionalCheckFailed")
	f.same(f.get(at("new", "1")), nil)
	f.same(f.get(at("there", "3")), nil)
}

func transactionReturnsItems(f *fixture) {
	stored := with(at("there", "1"), "v", n("1"))
	f.put(stored)
	f.put(at("there", "2"))
	asked := f.putAction(at("there", "1"), "attribute_not_exists(pk)")
	asked.Put.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	reasons := f.reasons(f.transact("", asked, f.putAction(at("there", "2"), "attribute_not_exists(pk)")))
	f.same(reasons[0].Item, stored)
	f.same(reasons[1].Item, nil)
}

func transactionValidationReason(f *fixture) {
	f.put(with(at("there", "1"), "txt", s("x")))
	err := f.transact("", f.putAction(at("new", "1"), ""), f.updateAction(at("there", "1"), "ADD txt :n", row{":n": n("1")}))
	f.wantReasons(err, "None", "ValidationError")
	f.same(f.get(at("new", "1")), nil)
	err = f.transact("", f.putAction(at("new", "1"), ""), f.putAction(row{"pk": s("a"), "sk": n("1")}, ""))
	f.wantReasons(err, "None", "ValidationError")
	f.same(f.get(at("new", "1")), nil)
}

func refusesDoubleItem(f *fixture) {
	f.refused(f.transact("", f.putAction(at("a", "1"), ""), f.putAction(at("a", "1"), "")), validation)
	f.refused(f.transact("", f.putAction(at("a", "1"), ""), f.checkAction(at("a", "1"), "attribute_exists(pk)")), validation)
	f.same(f.get(at("a", "1")), nil)
}

func refusesBadTransactions(f *fixture) {
	many := make([]types.TransactWriteItem, 101)
	for i := range many {
		many[i] = f.putAction(at("many", strconv.Itoa(i)), "")
	}
	large := make([]types.TransactWriteItem, 11)
	for i := range large {
		large[i] = f.putAction(with(at("large", strconv.Itoa(i)), "v", s(strings.Repeat("x", 400_000))), "")
	}
	for name, actions := range map[string][]types.TransactWriteItem{
		"empty":        {},
		"101":          many,
		"over 4 MB":    large,
		"no action":    {{}},
		"empty key":    {f.putAction(at("a", ""), ""), f.putAction(at("ok", "1"), "")},
		"large item":   {f.putAction(with(at("a", "1"), "v", s(strings.Repeat("x", 400<<10))), ""), f.putAction(at("ok", "1"), "")},
		"bad":          {f.putAction(at("a", "1"), "status = a"), f.putAction(at("ok", "1"), "")},
		"placeholders": {f.putAction(at("a", "1"), "v = :v"), f.putAction(at("ok", "1"), "")},
	} {
		f.Run(name, func() {
			f.refused(f.transact("", actions...), validation)
			f.same(f.get(at("ok", "1")), nil)
		})
	}
	f.must(f.transact("", many[:100]...))
}

func tokenRepeats(f *fixture) {
	add := f.updateAction(at("count", "1"), "ADD tally :n", row{":n": n("1")})
	for range 3 {
		f.must(f.transact("token-1", add, f.putAction(row{"pk": s("a"), "sk": s("1"), "v": n("1"), "w": n("2")}, "")))
	}
	f.same(f.get(at("count", "1")), with(at("count", "1"), "tally", n("1")))
	f.must(f.transact("token-2", add))
	f.same(f.get(at("count", "1")), with(at("count", "1"), "tally", n("2")))
}

func tokenMismatch(f *fixture) {
	f.must(f.transact("token-1", f.updateAction(at("count", "1"), "ADD tally :n", row{":n": n("1")})))
	f.refused(f.transact("token-1", f.updateAction(at("count", "1"), "ADD tally :n", row{":n": n("2")})), "IdempotentParameterMismatchException")
	f.same(f.get(at("count", "1")), with(at("count", "1"), "tally", n("1")))
	// A cancelled transaction has not used its token.
	f.refused(f.transact("token-3", f.putAction(at("count", "1"), "attribute_not_exists(pk)")), cancelled)
	f.must(f.transact("token-3", f.putAction(at("count", "2"), "attribute_not_exists(pk)")))
}

// writersRace is how the change log is appended to: read the head, then put
// the next row if it is absent and the row before is there.
func writersRace(f *fixture) {
	const writers, each = 4, 5
	f.put(at("log", "000"))
	var won atomic.Int32
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for done := 0; done < each; {
				out, err := f.client.Query(f.Context(), &dynamodb.QueryInput{
					TableName: &f.table, KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": s("log")},
					ScanIndexForward: aws.Bool(false), Limit: aws.Int32(1), ConsistentRead: aws.Bool(true),
				})
				if err != nil {
					f.Error(err)
					return
				}
				head := sorted(out.Items)[0]
				revision, _ := strconv.Atoi(head)
				err = f.transact("",
					f.putAction(at("log", fmt.Sprintf("%03d", revision+1)), "attribute_not_exists(pk)"),
					f.checkAction(at("log", head), "attribute_exists(pk)"),
					f.updateAction(at("count", "1"), "ADD tally :n", row{":n": n("1")}))
				var lost *types.TransactionCanceledException
				if err == nil {
					done++
					won.Add(1)
				} else if !errors.As(err, &lost) {
					f.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if got := won.Load(); got != writers*each {
		f.Errorf("%d wins", got)
	}
	f.same(f.get(at("log", fmt.Sprintf("%03d", writers*each))), at("log", fmt.Sprintf("%03d", writers*each)))
	f.same(f.get(at("log", fmt.Sprintf("%03d", writers*each+1))), nil)
	f.same(f.get(at("count", "1")), with(at("count", "1"), "tally", n(strconv.Itoa(writers*each))))
}
