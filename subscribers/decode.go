package subscribers

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A position in a file, from 1; a column counts characters.
type position struct{ line, column int }

// A problem is one thing that is wrong with a file.
type problem struct {
	position
	field string // its path, as services[0].name; empty if it is none
	text  string
}

// A document is where things stand in a file, and what is wrong with it.
type document struct {
	at       map[string]position // by a field's path
	told     map[string]bool     // fields of which the first problem is known; others would only follow from it
	aliases  map[position]bool   // where one is refused
	problems []problem
	broken   bool // not even a mapping of fields, or not to be read as one
}

// decode reads what it can of a manifest and notes what is wrong with its form.
func decode(text []byte) (Manifest, *document) {
	d := &document{at: map[string]position{}, told: map[string]bool{}, aliases: map[position]bool{}}
	var m Manifest
	if root := d.parse(text); root != nil {
		d.value(root, reflect.ValueOf(&m).Elem(), "", "")
	}
	return m, d
}

// err returns all problems in the file's order, each a Problem.
func (d *document) err(file string) error {
	slices.SortStableFunc(d.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var all []error
	for _, p := range d.problems {
		all = append(all, p.in(file))
	}
	return errors.Join(all...)
}

func (p problem) in(file string) Problem {
	if p.field != "" {
		p.text = p.field + ": " + p.text
	}
	return Problem{file, p.line, p.column, p.text}
}

// tell notes a problem with the content of a field, if that was read.
func (d *document) tell(field, text string) {
	if at, ok := d.at[field]; ok && !d.broken && !d.told[field] {
		d.problems = append(d.problems, problem{at, field, text})
	}
}

// wrong notes a problem with the form of a field: there is no content to judge.
func (d *document) wrong(at position, field, text string) {
	d.problems = append(d.problems, problem{at, field, text})
	d.told[field] = true
	d.broken = d.broken || field == ""
}

// value decodes a node into a string, a list or a struct. The example is how the field may be written.
func (d *document) value(n ast.Node, into reflect.Value, field, example string) {
	d.at[field] = start(n)
	if d.aliases[start(n)] {
		d.told[field] = true
		return
	}
	switch is := n.(type) {
	case *ast.AnchorNode, *ast.TagNode: // parse has refused it
		d.told[field] = true
		return
	case *ast.NullNode:
		d.empty(start(n), field, example)
		return
	case *ast.StringNode:
		if into.Kind() == reflect.String {
			d.text(is.Value, start(n), into, field, example)
			return
		}
	case *ast.LiteralNode:
		if into.Kind() == reflect.String {
			d.text(is.Value.Value, start(n), into, field, example)
			return
		}
	case *ast.SequenceNode:
		if into.Kind() == reflect.Slice {
			into.Set(reflect.MakeSlice(into.Type(), len(is.Values), len(is.Values)))
			for i, value := range is.Values {
				if isNothing(value) {
					d.empty(place(is.Entries[i].Start), fmt.Sprintf("%s[%d]", field, i), "")
					continue
				}
				d.value(value, into.Index(i), fmt.Sprintf("%s[%d]", field, i), "")
			}
			return
		}
	case *ast.MappingNode:
		if into.Kind() == reflect.Struct {
			d.mapping(is, into, field)
			return
		}
	}
	d.wrong(start(n), field, wrongKind(n, into.Kind()))
}

func (d *document) text(text string, at position, into reflect.Value, field, example string) {
	if text == "" {
		d.empty(at, field, example)
		return
	}
	into.SetString(text)
}

func (d *document) empty(at position, field, example string) {
	text := "is empty: remove it or fill it in"
	if example != "" {
		text = "is empty: write it as " + example
	}
	d.wrong(at, field, text)
}

func (d *document) mapping(n *ast.MappingNode, into reflect.Value, path string) {
	fields := fieldsOf(into.Type())
	seen := map[string]position{}
	whole := true // no field may be hidden in what parse has refused
	for _, entry := range n.Values {
		key := entry.Key.GetToken()
		at := position{key.Position.Line, key.Position.Column}
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		switch first, again := seen[key.Value]; {
		case !isName(entry.Key):
			whole = false
		case i < 0:
			d.problems = append(d.problems, problem{at, path, "unknown field: " + suggestion(key.Value, fields)})
		case again:
			d.problems = append(d.problems, problem{at, join(path, key.Value), fmt.Sprintf("stands twice, first in line %d: leave one", first.line)})
		default:
			seen[key.Value] = at
			if isNothing(entry.Value) {
				d.empty(at, join(path, key.Value), fields[i].example)
				continue
			}
			d.value(entry.Value, into.Field(i), join(path, key.Value), fields[i].example)
		}
	}
	for _, f := range fields {
		if _, ok := seen[f.name]; !ok && f.required && whole {
			d.wrong(start(n), join(path, f.name), "is missing: write it as "+f.example)
		}
	}
}

// isName: the key is neither an anchor, a tag, a composite key nor a merge, which parse has refused.
func isName(key ast.MapKeyNode) bool {
	switch key.(type) {
	case *ast.AnchorNode, *ast.TagNode, *ast.MappingKeyNode, *ast.MergeKeyNode:
		return false
	}
	return true
}

// A field is how a struct's field is written.
type field struct {
	name, example string
	required      bool
}

func fieldsOf(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		all = append(all, field{name, name + ": " + t.Field(i).Tag.Get("example"), options != "omitempty"})
	}
	return all
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

// isNothing: there is no value, not even a null, so it stands nowhere.
func isNothing(n ast.Node) bool { return n.GetToken().Type == token.ImplicitNullType }

// start returns where a node begins.
func start(n ast.Node) position {
	at := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		at = m.Values[0].Key.GetToken()
	}
	return place(at)
}

func place(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

func wrongKind(n ast.Node, want reflect.Kind) string {
	is := "something else"
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		is = "a string"
	case *ast.BoolNode:
		is = "a boolean"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		is = "a number"
	case *ast.SequenceNode:
		is = "a list"
	case *ast.MappingNode:
		is = "a mapping"
	}
	switch want {
	case reflect.Slice:
		return "must be a list, not " + is + ": write each entry in a line of its own, after a hyphen"
	case reflect.Struct:
		return "must be a mapping, not " + is + ": write its fields as name: value"
	}
	if is == "a boolean" || is == "a number" {
		return "must be a string, not " + is + ": put it in quotes"
	}
	return "must be a string, not " + is
}

// suggestion does not quote the unknown name: it may be anything.
func suggestion(unknown string, fields []field) string {
	var names []string
	best, name := 0, ""
	for _, f := range fields {
		names = append(names, f.name)
		if near := len(f.name)/3 + 1 - distance(strings.ToLower(unknown), strings.ToLower(f.name)); near >= 0 && near+1 > best {
			best, name = near+1, f.name
		}
	}
	if name != "" {
		return "did you mean " + name + "?"
	}
	return "the fields here are " + strings.Join(names, ", ")
}

// distance is how many letters have to be put in, left out or replaced to make b of a. What is far longer is just far.
func distance(a, b string) int {
	if len(a) > 2*len(b)+2 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
