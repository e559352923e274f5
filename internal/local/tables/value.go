package tables

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// The attribute types of DynamoDB.
const (
	kindString    = "S"
	kindNumber    = "N"
	kindBinary    = "B"
	kindBool      = "BOOL"
	kindNull      = "NULL"
	kindMap       = "M"
	kindList      = "L"
	kindStringSet = "SS"
	kindNumberSet = "NS"
	kindBinarySet = "BS"
)

// item is one row: attribute name to value. Items are never changed once
// stored; a write stores another map, so a reader needs no lock.
type item map[string]value

// value is one attribute value. Only the fields that belong to its kind are
// set.
type value struct {
	kind string
	text string   // S; N as decimal.String writes it; B as raw bytes
	flag bool     // BOOL
	list []value  // L
	m    item     // M
	set  []string // SS, NS, BS: members in the form of text
}

// wireValue is a value as JSON has it; exactly one field is set.
type wireValue struct {
	S    *string  `json:"S"`
	N    *string  `json:"N"`
	B    *[]byte  `json:"B"`
	BOOL *bool    `json:"BOOL"`
	NULL *bool    `json:"NULL"`
	M    item     `json:"M"`
	L    []value  `json:"L"`
	SS   []string `json:"SS"`
	NS   []string `json:"NS"`
	BS   [][]byte `json:"BS"`
}

// UnmarshalJSON reads the wire form and holds it to DynamoDB's rules, so that
// whatever has been decoded may be stored.
func (v *value) UnmarshalJSON(data []byte) error {
	if text, ok := plainText(data, `{"S":"`); ok {
		*v = value{kind: kindString, text: text}
		return nil
	}
	if text, ok := plainText(data, `{"N":"`); ok {
		number, err := parseDecimal(text)
		*v = value{kind: kindNumber, text: number.String()}
		return err
	}
	var wire wireValue
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	values, err := wire.values()
	if err != nil {
		return err
	}
	switch len(values) {
	case 0:
		return invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
	case 1:
		*v = values[0]
		return nil
	default:
		return invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	}
}

// plainText recognises {"S":"..."} without escapes or white space, which is
// nearly every value there is, and saves them the general decoder.
func plainText(data []byte, prefix string) (string, bool) {
	rest, ok := bytes.CutPrefix(data, []byte(prefix))
	if !ok {
		return "", false
	}
	rest, ok = bytes.CutSuffix(rest, []byte(`"}`))
	if !ok || !isPlain(rest) {
		return "", false
	}
	return string(rest), true
}

// isPlain reports whether JSON writes the text as it is.
func isPlain[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// values converts every field that is set.
func (w *wireValue) values() ([]value, error) {
	var out []value
	if w.S != nil {
		out = append(out, value{kind: kindString, text: *w.S})
	}
	if w.N != nil {
		d, err := parseDecimal(*w.N)
		if err != nil {
			return nil, err
		}
		out = append(out, value{kind: kindNumber, text: d.String()})
	}
	if w.B != nil {
		out = append(out, value{kind: kindBinary, text: string(*w.B)})
	}
	if w.BOOL != nil {
		out = append(out, value{kind: kindBool, flag: *w.BOOL})
	}
	if w.NULL != nil {
		if !*w.NULL {
			return nil, invalid("One or more parameter values were invalid: Null attribute value types must have the value of true")
		}
		out = append(out, value{kind: kindNull})
	}
	if w.M != nil {
		out = append(out, value{kind: kindMap, m: w.M})
	}
	if w.L != nil {
		out = append(out, value{kind: kindList, list: w.L})
	}
	sets, err := w.sets()
	return append(out, sets...), err
}

func (w *wireValue) sets() ([]value, error) {
	var out []value
	if w.SS != nil {
		out = append(out, value{kind: kindStringSet, set: w.SS})
	}
	if w.NS != nil {
		numbers := make([]string, len(w.NS))
		for i, text := range w.NS {
			d, err := parseDecimal(text)
			if err != nil {
				return nil, err
			}
			numbers[i] = d.String()
		}
		out = append(out, value{kind: kindNumberSet, set: numbers})
	}
	if w.BS != nil {
		raw := make([]string, len(w.BS))
		for i, b := range w.BS {
			raw[i] = string(b)
		}
		out = append(out, value{kind: kindBinarySet, set: raw})
	}
	for _, v := range out {
		if len(v.set) == 0 {
			return nil, invalid("One or more parameter values were invalid: An %s set  may not be empty", setName(v.kind))
		}
		if sorted := slices.Sorted(slices.Values(v.set)); len(slices.Compact(sorted)) < len(v.set) {
			return nil, invalid("One or more parameter values were invalid: Input collection [%s] contains duplicates", strings.Join(v.set, ", "))
		}
	}
	return out, nil
}

func setName(kind string) string {
	switch kind {
	case kindStringSet:
		return "string"
	case kindNumberSet:
		return "number"
	}
	return "binary"
}

// MarshalJSON writes the wire form.
func (v value) MarshalJSON() ([]byte, error) { return v.append(nil), nil }

// MarshalJSON writes the attributes in the order of their names, so that
// equal items have equal bytes.
func (it item) MarshalJSON() ([]byte, error) {
	return it.append(nil), nil
}

func (it item) append(b []byte) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(it)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		b = it[name].append(b)
	}
	return append(b, '}')
}

