package tables

import (
	"math/big"
	"strconv"
	"strings"
)

// Limits of DynamoDB's number type: 38 significant digits, and a magnitude
// from 1E-130 to 9.9...E+125.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
const (
	maxDigits   = 38
	maxExponent = 126  // of 0.d1d2d3... x 10^exponent
	minExponent = -129 // likewise
)

// decimal is 0.digits x 10^exponent. Digits has no leading and no trailing
// zero, so that equal numbers have equal fields; zero has no digits.
type decimal struct {
	negative bool
	digits   string
	exponent int
}

// parseDecimal reads a number as DynamoDB accepts it: optional sign, digits
// with an optional point, optional exponent.
func parseDecimal(text string) (decimal, error) {
	rest := text
	negative := strings.HasPrefix(rest, "-")
	if negative || strings.HasPrefix(rest, "+") {
		rest = rest[1:]
	}
	mantissa, exponent := rest, 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		n, err := strconv.Atoi(rest[i+1:])
		if err != nil {
			return decimal{}, notANumber(text)
		}
		mantissa, exponent = rest[:i], n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return decimal{}, notANumber(text)
	}
	exponent += len(whole)
	trimmed := strings.TrimLeft(digits, "0")
	exponent -= len(digits) - len(trimmed)
	return newDecimal(negative, strings.TrimRight(trimmed, "0"), exponent)
}

func newDecimal(negative bool, digits string, exponent int) (decimal, error) {
	switch {
	case digits == "":
		return decimal{}, nil
	case len(digits) > maxDigits:
		return decimal{}, invalid("Attempting to store more than 38 significant digits in a Number")
	case exponent > maxExponent:
		return decimal{}, invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case exponent < minExponent:
		return decimal{}, invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	return decimal{negative: negative, digits: digits, exponent: exponent}, nil
}

func notANumber(text string) error {
	return invalid("The parameter cannot be converted to a numeric value: %s", text)
}

// String writes the number as DynamoDB returns it: without an exponent,
// without leading or trailing zeros.
func (d decimal) String() string {
	if d.digits == "" {
		return "0"
	}
	sign := ""
	if d.negative {
		sign = "-"
	}
	switch {
	case d.exponent <= 0:
		return sign + "0." + strings.Repeat("0", -d.exponent) + d.digits
	case d.exponent >= len(d.digits):
		return sign + d.digits + strings.Repeat("0", d.exponent-len(d.digits))
	default:
		return sign + d.digits[:d.exponent] + "." + d.digits[d.exponent:]
	}
}

// compare orders two numbers: -1, 0 or 1.
func (d decimal) compare(other decimal) int {
	if d.sign() != other.sign() {
		return d.sign() - other.sign()
	}
	magnitude := d.exponent - other.exponent
	if d.digits == "" || magnitude == 0 {
		magnitude = strings.Compare(d.digits, other.digits)
	}
	switch {
	case magnitude < 0:
		return -d.sign()
	case magnitude > 0:
		return d.sign()
	}
	return 0
}

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// plus adds, exactly; a result with more digits or another magnitude than
// DynamoDB can keep is an error.
func (d decimal) plus(other decimal) (decimal, error) {
	scale := min(d.exponent-len(d.digits), other.exponent-len(other.digits))
	sum := new(big.Int).Add(d.scaled(scale), other.scaled(scale))
	negative := sum.Sign() < 0
	text := sum.Abs(sum).String()
	if text == "0" {
		return decimal{}, nil
	}
	return newDecimal(negative, strings.TrimRight(text, "0"), scale+len(text))
}

func (d decimal) negated() decimal {
	d.negative = !d.negative && d.digits != ""
	return d
}

// scaled is the number as an integer count of 10^scale.
func (d decimal) scaled(scale int) *big.Int {
	n := new(big.Int)
	if d.digits == "" {
		return n
	}
	n.SetString(d.digits+strings.Repeat("0", d.exponent-len(d.digits)-scale), 10)
	if d.negative {
		n.Neg(n)
	}
	return n
}

// compareNumbers orders two numbers in the form that decimal.String writes.
func compareNumbers(a, b string) int {
	if a == b {
		return 0
	}
	left, errLeft := parseDecimal(a)
	right, errRight := parseDecimal(b)
	if errLeft != nil || errRight != nil {
		return strings.Compare(a, b)
	}
	return left.compare(right)
}
