package tables

import (
	"errors"
	"slices"
	"sort"
	"strings"
)

// maxPageBytes is how much a page of a query holds at most.
const maxPageBytes = 1 << 20

type queryRequest struct {
	TableName                 string
	KeyConditionExpression    *string
	ProjectionExpression      *string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]value
	ScanIndexForward          *bool // nil: true
	Limit                     *int
	ExclusiveStartKey         item
	ConsistentRead            bool
	ReturnConsumedCapacity    string
}

type queryAnswer struct {
	Items            []item
	Count            int
	ScannedCount     int
	LastEvaluatedKey item              `json:",omitempty"`
	ConsumedCapacity *consumedCapacity `json:",omitempty"`
}

func (t *Tables) query(in *queryRequest) (queryAnswer, error) {
	where, keep, err := in.parse()
	if err != nil {
		return queryAnswer{}, err
	}
	limit := int(^uint(0) >> 1)
	if in.Limit != nil {
		if limit = *in.Limit; limit < 1 {
			return queryAnswer{}, invalid("Limit must be greater than or equal to 1")
		}
	}
	page, err := t.page(in, where, limit)
	if err != nil {
		return queryAnswer{}, err
	}
	out := queryAnswer{Items: make([]item, len(page.rows)), Count: len(page.rows), ScannedCount: len(page.rows), LastEvaluatedKey: page.last}
	for i, r := range page.rows {
		out.Items[i] = keep.of(r.item)
	}
	out.ConsumedCapacity, err = consumed(in.ReturnConsumedCapacity, in.TableName, readUnits(page.bytes, in.ConsistentRead))
	return out, err
}

