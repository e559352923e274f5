package tables

import (
	"maps"
	"slices"
	"strings"
)

// update is a parsed UpdateExpression.
type update []action

// action is one assignment, removal or addition; exactly one of the last three
// fields is set.
type action struct {
	path   path
	assign term
	add    *value
	remove bool
}

// term is the right side of a SET.
type term interface {
	// value evaluates against the item as it was before the update.
	value(item) (value, error)
}

type (
	single     struct{ operand operand }
	sum        struct{ left, right term }
	difference struct{ left, right term }
	fallback   struct { // if_not_exists
		path      path
		otherwise term
	}
	appended struct{ left, right term } // list_append
)

func (s single) value(it item) (value, error) {
	v, ok := s.operand.resolve(it)
	if !ok {
		return value{}, invalidItem("The provided expression refers to an attribute that does not exist in the item")
	}
	return v, nil
}

func (s sum) value(it item) (value, error) {
	return arithmetic(it, s.left, s.right, decimal.plus)
}

func (d difference) value(it item) (value, error) {
	return arithmetic(it, d.left, d.right, func(a, b decimal) (decimal, error) { return a.plus(b.negated()) })
}

func arithmetic(it item, left, right term, op func(a, b decimal) (decimal, error)) (value, error) {
	l, r, err := operands(it, left, right, kindNumber)
	if err != nil {
		return value{}, err
	}
	return combine(l, r, op)
}

// combine applies an operation to two numbers that have been stored before.
func combine(l, r value, op func(a, b decimal) (decimal, error)) (value, error) {
	a, err := parseDecimal(l.text)
	if err != nil {
		return value{}, err
	}
	b, err := parseDecimal(r.text)
	if err != nil {
		return value{}, err
	}
	result, err := op(a, b)
	return value{kind: kindNumber, text: result.String()}, perItem(err)
}

// operands evaluates both sides, which must be of that kind.
func operands(it item, left, right term, kind string) (l, r value, err error) {
	if l, err = left.value(it); err != nil {
		return l, r, err
	}
	if r, err = right.value(it); err != nil {
		return l, r, err
	}
	if l.kind != kind || r.kind != kind {
		return l, r, wrongOperand()
	}
	return l, r, nil
}

func wrongOperand() error {
	return invalidItem("An operand in the update expression has an incorrect data type")
}

func (f fallback) value(it item) (value, error) {
	if v, ok := f.path.resolve(it); ok {
		return v, nil
	}
	return f.otherwise.value(it)
}

func (a appended) value(it item) (value, error) {
	l, r, err := operands(it, a.left, a.right, kindList)
	if err != nil {
		return value{}, err
	}
	return value{kind: kindList, list: slices.Concat(l.list, r.list)}, nil
}

// apply makes the new item; the old one stays as it is.
func (u update) apply(old item) (item, error) {
	out := maps.Clone(old)
	for _, a := range u {
		name := a.path[0].name
		switch {
		case a.remove:
			delete(out, name)
		case a.add != nil:
			v, err := added(old, name, *a.add)
			if err != nil {
				return nil, err
			}
			out[name] = v
		default:
			v, err := a.assign.value(old)
			if err != nil {
				return nil, err
			}
			out[name] = v
		}
	}
	return out, nil
}

// added is ADD: a number is added, a set united; a missing attribute counts as
// zero or the empty set.
func added(old item, name string, operand value) (value, error) {
	current, ok := old[name]
	switch {
	case !ok:
		return operand, nil
	case current.kind != operand.kind:
		return value{}, wrongOperand()
	case operand.kind == kindNumber:
		return combine(current, operand, decimal.plus)
	}
	set := slices.Clone(current.set)
	for _, member := range operand.set {
		if !slices.Contains(set, member) {
			set = append(set, member)
		}
	}
	return value{kind: current.kind, set: set}, nil
}

// touched are the attributes that an update names, of those an item has.
func (u update) touched(it item) item {
	out := make(item, len(u))
	for _, a := range u {
		if v, ok := it[a.path[0].name]; ok {
			out[a.path[0].name] = v
		}
	}
	return out
}

