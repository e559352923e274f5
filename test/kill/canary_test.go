package kill_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// judgeFiles: no secret value is in any file that a process wrote, or that holds what it said.
func (w *world) judgeFiles() {
	w.t.Helper()
	files, size := 0, 0
	err := filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		size += len(content)
		if holds(content, w.marker) {
			w.t.Errorf("%s holds a secret value", entry.Name())
		}
		return nil
	})
	w.done(err)
	w.t.Logf("no value in %d files, %.1f MB", files, float64(size)/1e6)
	if least := 3 + len(w.functions)*environments; files < least { // the journal, the calls, a broadcaster and the functions
		w.t.Errorf("there are %d files to look through, want %d at least", files, least)
	}
}

// holds reports whether a text is in a content: as it is, in hexadecimal or in base64. Inside of a longer text base64 has
// three forms, by where the text begins; the characters that its neighbours change are left out.
func holds(content []byte, text string) bool {
	needles := [][]byte{[]byte(text), []byte(hex.EncodeToString([]byte(text)))}
	for before := range 3 {
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), text...))
		needles = append(needles, []byte(encoded[(before*8+5)/6:(before+len(text))*8/6]))
	}
	for _, needle := range needles {
		if bytes.Contains(content, needle) {
			return true
		}
	}
	return false
}

func TestAValueIsFoundInEveryDisguise(t *testing.T) {
	const text = "canary-0011223344556677"
	for _, longer := range []string{text, "a" + text + "z", "ab" + text + "yz", "abc" + text + "xyz"} {
		for form, content := range map[string]string{
			"plain": longer, "hexadecimal": hex.EncodeToString([]byte(longer)), "base64": base64.StdEncoding.EncodeToString([]byte(longer)),
		} {
			if !holds([]byte("…"+content+"…"), text) {
				t.Errorf("%s of %q is not noticed", form, longer)
			}
		}
	}
	if holds([]byte("canary-0011223344556676"), text) {
		t.Error("another text is taken for the value")
	}
}
