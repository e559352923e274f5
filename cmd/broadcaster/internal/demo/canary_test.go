package demo

import (
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScanFindsAValueHoweverItIsWritten(t *testing.T) {
	const text = "canary-0123456789abcdef"
	for name, content := range map[string]string{
		"plain":            "a log line with " + text + " in it",
		"hexadecimal":      hex.EncodeToString([]byte("before " + text + " after")),
		"base64":           base64.StdEncoding.EncodeToString([]byte(text)),
		"base64 after one": base64.StdEncoding.EncodeToString([]byte("1" + text + "2")),
		"base64 after two": base64.StdEncoding.EncodeToString([]byte("12" + text + "345")),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range map[string]string{"logs/guilty.log": content, "innocent.jsonl": "canary-fedcba9876543210"} {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			leaks, err := scan(dir, []string{text, "canary-of-nobody"})
			if err != nil {
				t.Fatal(err)
			}
			want := Leaks{Files: 2, Bytes: int64(len(content)) + 23, Found: []string{"logs/guilty.log"}}
			if diff := cmp.Diff(want, leaks); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestScanSaysWhereItCannotLook(t *testing.T) {
	if _, err := scan(filepath.Join(t.TempDir(), "missing"), nil); err == nil {
		t.Error("a missing directory was scanned")
	}
}
