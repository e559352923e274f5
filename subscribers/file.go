package subscribers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// maxFile is more than ten thousand services need; a larger file is something else. Lambda takes it in one invocation, also
// if every second character has to be escaped (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const maxFile = 2 << 20

// A File is a manifest as it is written, without a problem.
type File struct {
	Manifest
	Name string // as a Problem calls it
	Text []byte
	at   map[string]position
}

// A Problem is one thing that is wrong with a file. It quotes nothing of it: somebody may have put a secret's value there.
type Problem struct {
	File string `json:"file"`
	// Line and Column are from 1; a column counts characters.
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
}

// Error implements error.
func (p Problem) Error() string { return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text) }

// IsManifest tells by a file's name whether it is a manifest.
func IsManifest(name string) bool { return path.Ext(name) == ".yaml" || path.Ext(name) == ".yml" }

// Read reads a file as Parse does.
func Read(fsys fs.FS, file, env, domain string) (*File, error) {
	text, err := textOf(fsys, file)
	if err != nil {
		return nil, fmt.Errorf("reading subscriptions: %w", err)
	}
	return Parse(file, text, env, domain)
}

// Parse reads the text of a manifest, which must be of the given env and domain. Its error joins all problems in their
// order, each a Problem of the named file.
func Parse(name string, text []byte, env, domain string) (*File, error) {
	m, d := decode(text)
	m.check(env, domain, d.tell)
	if err := d.err(name); err != nil {
		return nil, err
	}
	return &File{m, name, text, d.at}, nil
}

// ReadAll reads files, each of the env and domain that it names. Its error joins the problems of all files, as Parse's; two
// files of one env and domain are a problem.
func ReadAll(fsys fs.FS, paths []string) ([]*File, error) {
	var (
		all      []*File
		first    = map[Domain]string{}
		problems []error
	)
	for _, file := range paths {
		text, err := textOf(fsys, file)
		if err != nil {
			problems = append(problems, fmt.Errorf("reading subscriptions: %w", err))
			continue
		}
		m, d := decode(text)
		m.check(m.Env, m.Domain, d.tell)
		of := Domain{m.Env, m.Domain}
		if before := first[of]; before != "" {
			d.tell("domain", "stands with this env in "+before+" too: put both manifests into one")
		} else if m.Env != "" && m.Domain != "" {
			first[of] = file
		}
		if err := d.err(file); err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, &File{m, file, text, d.at})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return all, nil
}

// textOf returns a file's text, or a byte more of it than a manifest may have.
func textOf(fsys fs.FS, file string) ([]byte, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return text, nil
}

// Subscriptions returns those of the manifest.
func (f *File) Subscriptions() *Subscriptions { return compile(f.Manifest) }

// Digest names the text: its SHA-256, in hexadecimal.
func (f *File) Digest() string { return Digest(f.Text) }

// Digest names a manifest's text.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Problem is what somebody else finds wrong with a field, given by its path, as services[0].function. Of a field that is not
// there it stands at what it would be in.
func (f *File) Problem(field, text string) Problem {
	at, ok := f.at[field]
	for in := field; !ok && in != ""; {
		in = parent(in)
		at, ok = f.at[in]
	}
	return problem{at, field, text}.in(f.Name)
}

// parent returns the path of what a field is in.
func parent(field string) string { return field[:max(strings.LastIndexAny(field, ".["), 0)] }
