package tables

import (
	"slices"
	"strconv"
	"strings"
)

// maxExpressionBytes is AWS's limit for one expression.
const maxExpressionBytes = 4096

// parser reads one expression. Its grammar is the part of AWS's that this
// project uses.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
type parser struct {
	expression string // the parameter's name, for messages
	text       string
	tokens     []lexeme
	at         int
	names      *placeholders
	wrapped    bool // the condition just read stands in parentheses of its own
}

func newParser(expression, text string, names *placeholders) (*parser, error) {
	p := &parser{expression: expression, text: text, names: names}
	switch {
	case text == "":
		return nil, p.invalid("The expression can not be empty;")
	case len(text) > maxExpressionBytes:
		return nil, p.invalid("Expression size has exceeded the maximum allowed size;")
	}
	p.tokens = lex(text)
	return p, nil
}

// parseCondition reads a condition; a nil text is no condition, which always
// holds and comes back as nil.
func parseCondition(expression string, text *string, names *placeholders) (condition, error) {
	if text == nil {
		return nil, nil
	}
	p, err := newParser(expression, *text, names)
	if err != nil {
		return nil, err
	}
	c, err := p.disjunction()
	if err != nil {
		return nil, err
	}
	return c, p.end()
}

func (p *parser) disjunction() (condition, error) {
	left, err := p.conjunction()
	for err == nil && p.keyword("OR") {
		var right condition
		right, err = p.conjunction()
		left, p.wrapped = disjunction{left, right}, false
	}
	return left, err
}

func (p *parser) conjunction() (condition, error) {
	left, err := p.negation()
	for err == nil && p.keyword("AND") {
		var right condition
		right, err = p.negation()
		left, p.wrapped = conjunction{left, right}, false
	}
	return left, err
}

func (p *parser) negation() (condition, error) {
	if !p.keyword("NOT") {
		return p.primary()
	}
	inner, err := p.negation()
	p.wrapped = false
	return negation{inner}, err
}

func (p *parser) primary() (condition, error) {
	p.wrapped = false
	if p.symbol("(") {
		inner, err := p.disjunction()
		if err != nil {
			return nil, err
		}
		if p.wrapped {
			return nil, p.invalid("The expression has redundant parentheses;")
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
		p.wrapped = true
		return inner, nil
	}
	if p.isCall() {
		return p.function()
	}
	return p.comparison()
}

func (p *parser) comparison() (condition, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	if p.keyword("BETWEEN") {
		return p.between(left)
	}
	operator := p.peek()
	if operator.kind == tokenWord && strings.EqualFold(operator.text, "IN") {
		return nil, unsupported("IN in an expression")
	}
	if !slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, operator.text) {
		return nil, p.syntaxError()
	}
	p.at++
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	c := comparison{operator.text, left, right}
	if operator.text == "=" || operator.text == "<>" {
		return c, p.distinct(c)
	}
	for _, o := range []operand{left, right} {
		if o.literal != nil && !o.literal.isScalar() {
			return nil, p.operandType(operator.text, *o.literal)
		}
	}
	return c, p.distinct(c)
}

// distinct refuses to compare a path with itself.
func (p *parser) distinct(c comparison) error {
	if c.left.literal != nil || c.right.literal != nil || !slices.Equal(c.left.path, c.right.path) {
		return nil
	}
	return p.invalid("The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %s", c.operator, c.left.path)
}

func (p *parser) between(subject operand) (condition, error) {
	low, err := p.operand()
	if err != nil {
		return nil, err
	}
	if !p.keyword("AND") {
		return nil, p.syntaxError()
	}
	high, err := p.operand()
	if err != nil {
		return nil, err
	}
	if low.literal != nil && high.literal != nil {
		bounds := "; lower bound operand: AttributeValue: {" + low.literal.kind + ":" + low.literal.text +
			"}, upper bound operand: AttributeValue: {" + high.literal.kind + ":" + high.literal.text + "}"
		switch order, ok := low.literal.compare(*high.literal); {
		case !ok:
			return nil, p.invalid("The BETWEEN operator requires same data type for lower and upper bounds%s", bounds)
		case order > 0:
			return nil, p.invalid("The BETWEEN operator requires upper bound to be greater than or equal to lower bound%s", bounds)
		}
	}
	return between{subject, low, high}, nil
}

