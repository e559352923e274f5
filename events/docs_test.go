package events_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
)

// outcomes are all the ways in which testdata's events of a name, or else of a detail-type, end if nothing is wrong with them.
func outcomes(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, file := range cases(t) {
		for _, r := range events.Parse(read(t, file)) {
			name := r.EventName
			if name == "" {
				name = r.DetailType
			}
			outcome := string(r.Outcome)
			switch {
			case r.Outcome == events.Malformed, r.Outcome == events.Unknown, strings.HasPrefix(r.Reason, "the call failed"), strings.HasPrefix(r.Reason, "the secret's name is outside"):
				continue
			case r.Outcome == events.Signaled:
				outcome = string(r.Signal.Kind)
			case r.Warning:
				outcome = "a warning"
			}
			if !slices.Contains(all[name], outcome) {
				all[name] = append(all[name], outcome)
				slices.Sort(all[name])
			}
		}
	}
	delete(all, "GetSecretLineage") // invented, for a call that is read-only and not known
	return all
}

func TestTheDocumentSaysWhatBecomesOfEveryEvent(t *testing.T) {
	text, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| event | what it means")
	table, _, _ = strings.Cut(table, "\n\n")
	word := regexp.MustCompile("`([A-Za-z]+)`|\\*\\*([A-Za-z ]+)\\*\\*|(a warning)")
	words := func(cell string) []string {
		var all []string
		for _, m := range word.FindAllStringSubmatch(cell, -1) {
			all = append(all, m[1]+m[2]+m[3])
		}
		slices.Sort(all)
		return all
	}
	documented := map[string][]string{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 5 {
			continue
		}
		says := words(cells[3])
		if slices.Contains(says, "a warning") {
			says = []string{"a warning"}
		}
		for _, name := range words(cells[1]) {
			if len(says) > 0 { // else a heading
				documented[name] = says
			}
		}
	}
	want := outcomes(t)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(documented))); diff != "" {
		t.Errorf("events in testdata and in the document (-testdata +document):\n%s", diff)
	}
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("outcomes (-testdata +document):\n%s", diff)
	}
}
