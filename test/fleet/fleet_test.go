package fleet

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// TestFleet plays random runs against the guarantees.
func TestFleet(t *testing.T) { play(t, newGoClient, happenings()) }

// TestFleetOfExtensions plays them with functions that know no client, and the extension beside each. Nothing is pushed to them,
// so no ack proves anything; and how long they may run is not known, so whoever waits for what is expected gives up before.
func TestFleetOfExtensions(t *testing.T) {
	play(t, newExtensionClient, slices.DeleteFunc(happenings(), func(h happening) bool { return h == promised || h == promisedByProof }))
}

// TestFleetOfNode plays them with the Node client in every environment.
func TestFleetOfNode(t *testing.T) {
	source := cmp.Or(os.Getenv(nodeSource), filepath.Join(nodePackage, "src"))
	readAll(t, "node", source)
	p, err := startNode(t.Context(), source, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.stop(); err != nil {
			t.Errorf("the Node process did not end well: %v", err)
		}
	}()
	play(t, newNodeClients(p), append(happenings(), readThawed))
}

// nodeSource names the variable with another directory to take the Node client from: the mutants are there.
const nodeSource = "FLEET_NODE_SOURCE"

// readAll reads what Node will, so that go test knows what a cached result was of.
func readAll(t *testing.T, folders ...string) {
	t.Helper()
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.ts"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no TypeScript in %s: %v", folder, err)
		}
		for _, file := range files {
			if _, err := os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func play(t *testing.T, clients newClient, expected []happening) {
	r := &reporter{T: t, expected: expected, counts: map[happening]int{}}
	rapid.Check(r, func(rt *rapid.T) {
		p := drawPlan(rt)
		var (
			violations []string
			counts     map[happening]int
		)
		synctest.Test(t, func(*testing.T) { violations, counts = run(p, clients) })
		r.note(p, violations, counts)
		if len(violations) > 0 {
			rt.Fatalf("%s\nthe plan:\n%s", strings.Join(violations, "\n"), p)
		}
	})
	r.judgeCounts()
}

// A reporter tells what rapid does not: the first run that failed as it was, before rapid plays it again and makes it
// smaller, since goroutines run as they like and not every seed fails again; and whether everything happened.
type reporter struct {
	*testing.T
	expected []happening
	runs     int
	counts   map[happening]int
	first    string
}

func (r *reporter) note(p plan, violations []string, counts map[happening]int) {
	if r.first != "" {
		return
	}
	r.runs++
	for what, n := range counts {
		r.counts[what] += n
	}
	if len(violations) > 0 {
		r.first = fmt.Sprintf("violated in run %d: %s\nthe plan:\n%s", r.runs, strings.Join(violations, "\n"), p)
	}
}

// Errorf is what rapid reports a failure with.
func (r *reporter) Errorf(format string, args ...any) {
	r.Helper()
	text := fmt.Sprintf(format, args...)
	if seed := regexp.MustCompile(`-rapid\.seed=(\d+)`).FindStringSubmatch(text); seed != nil && r.first != "" {
		r.T.Errorf("%s\nplay it again, ten times since not every time need fail:\n"+
			"go test ./test/fleet -run '^%s$' -count=10 -rapid.checks=1 -rapid.nofailfile -rapid.seed=%s\n", r.first, r.Name(), seed[1])
	}
	r.T.Errorf("%s", text)
}

// manyRuns is how many runs have to see everything that the model is there for.
const manyRuns = 100

func (r *reporter) judgeCounts() {
	for _, what := range r.expected {
		r.Logf("%6d × %s", r.counts[what], what)
		if r.runs >= manyRuns && r.counts[what] == 0 {
			r.T.Errorf("in %d runs it never happened that %s", r.runs, what)
		}
	}
}