// function reads one of the functions that are conditions by themselves.
func (p *parser) function() (condition, error) {
	name := p.take().text
	if slices.Contains([]string{"contains", "size", "attribute_type"}, name) {
		return nil, unsupported("the function " + name)
	}
	if !slices.Contains([]string{"attribute_exists", "attribute_not_exists", "begins_with"}, name) {
		return nil, p.invalid("Invalid function name; function: %s", name)
	}
	arguments, err := p.arguments()
	if err != nil {
		return nil, err
	}
	want := 1
	if name == "begins_with" {
		want = 2
	}
	if len(arguments) != want {
		return nil, p.invalid("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name, len(arguments))
	}
	if name != "begins_with" {
		if arguments[0].literal != nil {
			return nil, p.invalid("Operator or function requires a document path; operator or function: %s", name)
		}
		return existence{arguments[0].path, name == "attribute_exists"}, nil
	}
	for _, a := range arguments {
		if a.literal != nil && a.literal.kind != kindString && a.literal.kind != kindBinary {
			return nil, p.operandType(name, *a.literal)
		}
	}
	return prefixed{arguments[0], arguments[1]}, nil
}

// arguments reads a list of operands in parentheses.
func (p *parser) arguments() ([]operand, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var out []operand
	for {
		o, err := p.operand()
		if err != nil {
			return nil, err
		}
		if out = append(out, o); !p.symbol(",") {
			return out, p.expect(")")
		}
	}
}

func (p *parser) operand() (operand, error) {
	if t := p.peek(); t.kind == tokenValue {
		p.at++
		v, err := p.names.value(p.expression, t.text)
		return operand{literal: &v}, err
	}
	path, err := p.path()
	return operand{path: path}, err
}

// path reads an attribute with the members and elements behind it.
func (p *parser) path() (path, error) {
	first, err := p.pathName()
	if err != nil {
		return nil, err
	}
	out := path{{name: first}}
	for {
		switch {
		case p.symbol("."):
			name, err := p.pathName()
			if err != nil {
				return nil, err
			}
			out = append(out, step{name: name})
		case p.symbol("["):
			index, err := strconv.Atoi(p.peek().text)
			if err != nil || p.peek().kind != tokenNumber {
				return nil, p.syntaxError()
			}
			p.at++
			if err := p.expect("]"); err != nil {
				return nil, err
			}
			out = append(out, step{index: index})
		default:
			return out, nil
		}
	}
}

func (p *parser) pathName() (string, error) {
	t := p.peek()
	switch {
	case t.kind == tokenName:
		p.at++
		return p.names.name(p.expression, t.text)
	case t.kind != tokenWord || isOperatorWord(t.text):
		return "", p.syntaxError()
	case p.isCall():
		return "", p.invalid("The function is not allowed to be used this way in an expression; function: %s", t.text)
	case isReserved(t.text):
		return "", p.invalid("Attribute name is a reserved keyword; reserved keyword: %s", t.text)
	}
	p.at++
	return t.text, nil
}

func isOperatorWord(word string) bool {
	return slices.Contains([]string{"AND", "OR", "NOT", "BETWEEN", "IN", "SET", "ADD", "REMOVE", "DELETE"}, strings.ToUpper(word))
}

func (p *parser) peek() lexeme { return p.tokens[p.at] }

// take returns the next token and moves past it, but never past the end.
func (p *parser) take() lexeme {
	t := p.tokens[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

func (p *parser) isCall() bool {
	return p.peek().kind == tokenWord && p.tokens[p.at+1].text == "("
}

func (p *parser) keyword(word string) bool {
	if t := p.peek(); t.kind != tokenWord || !strings.EqualFold(t.text, word) {
		return false
	}
	p.at++
	return true
}

func (p *parser) symbol(text string) bool {
	if t := p.peek(); t.kind != tokenSymbol || t.text != text {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(symbol string) error {
	if p.symbol(symbol) {
		return nil
	}
	return p.syntaxError()
}

func (p *parser) end() error {
	if p.peek().kind == tokenEnd {
		return nil
	}
	return p.syntaxError()
}

func (p *parser) invalid(format string, args ...any) error {
	return invalid("Invalid "+p.expression+": "+format, args...)
}

func (p *parser) operandType(operator string, v value) error {
	return p.invalid("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", operator, v.kind)
}

// syntaxError points at the next token, with its neighbours.
func (p *parser) syntaxError() error {
	from, to := p.at, p.at
	if from > 0 {
		from--
	}
	if to < len(p.tokens)-1 {
		to++
	}
	return p.invalid("Syntax error; token: %q, near: %q", p.peek().text, p.text[p.tokens[from].start:p.tokens[to].end])
}