// parseUpdate reads an update; a nil text is an update that changes nothing.
func parseUpdate(text *string, names *placeholders) (update, error) {
	if text == nil {
		return nil, nil
	}
	p, err := newParser("UpdateExpression", *text, names)
	if err != nil {
		return nil, err
	}
	var out update
	seen := map[string]bool{}
	for {
		section := strings.ToUpper(p.peek().text)
		switch {
		case !slices.Contains([]string{"SET", "ADD", "REMOVE", "DELETE"}, section):
			return nil, p.syntaxError()
		case seen[section]:
			return nil, p.invalid("The \"%s\" section can only be used once in an update expression;", section)
		case section == "DELETE":
			return nil, unsupported("DELETE in an UpdateExpression")
		}
		seen[section] = true
		p.at++
		actions, err := p.section(section)
		if err != nil {
			return nil, err
		}
		if out = append(out, actions...); p.peek().kind == tokenEnd {
			return out, p.distinctPaths(out)
		}
	}
}

// section reads the comma-separated actions after SET, ADD or REMOVE.
func (p *parser) section(kind string) (update, error) {
	var out update
	for {
		target, err := p.path()
		if err != nil {
			return nil, err
		}
		if len(target) > 1 {
			return nil, unsupported("a nested path in an UpdateExpression")
		}
		a := action{path: target, remove: kind == "REMOVE"}
		switch kind {
		case "SET":
			if err := p.expect("="); err != nil {
				return nil, err
			}
			a.assign, err = p.assignment()
		case "ADD":
			a.add, err = p.addend()
		}
		if err != nil {
			return nil, err
		}
		if out = append(out, a); !p.symbol(",") {
			return out, nil
		}
	}
}

func (p *parser) addend() (*value, error) {
	o, err := p.operand()
	if err != nil {
		return nil, err
	}
	if o.literal == nil || o.literal.kind != kindNumber && o.literal.set == nil {
		return nil, p.invalid("Incorrect operand type for operator or function; operator: ADD, typeSet: ALLOWED_FOR_ADD_OPERAND")
	}
	return o.literal, nil
}

// assignment reads a term, or the sum or difference of two.
func (p *parser) assignment() (term, error) {
	left, err := p.term()
	if err != nil {
		return nil, err
	}
	if p.symbol("+") {
		right, err := p.term()
		return sum{left, right}, err
	}
	if p.symbol("-") {
		right, err := p.term()
		return difference{left, right}, err
	}
	return left, nil
}

func (p *parser) term() (term, error) {
	if !p.isCall() {
		o, err := p.operand()
		return single{o}, err
	}
	name := p.take().text
	if name != "if_not_exists" && name != "list_append" {
		return nil, p.invalid("Invalid function name; function: %s", name)
	}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	left, err := p.term()
	if err != nil {
		return nil, err
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	right, err := p.term()
	if err != nil {
		return nil, err
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	if name == "list_append" {
		return p.listAppend(left, right)
	}
	if s, ok := left.(single); ok && s.operand.literal == nil {
		return fallback{s.operand.path, right}, nil
	}
	return nil, p.invalid("Operator or function requires a document path; operator or function: if_not_exists")
}

func (p *parser) listAppend(left, right term) (term, error) {
	for _, side := range []term{left, right} {
		if s, ok := side.(single); ok && s.operand.literal != nil && s.operand.literal.kind != kindList {
			return nil, p.operandType("list_append", *s.operand.literal)
		}
	}
	return appended{left, right}, nil
}

func (p *parser) distinctPaths(u update) error {
	for i, a := range u {
		for _, b := range u[:i] {
			if a.path.overlaps(b.path) {
				return p.overlap(b.path, a.path)
			}
		}
	}
	return nil
}

func (p *parser) overlap(one, two path) error {
	return p.invalid("Two document paths overlap with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", one, two)
}
