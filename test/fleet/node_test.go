package fleet

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestARogueNodeClientIsNoticed: a client with a clock, a timer or a wait of its own would not live in the model's time,
// and what the model finds of it would prove nothing.
func TestARogueNodeClientIsNoticed(t *testing.T) {
	const rogue = "testdata/rogue"
	readAll(t, "node", rogue)
	p, err := startNode(t.Context(), rogue, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	synctest.Test(t, func(*testing.T) {
		w := newWorld(plan{Names: 1, Environments: 1, Faults: true}, newNodeClients(p))
		e := w.environment(0)
		for range 5 {
			e.serve(request{Names: []string{name(0)}, Deadline: time.Second})
		}
		e.client.die()
		w.background.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		found = w.violations
	})
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	for _, misdeed := range []string{
		"it uses setTimeout", "it uses Date.now", "it uses new Date()", "it waits for what is no port: FSReqPromise", "a promise failed and nobody handled it",
	} {
		if !strings.Contains(strings.Join(found, "\n"), misdeed) {
			t.Errorf("not noticed: %s; but %q", misdeed, found)
		}
	}
}
