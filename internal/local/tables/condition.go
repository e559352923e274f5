package tables

import (
	"strconv"
	"strings"
)

// condition is a parsed ConditionExpression or KeyConditionExpression.
type condition interface {
	// holds evaluates against an item; nil is an item that is not there.
	holds(item) bool
}

type (
	conjunction struct{ left, right condition }
	disjunction struct{ left, right condition }
	negation    struct{ inner condition }
	// comparison is one of = <> < <= > >=.
	comparison struct {
		operator    string
		left, right operand
	}
	between struct{ subject, low, high operand }
	// prefixed is begins_with.
	prefixed struct{ subject, prefix operand }
	// existence is attribute_exists or, unless want, attribute_not_exists.
	existence struct {
		path path
		want bool
	}
)

func (c conjunction) holds(it item) bool { return c.left.holds(it) && c.right.holds(it) }
func (c disjunction) holds(it item) bool { return c.left.holds(it) || c.right.holds(it) }
func (c negation) holds(it item) bool    { return !c.inner.holds(it) }

// holds follows DynamoDB where an attribute is missing or of another type:
// such a comparison is false, except <>, which is true.
func (c comparison) holds(it item) bool {
	left, okLeft := c.left.resolve(it)
	right, okRight := c.right.resolve(it)
	both := okLeft && okRight
	switch c.operator {
	case "=":
		return both && left.equal(right)
	case "<>":
		return !both || !left.equal(right)
	}
	if !both {
		return false
	}
	order, ok := left.compare(right)
	return ok && ordered(c.operator, order)
}

func ordered(operator string, order int) bool {
	switch operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

func (c between) holds(it item) bool {
	return comparison{">=", c.subject, c.low}.holds(it) && comparison{"<=", c.subject, c.high}.holds(it)
}

func (c prefixed) holds(it item) bool {
	subject, okSubject := c.subject.resolve(it)
	prefix, okPrefix := c.prefix.resolve(it)
	return okSubject && okPrefix && subject.kind == prefix.kind && subject.kind != kindNumber &&
		subject.isScalar() && strings.HasPrefix(subject.text, prefix.text)
}

func (c existence) holds(it item) bool {
	_, ok := c.path.resolve(it)
	return ok == c.want
}

// operand is a document path, or a literal if it has one.
type operand struct {
	path    path
	literal *value
}

func (o operand) resolve(it item) (value, bool) {
	if o.literal != nil {
		return *o.literal, true
	}
	return o.path.resolve(it)
}

// path leads from an item to a value: attribute, then map members and list
// elements.
type path []step

// step is a name, or a list index if name is empty.
type step struct {
	name  string
	index int
}

func (p path) resolve(it item) (value, bool) {
	current, ok := it[p[0].name]
	for _, s := range p[1:] {
		switch {
		case !ok:
			return value{}, false
		case s.name != "":
			current, ok = current.m[s.name]
		case s.index < len(current.list):
			current = current.list[s.index]
		default:
			return value{}, false
		}
	}
	return current, ok
}

// String is how AWS writes a path in a message.
func (p path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		if parts[i] = s.name; s.name == "" {
			parts[i] = "[" + strconv.Itoa(s.index) + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// overlaps reports whether one path leads to, or into, the other.
func (p path) overlaps(other path) bool {
	for i := range min(len(p), len(other)) {
		if p[i] != other[i] {
			return false
		}
	}
	return true
}
