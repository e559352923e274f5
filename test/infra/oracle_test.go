package infra

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
)

// ask gives a third party's program one line for each question and returns its answers.
func ask[A, Q any](t testing.TB, program *exec.Cmd, questions []Q) []A {
	t.Helper()
	var in, out, wrong bytes.Buffer
	to := json.NewEncoder(&in)
	for _, q := range questions {
		if err := to.Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	program.Stdin, program.Stdout, program.Stderr = &in, &out, &wrong
	if err := program.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, wrong.String())
	}
	var answers []A
	for from := json.NewDecoder(&out); ; {
		var one A
		if err := from.Decode(&one); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, one)
	}
	if len(answers) != len(questions) || len(answers) == 0 {
		t.Fatalf("%s: %d answers to %d questions\n%s", program, len(answers), len(questions), wrong.String())
	}
	return answers
}

// A rules is a set of event patterns, by name, with the events that it is asked about.
type rules struct {
	patterns map[string]any
	about    []sample
}

// matching returns, for each event of each set in turn, the rules that AWS's own matcher finds.
func matching(t testing.TB, sets ...rules) [][]string {
	t.Helper()
	type question struct {
		Rules map[string]any  `json:"rules,omitempty"` // of the question before, if it has none
		Event json.RawMessage `json:"event"`
	}
	type answer struct {
		Matches []string
		Error   string
	}
	var asked []question
	for _, set := range sets {
		for i, one := range set.about {
			q := question{Event: one.text}
			if i == 0 {
				q.Rules = set.patterns
			}
			asked = append(asked, q)
		}
	}
	var all [][]string
	for i, a := range ask[answer](t, exec.CommandContext(t.Context(), "java", "-cp", variable(t, "RULER_CLASSES"), "RulerOracle"), asked) {
		if a.Error != "" {
			t.Fatalf("AWS's matcher: %s: %s", asked[i].Event, a.Error)
		}
		all = append(all, a.Matches)
	}
	return all
}

// A request is what IAM is asked, with the policies that count.
type request struct {
	Principal            string         `json:"principal"`
	Account              string         `json:"account"` // of the resource
	Action               string         `json:"action"`
	Resource             string         `json:"resource"`
	Context              map[string]any `json:"context,omitempty"`
	IdentityPolicies     []any          `json:"identityPolicies,omitempty"`
	ResourcePolicy       any            `json:"resourcePolicy,omitempty"`
	Boundary             any            `json:"boundary,omitempty"`
	ServiceControlPolicy any            `json:"serviceControlPolicy,omitempty"`
}

// judged returns IAM's answers: Allowed, ImplicitlyDenied or ExplicitlyDenied.
func judged(t testing.TB, asked []request) []string {
	t.Helper()
	variable(t, "IAM_SIMULATE")
	type answer struct{ Result, Error string }
	var all []string
	program := exec.CommandContext(t.Context(), "node", filepath.Join(root, "test/tools/infra/simulate.mjs"))
	for i, a := range ask[answer](t, program, asked) {
		if a.Error != "" {
			t.Fatalf("evaluating %s of %s: %s", asked[i].Action, asked[i].Resource, a.Error)
		}
		all = append(all, a.Result)
	}
	return all
}