func (v value) append(b []byte) []byte {
	b = append(append(append(b, `{"`...), v.kind...), `":`...)
	switch v.kind {
	case kindString, kindNumber:
		b = appendString(b, v.text)
	case kindBinary:
		b = appendString(b, base64.StdEncoding.EncodeToString([]byte(v.text)))
	case kindBool:
		if v.flag {
			b = append(b, "true"...)
		} else {
			b = append(b, "false"...)
		}
	case kindNull:
		b = append(b, "true"...)
	case kindMap:
		b = v.m.append(b)
	case kindList:
		b = appendList(b, v.list, value.append)
	case kindBinarySet:
		b = appendList(b, v.set, func(member string, b []byte) []byte {
			return appendString(b, base64.StdEncoding.EncodeToString([]byte(member)))
		})
	default:
		b = appendList(b, v.set, func(member string, b []byte) []byte { return appendString(b, member) })
	}
	return append(b, '}')
}

func appendList[T any](b []byte, list []T, element func(T, []byte) []byte) []byte {
	b = append(b, '[')
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = element(e, b)
	}
	return append(b, ']')
}

func appendString(b []byte, text string) []byte {
	if isPlain(text) {
		return append(append(append(b, '"'), text...), '"')
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return append(b, `""`...) // a string always marshals
	}
	return append(b, quoted...)
}

// equal compares as DynamoDB's = does: numbers by value, sets without order.
func (v value) equal(other value) bool {
	if v.kind != other.kind {
		return false
	}
	switch v.kind {
	case kindList:
		return slices.EqualFunc(v.list, other.list, value.equal)
	case kindMap:
		return maps.EqualFunc(v.m, other.m, value.equal)
	case kindStringSet, kindNumberSet, kindBinarySet:
		return slices.Equal(slices.Sorted(slices.Values(v.set)), slices.Sorted(slices.Values(other.set)))
	}
	return v.text == other.text && v.flag == other.flag
}

// compare orders two values; ok is false if they have no order between them,
// that is unless both are strings, numbers or binary.
func (v value) compare(other value) (order int, ok bool) {
	if v.kind != other.kind || !v.isScalar() {
		return 0, false
	}
	if v.kind == kindNumber {
		return compareNumbers(v.text, other.text), true
	}
	return strings.Compare(v.text, other.text), true
}

func (v value) isScalar() bool {
	return v.kind == kindString || v.kind == kindNumber || v.kind == kindBinary
}

// size is what DynamoDB counts for an item: names and values in UTF-8.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
func (it item) size() int {
	total := 0
	for name, v := range it {
		total += len(name) + v.size()
	}
	return total
}

func (v value) size() int {
	switch v.kind {
	case kindString, kindBinary:
		return len(v.text)
	case kindNumber:
		return numberSize(v.text)
	case kindMap:
		return 3 + len(v.m) + v.m.size()
	case kindList:
		total := 3 + len(v.list)
		for _, e := range v.list {
			total += e.size()
		}
		return total
	case kindNumberSet:
		total := 0
		for _, n := range v.set {
			total += numberSize(n)
		}
		return total
	case kindStringSet, kindBinarySet:
		return len(strings.Join(v.set, ""))
	}
	return 1 // BOOL, NULL
}

// numberSize is AWS's approximation: one byte for two significant digits,
// one more, and one for a minus sign.
func numberSize(text string) int {
	digits := strings.Trim(strings.Replace(strings.TrimPrefix(text, "-"), ".", "", 1), "0")
	size := (len(digits)+1)/2 + 1
	if strings.HasPrefix(text, "-") {
		size++
	}
	return size
}
