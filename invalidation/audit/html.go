package audit

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"iter"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// The page and what it embeds: it loads nothing, from nowhere.
var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

// A Page is what a page of evidence says of itself.
type Page struct {
	Env, Domain string
	// Since and Until are what was asked for; zero for the beginning and the end.
	Since, Until time.Time
	// Made is when the page was made, and Head where the log ended then.
	Made time.Time
	Head invalidation.Position
}

// WriteHTML writes one page for people that needs nothing else: the records as a table, and above it a timeline per secret,
// which the page's script draws from that table. It is written as the records come.
func WriteHTML(out io.Writer, page Page, records iter.Seq2[Record, error]) error {
	var problem error
	each := func(yield func(Record) bool) {
		for r, err := range records {
			if err != nil {
				problem = err
				return
			}
			if !yield(r) {
				return
			}
		}
	}
	t, err := template.New("page").Funcs(template.FuncMap{"stamp": stamp}).Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	err = t.Execute(out, struct {
		Page
		CSS                 template.CSS
		JS                  template.JS
		StyleHash, CodeHash string
		Records             iter.Seq[Record]
	}{page, template.CSS(pageCSS), template.JS(pageJS), sourceHash(pageCSS), sourceHash(pageJS), each}) //nolint:gosec // our own files
	if problem != nil {
		return problem
	}
	if err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// sourceHash is how a content security policy names an inline text
// (https://www.w3.org/TR/CSP3/#grammardef-hash-source).
func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
