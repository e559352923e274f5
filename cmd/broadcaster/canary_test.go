package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// canary begins every planted value, and stands nowhere else.
const canary = "planted-canary-"

// told are the fields of an event that may be told: what identifies it and the secret.
func told() []string { return []string{"id", "detail-type", "replay-name", "detail.name"} }

// No secret value enters the broadcaster: none comes out of it, whatever a secret holds and wherever a producer of events
// puts a value.
func TestNoValueComesOut(t *testing.T) {
	for name, event := range map[string]string{
		"native": moved(neon, "v1"), "hint": hint(neon), "tick": tick, "unknown": `{"id":"e","source":"aws.ec2","detail-type":"x","detail":{"state":"y"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				l.put(t, neon, canary+"value")
				var said strings.Builder
				for i, planted := range plantEverywhere(t, event) {
					l.put(t, neon, fmt.Sprintf("%svalue-%d", canary, i)) // so that there is something to append
					for _, payload := range []string{planted, messages(planted), messages(planted[1:])} {
						answer, err := l.invoke(payload)
						fmt.Fprintln(&said, answer, err)
					}
				}
				l.wantNothingTold(t, said.String())
			})
		})
	}
}

func TestNoValueComesBackFromAFunction(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		const stripe = "/bank/prod/payments/stripe/api-key"
		l.on(func(w *world) {
			w.answer = func(out http.ResponseWriter, _ wire.Invalidation) bool {
				out.Header().Set("X-Amz-Function-Error", "Unhandled")
				_, _ = io.WriteString(out, `{"errorType":"Error","errorMessage":"`+canary+`error","trace":["`+canary+`trace"]}`)
				return true
			}
		})
		l.receive(messages(moved(neon, l.put(t, neon, canary+"value"))))
		l.on(func(w *world) {
			w.answer = func(out http.ResponseWriter, _ wire.Invalidation) bool {
				_, _ = io.WriteString(out, `{"statusCode":200,"body":"`+canary+`business"}`)
				return true
			}
		})
		l.receive(messages(moved(stripe, l.put(t, stripe, canary+"value"))))
		l.on(func(w *world) {
			w.answer = func(out http.ResponseWriter, inv wire.Invalidation) bool {
				_, _ = fmt.Fprintf(out, `{"schema":1,"environment":"e","revision":%d,"hash":%q,"value":"%sack","secrets":[{"name":%q,"value":"%sack"}]}`,
					inv.Detail.Revision, inv.Detail.Hash, canary, neon, canary)
				return true
			}
		})
		l.receive(messages(moved(neon, l.put(t, neon, canary+"value"))))
		if n := len(l.pushes()); n < 3 {
			t.Fatalf("%d pushes, want at least 3", n)
		}
		l.wantNothingTold(t, "")
	})
}

// wantNothingTold looks for canaries in everything that left the broadcaster.
func (l *lab) wantNothingTold(t *testing.T, said string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	places := map[string]string{"an answer or error": said, "a log line": l.logs.String(), "a metric": l.metrics.String(), "a request": strings.Join(l.sent, "\n")}
	files, err := filepath.Glob(filepath.Join(l.directory, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		places["a table"] += string(text)
	}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		if at := strings.Index(places[place], canary); at >= 0 {
			text := places[place]
			t.Errorf("%s holds a planted value: …%s…", place, text[max(0, at-200):min(len(text), at+100)])
		}
	}
	if len(places["a table"]) == 0 || l.logs.Len() == 0 || l.metrics.Len() == 0 || len(l.sent) == 0 {
		t.Error("there is nothing to look through")
	}
}

// plantEverywhere returns an event once for each way to put a canary into one of its fields, or into one that it has not.
func plantEverywhere(t *testing.T, event string) []string {
	t.Helper()
	var all []string
	var plant func(object map[string]any, path string, encode func() string)
	plant = func(object map[string]any, path string, encode func() string) {
		known := slices.Sorted(maps.Keys(object))
		object["secretString"] = canary + "unknown-field"
		object["requestParameters"] = map[string]any{"secretString": canary + "unknown-field"}
		all = append(all, encode())
		for _, key := range known {
			was, at := object[key], path+key
			if inner, ok := was.(map[string]any); ok {
				plant(inner, at+".", encode)
			}
			if !slices.Contains(told(), at) {
				object[key] = canary + at
				all = append(all, encode())
			}
			for _, wrong := range []any{[]any{canary + at}, map[string]any{"secretString": canary + at}, []any{map[string]any{canary + at: 1}}} {
				object[key] = wrong
				all = append(all, encode())
			}
			object[key] = was
		}
	}
	var root map[string]any
	if err := json.Unmarshal([]byte(event), &root); err != nil {
		t.Fatal(err)
	}
	plant(root, "", func() string {
		text, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	})
	return all
}
