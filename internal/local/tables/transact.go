package tables

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AWS's limits of a transaction.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const (
	maxActions          = 100
	maxTransactionBytes = 4 << 20
	maxTokenLength      = 36
	tokenLife           = 10 * time.Minute
)

type transactWriteItemsRequest struct {
	TransactItems      []transactItem
	ClientRequestToken string
}

// transactItem is one action; exactly one field is set.
type transactItem struct {
	Put            *putAction    `json:",omitempty"`
	Delete         *keyAction    `json:",omitempty"`
	Update         *updateAction `json:",omitempty"`
	ConditionCheck *keyAction    `json:",omitempty"`
}

type emptyAnswer struct{}

func (t *Tables) transactWriteItems(in *transactWriteItemsRequest) (emptyAnswer, error) {
	if err := in.check(); err != nil {
		return emptyAnswer{}, err
	}
	if t.conflict != nil && t.conflict(in.tables()) {
		return emptyAnswer{}, cancelled(slices.Repeat([]reason{{Code: "TransactionConflict", Message: "Transaction is ongoing for the item"}}, len(in.TransactItems)))
	}
	used, err := in.token()
	if err != nil {
		return emptyAnswer{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if used != nil {
		used.At = now
		if earlier, ok := t.tokens.find(used.ID, now); ok {
			if earlier.Hash == used.Hash {
				return emptyAnswer{}, nil
			}
			return emptyAnswer{}, dynamoError("IdempotentParameterMismatchException", "")
		}
	}
	changes, err := t.decideAll(in.TransactItems)
	if err != nil {
		return emptyAnswer{}, err
	}
	return emptyAnswer{}, t.commit(entry{Changes: changes, Token: used})
}

// check holds the request to what AWS looks at before it looks at any table.
func (in *transactWriteItemsRequest) check() error {
	switch n := len(in.TransactItems); {
	case n == 0:
		return invalid("1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case n > maxActions:
		return invalid("1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member must have length less than or equal to %d", maxActions)
	case len(in.ClientRequestToken) > maxTokenLength:
		return invalid("1 validation error detected: Value '%s' at 'clientRequestToken' failed to satisfy constraint: Member must have length less than or equal to %d", in.ClientRequestToken, maxTokenLength)
	}
	for i, a := range in.TransactItems {
		actions := 0
		for _, present := range []bool{a.Put != nil, a.Delete != nil, a.Update != nil, a.ConditionCheck != nil} {
			if present {
				actions++
			}
		}
		if actions != 1 {
			return invalid("TransactItems can only contain one of Check, Put, Update or Delete")
		}
		if a.ConditionCheck != nil && a.ConditionCheck.ConditionExpression == nil {
			return invalid("1 validation error detected: Value null at 'transactItems.%d.member.conditionCheck.conditionExpression' failed to satisfy constraint: Member must not be null", i+1)
		}
	}
	return nil
}

// tables are the distinct table names in the order of the actions.
func (in *transactWriteItemsRequest) tables() []string {
	var out []string
	for _, a := range in.TransactItems {
		if name := a.table(); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func (a transactItem) table() string {
	switch {
	case a.Put != nil:
		return a.Put.TableName
	case a.Delete != nil:
		return a.Delete.TableName
	case a.Update != nil:
		return a.Update.TableName
	}
	return a.ConditionCheck.TableName
}

// token is the request's token with the hash of its content; nil without one.
// Maps marshal in the order of their keys, so equal content has one hash.
func (in *transactWriteItemsRequest) token() (*token, error) {
	if in.ClientRequestToken == "" {
		return nil, nil
	}
	content, err := json.Marshal(in.TransactItems)
	if err != nil {
		return nil, fmt.Errorf("encoding a transaction: %w", err)
	}
	sum := sha256.Sum256(content)
	return &token{ID: in.ClientRequestToken, Hash: hex.EncodeToString(sum[:])}, nil
}

// decideAll checks every action and then decides every action: the changes of
// all, or an error.
func (t *Tables) decideAll(actions []transactItem) ([]change, error) {
	writes := make([]write, len(actions))
	reasons := make([]reason, len(actions))
	failed := false
	for i, a := range actions {
		w, err := t.prepareAction(a)
		if failed, err = note(&reasons[i], err, failed); err != nil {
			return nil, err
		}
		writes[i] = w
	}
	if err := distinctItems(writes); err != nil {
		return nil, err
	}
	var changes []change
	bytes := 0
	for i, w := range writes {
		if reasons[i].Code != "None" {
			continue
		}
		_, updated, changed, err := w.decide()
		if failed, err = note(&reasons[i], err, failed); err != nil {
			return nil, err
		}
		if bytes += updated.size(); changed != nil {
			changes = append(changes, *changed)
		}
	}
	switch {
	case bytes > maxTransactionBytes:
		return nil, invalid("Transaction payload size cannot exceed 4MB. Payload Size: %d", bytes)
	case failed:
		return nil, cancelled(reasons)
	}
	return changes, nil
}

func (t *Tables) prepareAction(a transactItem) (w write, err error) {
	switch {
	case a.Put != nil:
		return t.preparePut(*a.Put)
	case a.Delete != nil:
		return t.prepareDelete(*a.Delete)
	case a.Update != nil:
		w, _, err = t.prepareUpdate(*a.Update)
		return w, err
	}
	return t.prepareCheck(*a.ConditionCheck)
}

// note turns an error that belongs to one action into its reason; any other
// error is passed on.
func note(r *reason, err error, failed bool) (bool, error) {
	var known *apiError
	switch {
	case err == nil:
		r.Code = "None"
		return failed, nil
	case !errors.As(err, &known):
		return failed, err
	case strings.HasSuffix(known.kind, "#ConditionalCheckFailedException"):
		*r = reason{Code: "ConditionalCheckFailed", Message: known.message, Item: known.item}
		return true, nil
	case known.perItem:
		*r = reason{Code: "ValidationError", Message: known.message}
		return true, nil
	}
	return failed, err
}

func distinctItems(writes []write) error {
	type place struct{ table, hash, sort string }
	seen := make(map[place]bool, len(writes))
	for _, w := range writes {
		if w.key.hash == "" {
			continue // refused by itself
		}
		at := place{w.table.Name, w.key.hash, w.key.sort.text}
		if seen[at] {
			return invalid("Transaction request cannot include multiple operations on one item")
		}
		seen[at] = true
	}
	return nil
}

func cancelled(reasons []reason) error {
	codes := make([]string, len(reasons))
	for i, r := range reasons {
		codes[i] = r.Code
	}
	err := dynamoError("TransactionCanceledException",
		"Transaction cancelled, please refer cancellation reasons for specific reasons ["+strings.Join(codes, ", ")+"]")
	err.reasons = reasons
	return err
}

// tokens are the ClientRequestTokens of the last ten minutes.
type tokens struct {
	byID  map[string]token
	order []token // oldest first
}

func (t *tokens) add(used token) {
	if t.byID == nil {
		t.byID = make(map[string]token)
	}
	for len(t.order) > 0 && used.At.Sub(t.order[0].At) >= tokenLife {
		if oldest := t.order[0]; t.byID[oldest.ID] == oldest {
			delete(t.byID, oldest.ID)
		}
		t.order = t.order[1:]
	}
	t.byID[used.ID] = used
	t.order = append(t.order, used)
}

func (t *tokens) find(id string, now time.Time) (token, bool) {
	found, ok := t.byID[id]
	return found, ok && now.Sub(found.At) < tokenLife
}