func (in *queryRequest) parse() (condition, projection, error) {
	if in.KeyConditionExpression == nil {
		return nil, nil, invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	names, err := newPlaceholders(in.ExpressionAttributeNames, in.ExpressionAttributeValues, true)
	if err != nil {
		return nil, nil, err
	}
	where, err := parseCondition("KeyConditionExpression", in.KeyConditionExpression, names)
	if err != nil {
		return nil, nil, err
	}
	keep, err := parseProjection(in.ProjectionExpression, names)
	if err != nil {
		return nil, nil, err
	}
	return where, keep, names.unused()
}

// page is what one query call reads.
type page struct {
	rows  []row
	bytes int
	last  item // nil unless there may be more
}

func (t *Tables) page(in *queryRequest, where condition, limit int) (page, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tbl, err := t.table(in.TableName)
	if err != nil {
		return page{}, err
	}
	r, err := tbl.keyRange(where)
	if err != nil {
		return page{}, err
	}
	rows := tbl.partitions[r.hash]
	from, to := r.bounds(rows)
	forward := in.ScanIndexForward == nil || *in.ScanIndexForward
	if in.ExclusiveStartKey != nil {
		start, err := tbl.startKey(in.ExclusiveStartKey, r, where)
		if err != nil {
			return page{}, err
		}
		if forward {
			from = max(from, upperBound(rows, start.sort))
		} else {
			to = min(to, lowerBound(rows, start.sort))
		}
	}
	if from >= to {
		return page{}, nil
	}
	return tbl.read(rows[from:to], forward, limit), nil
}

// read copies rows until the limit or the page is full. As on AWS the last key
// is given also when the limit falls on the very last row.
func (t *table) read(rows []row, forward bool, limit int) page {
	var out page
	for i := range rows {
		r := rows[i]
		if !forward {
			r = rows[len(rows)-1-i]
		}
		out.rows = append(out.rows, r)
		out.bytes += r.size
		full := out.bytes >= maxPageBytes && i < len(rows)-1
		if full || len(out.rows) == limit {
			out.last = t.keyItem(r.item)
			return out
		}
	}
	return out
}

// startKey checks an ExclusiveStartKey: it must be one that the query itself
// could have given.
func (t *table) startKey(at item, r keyRange, where condition) (key, error) {
	start, err := t.exactKey(at)
	if known := (*apiError)(nil); errors.As(err, &known) {
		return key{}, invalid("The provided starting key is invalid: %s", known.message)
	}
	if err != nil {
		return key{}, err
	}
	if start.hash != r.hash || !where.holds(at) {
		return key{}, invalid("The provided starting key does not match the range key predicate")
	}
	return start, nil
}

// keyRange is a key condition taken apart: one hash key, and what the sort key
// must satisfy (nil: nothing).
type keyRange struct {
	hash string
	sort condition
}

// keyRange checks that a condition is one that a query may have.
func (t *table) keyRange(where condition) (keyRange, error) {
	var parts []condition
	if err := flatten(where, &parts); err != nil {
		return keyRange{}, err
	}
	seen := make(map[string]condition, 2)
	for _, part := range parts {
		name, literals, err := keyOperands(part)
		if err != nil {
			return keyRange{}, err
		}
		if seen[name] != nil {
			return keyRange{}, invalid("KeyConditionExpressions must only contain one condition per key")
		}
		seen[name] = part
		i := slices.IndexFunc(t.attributes(), func(a keyAttribute) bool { return a.Name == name })
		if i < 0 {
			return keyRange{}, invalid("Query condition missed key schema element: %s", t.missing(seen))
		}
		for _, v := range literals {
			if v.kind != t.attributes()[i].Kind {
				return keyRange{}, invalid("One or more parameter values were invalid: Condition parameter type does not match schema type")
			}
			if err := notEmpty(name, v); err != nil {
				return keyRange{}, err
			}
		}
	}
	hash, ok := seen[t.Hash.Name]
	if !ok {
		return keyRange{}, invalid("Query condition missed key schema element: %s", t.Hash.Name)
	}
	equal, ok := hash.(comparison)
	if !ok || equal.operator != "=" {
		return keyRange{}, invalid("Query key condition not supported")
	}
	out := keyRange{hash: literalOf(equal).text}
	if t.Sort != nil {
		out.sort = seen[t.Sort.Name]
	}
	return out, nil
}

// missing is the key attribute that a condition on another attribute stands
// in for.
func (t *table) missing(seen map[string]condition) string {
	if t.Sort == nil || seen[t.Hash.Name] == nil {
		return t.Hash.Name
	}
	return t.Sort.Name
}

// flatten takes an AND apart and refuses what a key condition may not have.
func flatten(where condition, parts *[]condition) error {
	switch c := where.(type) {
	case conjunction:
		if err := flatten(c.left, parts); err != nil {
			return err
		}
		return flatten(c.right, parts)
	case disjunction:
		return invalid("Invalid operator used in KeyConditionExpression: OR")
	case negation:
		return invalid("Invalid operator used in KeyConditionExpression: NOT")
	case existence:
		return invalid("Invalid operator used in KeyConditionExpression: attribute_exists")
	case comparison:
		if c.operator == "<>" {
			return invalid("Invalid operator used in KeyConditionExpression: <>")
		}
	}
	*parts = append(*parts, where)
	return nil
}

// keyOperands is the attribute a condition is on, and the literals it is
// compared with.
func keyOperands(part condition) (string, []value, error) {
	var sides []operand
	switch c := part.(type) {
	case comparison:
		if sides = []operand{c.left, c.right}; c.left.literal != nil && c.operator == "=" {
			sides = []operand{c.right, c.left}
		}
	case between:
		sides = []operand{c.subject, c.low, c.high}
	case prefixed:
		sides = []operand{c.subject, c.prefix}
	}
	if sides[0].literal != nil {
		return "", nil, invalid("Invalid condition in KeyConditionExpression: the key attribute must be the first operand")
	}
	if len(sides[0].path) > 1 {
		return "", nil, invalid("Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: %s", sides[0].path[0].name)
	}
	var literals []value
	for _, side := range sides[1:] {
		if side.literal == nil {
			return "", nil, invalid("Invalid condition in KeyConditionExpression: a key attribute must be compared with a value")
		}
		literals = append(literals, *side.literal)
	}
	return sides[0].path[0].name, literals, nil
}

func literalOf(c comparison) value {
	if c.left.literal != nil {
		return *c.left.literal
	}
	return *c.right.literal
}

// bounds are the rows that satisfy the sort condition, which keyRange has
// checked: they always lie next to each other.
func (r keyRange) bounds(rows []row) (from, to int) {
	switch c := r.sort.(type) {
	case comparison:
		at := literalOf(c)
		switch c.operator {
		case "=":
			return lowerBound(rows, at), upperBound(rows, at)
		case "<":
			return 0, lowerBound(rows, at)
		case "<=":
			return 0, upperBound(rows, at)
		case ">":
			return upperBound(rows, at), len(rows)
		default:
			return lowerBound(rows, at), len(rows)
		}
	case between:
		return lowerBound(rows, *c.low.literal), upperBound(rows, *c.high.literal)
	case prefixed:
		from = lowerBound(rows, *c.prefix.literal)
		return from, from + sort.Search(len(rows)-from, func(i int) bool {
			return !strings.HasPrefix(rows[from+i].sort.text, c.prefix.literal.text)
		})
	}
	return 0, len(rows)
}
