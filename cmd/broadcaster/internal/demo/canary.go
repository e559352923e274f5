package demo

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A secret has two versions; of kycToken only the old one is ever put.
type secret struct {
	name     string
	old, new version
}

// A version's text is a canary: a value that is nowhere else, so that finding it somewhere proves where it has been.
type version struct{ id, text string }

func newSecret(name string) secret {
	return secret{name: name, old: newVersion(), new: newVersion()}
}

func newVersion() version { return version{id: newUUID(), text: "canary-" + randomHex(16)} }

// values are the secrets of one world.
type values struct{ connectionString, apiKey, token secret }

func newValues() values {
	return values{newSecret(ConnectionString), newSecret(APIKey), newSecret(kycToken)}
}

func (v values) each() []secret { return []secret{v.connectionString, v.apiKey, v.token} }

func (v values) all() []string {
	var all []string
	for _, s := range v.each() {
		all = append(all, s.old.text, s.new.text)
	}
	return all
}

// versionsOf returns the versions that the secret of a name may have.
func (v values) versionsOf(name string) []version {
	for _, s := range v.each() {
		if s.name == name {
			return []version{s.old, s.new}
		}
	}
	return nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // documented never to fail
	return hex.EncodeToString(b)
}

// newUUID returns a random id as Secrets Manager and EventBridge make them.
func newUUID() string {
	h := randomHex(16)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// Leaks is what looking for canaries came to.
type Leaks struct {
	// Files and Bytes are how much was looked through.
	Files int
	Bytes int64
	// Found are the files that hold a canary, relative to the directory.
	Found []string
}

// scan looks for canaries, as they are, in hexadecimal and in base64, in every file below a directory.
func scan(dir string, canaries []string) (Leaks, error) {
	needles := make([][]byte, 0, 5*len(canaries))
	for _, canary := range canaries {
		needles = append(needles, disguises(canary)...)
	}
	var leaks Leaks
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		leaks.Files++
		leaks.Bytes += int64(len(text))
		if slices.ContainsFunc(needles, func(needle []byte) bool { return bytes.Contains(text, needle) }) {
			name, _ := filepath.Rel(dir, path)
			leaks.Found = append(leaks.Found, name)
		}
		return nil
	})
	if err != nil {
		return Leaks{}, fmt.Errorf("scanning %s for secret values: %w", dir, err)
	}
	return leaks, nil
}

// disguises are the forms a text may be found in. Inside of a longer text base64 has three, by where the text begins; the
// characters that its neighbours change are left out.
func disguises(text string) [][]byte {
	forms := [][]byte{[]byte(text), []byte(hex.EncodeToString([]byte(text)))}
	for before := range 3 {
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), text...))
		first := (before*8 + 5) / 6
		last := (before + len(text)) * 8 / 6
		forms = append(forms, []byte(encoded[first:last]))
	}
	return forms
}
