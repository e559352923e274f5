package tables

import (
	"maps"
	"slices"
	"strings"
)

// expressions are the parameters that several requests share. A nil pointer or
// map is a parameter that was not sent, which AWS tells apart from an empty one.
type expressions struct {
	ConditionExpression       *string           `json:"ConditionExpression"`
	ExpressionAttributeNames  map[string]string `json:"ExpressionAttributeNames"`
	ExpressionAttributeValues map[string]value  `json:"ExpressionAttributeValues"`
}

// placeholders are the #names and :values of one request, and which of them
// its expressions have used.
type placeholders struct {
	names  map[string]string
	values map[string]value
	used   map[string]bool
}

// newPlaceholders checks the two maps; present says whether the request has
// any expression that could use them.
func newPlaceholders(names map[string]string, values map[string]value, present bool) (*placeholders, error) {
	if err := checkPlaceholders("ExpressionAttributeNames", '#', names, present); err != nil {
		return nil, err
	}
	if err := checkPlaceholders("ExpressionAttributeValues", ':', values, present); err != nil {
		return nil, err
	}
	return &placeholders{names: names, values: values, used: make(map[string]bool, len(names)+len(values))}, nil
}

func checkPlaceholders[V any](parameter string, sigil byte, given map[string]V, present bool) error {
	switch {
	case given == nil:
		return nil
	case !present:
		return invalid("%s can only be specified when using expressions", parameter)
	case len(given) == 0:
		return invalid("%s must not be empty", parameter)
	}
	for k := range given {
		if len(k) < 2 || k[0] != sigil || strings.ContainsFunc(k[1:], notWord) {
			return invalid("%s contains invalid key: Syntax error; key: %q", parameter, k)
		}
	}
	return nil
}

func notWord(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

func (p *placeholders) name(expression, placeholder string) (string, error) {
	name, ok := p.names[placeholder]
	if !ok {
		return "", invalid("Invalid %s: An expression attribute name used in the document path is not defined; attribute name: %s", expression, placeholder)
	}
	p.used[placeholder] = true
	return name, nil
}

func (p *placeholders) value(expression, placeholder string) (value, error) {
	v, ok := p.values[placeholder]
	if !ok {
		return value{}, invalid("Invalid %s: An expression attribute value used in expression is not defined; attribute value: %s", expression, placeholder)
	}
	p.used[placeholder] = true
	return v, nil
}

// unused is the error AWS gives for placeholders that no expression uses.
func (p *placeholders) unused() error {
	if err := unusedIn("ExpressionAttributeNames", p.names, p.used); err != nil {
		return err
	}
	return unusedIn("ExpressionAttributeValues", p.values, p.used)
}

func unusedIn[V any](parameter string, given map[string]V, used map[string]bool) error {
	left := slices.DeleteFunc(slices.Sorted(maps.Keys(given)), func(k string) bool { return used[k] })
	if len(left) == 0 {
		return nil
	}
	return invalid("Value provided in %s unused in expressions: keys: {%s}", parameter, strings.Join(left, ", "))
}
