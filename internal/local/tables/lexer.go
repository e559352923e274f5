package tables

import "strings"

// The kinds of token.
type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenWord             // a name, a function or a keyword
	tokenName             // #placeholder
	tokenValue            // :placeholder
	tokenNumber           // digits, only inside [ ]
	tokenSymbol           // operator, bracket, comma, point
	tokenBad              // anything else
)

type lexeme struct {
	kind       tokenKind
	text       string
	start, end int
}

// lex cuts an expression into tokens; the last one is tokenEnd.
func lex(text string) []lexeme {
	out := make([]lexeme, 0, len(text)/3+1)
	for at := 0; ; {
		for at < len(text) && strings.IndexByte(" \t\r\n", text[at]) >= 0 {
			at++
		}
		if at == len(text) {
			return append(out, lexeme{kind: tokenEnd, text: "<EOF>", start: at, end: at})
		}
		kind, size := next(text[at:])
		out = append(out, lexeme{kind: kind, text: text[at : at+size], start: at, end: at + size})
		at += size
	}
}

// next recognises the token that the text, which is not empty, begins with.
func next(text string) (tokenKind, int) {
	c := text[0]
	switch {
	case c == '#' || c == ':':
		size := 1 + wordLength(text[1:])
		if size == 1 {
			return tokenBad, 1
		}
		if c == '#' {
			return tokenName, size
		}
		return tokenValue, size
	case c >= '0' && c <= '9':
		size := 1
		for size < len(text) && text[size] >= '0' && text[size] <= '9' {
			size++
		}
		return tokenNumber, size
	case strings.HasPrefix(text, "<>"), strings.HasPrefix(text, "<="), strings.HasPrefix(text, ">="):
		return tokenSymbol, 2
	case strings.IndexByte("=<>()[],.+-", c) >= 0:
		return tokenSymbol, 1
	}
	if size := wordLength(text); size > 0 {
		return tokenWord, size
	}
	return tokenBad, 1
}

func wordLength(text string) int {
	if i := strings.IndexFunc(text, notWord); i >= 0 {
		return i
	}
	return len(text)
}
