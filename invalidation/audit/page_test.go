package audit_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestThePageInABrowser: a real one shows a timeline per secret, finds what is searched for, runs no text as code, and loads
// nothing.
func TestThePageInABrowser(t *testing.T) {
	if os.Getenv("BROWSER") == "" {
		t.Fatal("BROWSER is not set: run `make test`, which installs one")
	}
	command := exec.CommandContext(t.Context(), "node", "testdata/browse.mjs", "testdata/known.html")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	type sight struct {
		Title, Reason                     string
		Problems, Requests, Secrets, Dots []string
		Rows, Filtered                    int
		Wider                             bool
	}
	var got sight
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := sight{
		Title: "Secret changes of prod/payments", Problems: []string{}, Requests: []string{}, Secrets: []string{neon, stripe},
		Dots: []string{"moved 1.000%", "moved 1.000%", "deleted 99.000%"}, Rows: 5,
		Filtered: 4, // a timeline and a change; commands are of no secret
		Reason:   `=cmd|'/c calc'!A1 <script>alert("x")</script>`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
