package subscribers

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The parser's time grows with the square of both, and a deep enough file overflows its stack.
const (
	maxDepth  = 16
	maxFields = 256 // in one mapping
)

// parse returns the root of the one document in a file, or nil after noting why there is none.
func (d *document) parse(text []byte) ast.Node {
	plain, ok := d.characters(text)
	if !ok {
		return nil
	}
	tokens := lexer.Tokenize(plain)
	if !d.constructs(tokens) {
		return nil
	}
	tokens = d.withoutAliases(tokens)
	refused := len(d.problems)
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // mapping tells all duplicates
	if err != nil {
		if refused == 0 { // else it may only follow from what was refused
			d.wrong(syntax(err))
		}
		d.broken = true
		return nil
	}
	docs := slices.DeleteFunc(file.Docs, func(doc *ast.DocumentNode) bool {
		_, refused := doc.Body.(*ast.DirectiveNode)
		return refused
	})
	var root ast.Node
	if len(docs) > 0 {
		root = docs[0].Body
	}
	if len(docs) > 1 {
		second := docs[1]
		at := place(second.Start)
		if second.Start == nil && second.Body != nil {
			at = start(second.Body)
		}
		d.problems = append(d.problems, problem{at, "", "a second document begins: a file has one manifest"})
	}
	if root == nil && len(d.problems) == 0 {
		d.wrong(position{1, 1}, "", "the file is empty: a manifest begins with apiVersion: "+APIVersion)
	}
	return root
}

// characters refuses what cannot be read as lines of text.
func (d *document) characters(text []byte) (string, bool) {
	if len(text) > maxFile {
		d.wrong(position{1, 1}, "", fmt.Sprintf("the file is too large: a manifest has at most %d bytes", maxFile))
		return "", false
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	at, lastLine := position{1, 1}, 0
	tell := func(text string) {
		if at.line > lastLine { // one a line is enough
			d.wrong(at, "", text)
		}
		lastLine = at.line
	}
	for rest := text; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		switch {
		case r == utf8.RuneError && size == 1:
			d.wrong(at, "", "this is not UTF-8: save the file as UTF-8")
			return "", false
		case r == '\t':
			tell("a tab: use spaces")
		case r != '\n' && (unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\ufeff'):
			tell("a control character: remove it")
		}
		at.column++
		if r == '\n' {
			at = position{at.line + 1, 1}
		}
	}
	return string(text), !d.broken
}

// constructs refuses what YAML has and a manifest does not need, and what the parser is not to be given.
func (d *document) constructs(tokens token.Tokens) bool {
	var (
		levels []level // of mappings and lists in lines of their own, by column
		flow   []int   // fields of the mappings and lists in brackets
		last   *token.Token
	)
	for _, t := range tokens {
		switch t.Type {
		case token.InvalidType:
			d.wrong(syntax(&yaml.SyntaxError{Message: t.Error, Token: t}))
			return false
		case token.AnchorType:
			d.refuse(t, "& begins an anchor, which a manifest has not: write the value out, or put it in quotes")
		case token.MergeKeyType:
			d.refuse(t, "<< merges mappings, which a manifest does not: write the fields out")
		case token.TagType:
			d.refuse(t, "! begins a tag, which a manifest has not: leave it out, or put the value in quotes")
		case token.DirectiveType:
			d.refuse(t, "% begins a directive, which a manifest has not: leave it out, or put the value in quotes")
		case token.MappingKeyType:
			d.refuse(t, "? begins a composite key, which a manifest has not: write name: value")
		case token.MappingStartType, token.SequenceStartType:
			flow = append(flow, 0)
		case token.MappingEndType, token.SequenceEndType:
			flow = flow[:max(len(flow)-1, 0)]
		case token.DocumentHeaderType, token.DocumentEndType:
			levels = levels[:0]
		case token.SequenceEntryType:
			levels = enter(levels, t.Position.Column, 0)
		case token.MappingValueType:
			if len(flow) > 0 {
				flow[len(flow)-1]++
			} else if last != nil {
				levels = enter(levels, last.Position.Column, 1)
			}
		}
		if !d.withinLimits(t, levels, flow) {
			return false
		}
		last = t
	}
	return true
}

// withoutAliases refuses aliases. A pattern without quotes is one, and often none that the parser takes, so a string takes
// its place: the rest of the file is to be judged too.
func (d *document) withoutAliases(tokens token.Tokens) token.Tokens {
	var kept token.Tokens
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		kept = append(kept, t)
		if t.Type != token.AliasType {
			continue
		}
		d.refuse(t, `* begins an alias, which a manifest has not: put a pattern in quotes, as "*/password"`)
		d.aliases[place(t)] = true
		t.Type = token.StringType
		for i+1 < len(tokens) && tokens[i+1].Position.Line == t.Position.Line &&
			(tokens[i+1].Type == token.AliasType || tokens[i+1].Type == token.StringType) {
			i++
		}
	}
	return kept
}

// A level is a mapping or list that is open, by the column of its entries.
type level struct{ column, fields int }

func enter(levels []level, column, fields int) []level {
	for len(levels) > 0 && levels[len(levels)-1].column > column {
		levels = levels[:len(levels)-1]
	}
	if len(levels) == 0 || levels[len(levels)-1].column < column {
		levels = append(levels, level{column: column})
	}
	levels[len(levels)-1].fields += fields
	return levels
}

func (d *document) withinLimits(t *token.Token, levels []level, flow []int) bool {
	switch {
	case len(levels)+len(flow) > maxDepth:
		d.wrong(place(t), "", "nested too deeply: a manifest has services, their fields and lists of secrets")
	case len(levels) > 0 && levels[len(levels)-1].fields > maxFields, len(flow) > 0 && flow[len(flow)-1] > maxFields:
		d.wrong(place(t), "", fmt.Sprintf("the %dth field of one mapping: services and secrets are lists", maxFields+1))
	default:
		return true
	}
	return false
}

func (d *document) refuse(t *token.Token, text string) {
	d.problems = append(d.problems, problem{place(t), "", text})
}

// syntax tells the parser's error in our words, as its own may quote the file.
func syntax(err error) (position, string, string) { //nolint:unparam // the three that wrong takes
	at, text := position{1, 1}, "this is no YAML: check the indentation, the brackets and the quotes here"
	var e yaml.Error
	if !errors.As(err, &e) {
		return at, "", text
	}
	switch message := e.GetMessage(); {
	case strings.HasPrefix(message, "sequence end token"):
		text = "[ without its ]: close the list"
	case strings.HasPrefix(message, "could not find flow mapping end token"):
		text = "{ without its }: close the mapping"
	case strings.HasPrefix(message, "could not find end character of"):
		text = "a quote without its end: close it"
	case strings.HasPrefix(message, "mapping value is not allowed"):
		text = "a second colon in this value, or a line that is indented further than its neighbours: quote the value or align the line"
	case strings.HasSuffix(message, "is a reserved character"):
		text = "a value cannot begin with this character: put it in quotes"
	}
	return place(e.GetToken()), "", text
}
