package docs

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/events"
)

// TestTheHintOfTheAWSCommandLine: bash splits each documented command as a person's shell does, and what reaches the AWS
// command line is put-events with entries of its form, each of which the broadcaster takes for a hint about a secret.
func TestTheHintOfTheAWSCommandLine(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "aws"), []byte("#!/bin/sh\nprintf '%s\\0' \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, b := range blocks(t, "sh") {
		for command := range strings.Lines(b.text) {
			if !strings.HasPrefix(command, "aws ") {
				continue
			}
			found++
			shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", command)
			shell.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			out, err := shell.Output()
			if err != nil {
				t.Fatalf("%s: %v", b.at, err)
			}
			arguments := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
			if len(arguments) != 6 || strings.Join(arguments[:5], " ") != "events put-events --query FailedEntryCount --entries" {
				t.Fatalf("%s: the arguments are %q", b.at, arguments)
			}
			wantHints(t, b.at, arguments[5])
		}
	}
	if found == 0 {
		t.Error("no document shows the command")
	}
}

// wantHints reads entries as PutEvents does
// (https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html).
func wantHints(t *testing.T, at, text string) {
	t.Helper()
	var entries []struct{ Source, DetailType, Detail string }
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&entries); err != nil || len(entries) == 0 {
		t.Fatalf("%s: entries %s: %v", at, text, err)
	}
	for _, e := range entries {
		if !bytes.HasPrefix([]byte(e.Detail), []byte("{")) || !json.Valid([]byte(e.Detail)) {
			t.Fatalf("%s: the detail is no JSON object: %s", at, e.Detail)
		}
		event, err := json.Marshal(map[string]any{"source": e.Source, "detail-type": e.DetailType, "detail": json.RawMessage(e.Detail)})
		if err != nil {
			t.Fatal(err)
		}
		r := events.Parse(event)[0]
		if r.Outcome != events.Signaled || r.Signal.Kind != events.Check || r.Signal.Name != "/bank/prod/payments/neon/connection-string" {
			t.Errorf("%s: the broadcaster takes it for %+v", at, r)
		}
	}
}
