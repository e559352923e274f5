// Package bulk_test counts what a bulk rotation costs a whole fleet: a hundred secrets rotated at once, a thousand
// environments that each hold some of them. Broadcasters and clients are the real ones with their real edges; time is
// testing/synctest's; what is counted is what each environment asks AWS for.
package bulk_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

const (
	all       = 400 // secrets
	rotated   = 100
	functions = 20
	perEach   = 50 // environments of each function
	uses      = 12 // secrets in each environment

	// lambdaBegins is how many batches of a queue's messages Lambda hands over at once at first, and batchSize their size.
	lambdaBegins = 5
	batchSize    = 10
	maxReceives  = 5
)

func TestAHundredSecretsRotatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, all)
		var services []string
		for i := range functions {
			services = append(services, "payments-"+string(rune('a'+i)))
			for range perEach {
				w.newEnvironment(services[i], uses)
			}
		}
		if err := w.broadcaster(services).Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		for e, c := range w.everybody() {
			e.wantFetches(c, e.cached, "warming up")
		}

		changed := map[string]bool{}
		for _, i := range w.random.Perm(all)[:rotated] {
			changed[w.names[i]] = true
		}
		w.rotate(keys(changed))
		w.broadcast(services)
		pushed := w.costs() // of the environments that got a push

		time.Sleep(secretcache.DefaultCheckEvery + time.Millisecond)
		after := w.everybody()
		refetches, reads := 0, summary{}
		for e, c := range after {
			mine := map[string]bool{}
			for name := range e.cached {
				if changed[name] {
					mine[name] = true
				}
			}
			early := pushed[e]
			for name, n := range early.fetches { // a push may have had it fetched already
				if c.fetches == nil {
					c.fetches = map[string]int{}
				}
				c.fetches[name] += n
			}
			e.wantFetches(c, mine, "after the rotation")
			refetches += len(mine)
			reads.add(c)
			if w.pushed[e] == 0 && early.checks+early.reports+len(early.fetches) > 0 {
				t.Errorf("an environment that nobody invoked asked AWS for %+v", early)
			}
			if early.checks > w.pushed[e] {
				t.Errorf("%d pushes cost %d checks, want one each at the most", w.pushed[e], early.checks)
			}
			if c.checks != 1 {
				t.Errorf("an environment checked %d times for one event, want 1", c.checks)
			}
		}
		if len(w.pushed) != functions {
			t.Errorf("%d environments were pushed to, want one of each of %d functions", len(w.pushed), functions)
		}
		store := dynamodb.New(w.client, changesTable, operationsTable)
		head, err := store.Row(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if open, err := store.Open(t.Context()); err != nil || len(open) > 0 {
			t.Errorf("fan-outs left open: %v, %v", open, err)
		}
		t.Logf("%d events told of %d rotations: %d describes, %d revisions; %d of %d pairs of environment and cached secret refetched, each once",
			2*rotated, rotated, w.described.Load(), head.Revision-1, refetches, len(w.fleet)*uses)
		t.Logf("checks after it: %d, at most %v read units each, %.1f on average", reads.checks, reads.most, reads.units/float64(reads.checks))

		time.Sleep(secretcache.DefaultCheckEvery - 2*time.Millisecond)
		for e, c := range w.everybody() {
			e.wantFetches(c, nil, "reading again")
			if c.checks != 0 {
				t.Errorf("an environment checked %d times although its check is young", c.checks)
			}
		}
		time.Sleep(secretcache.DefaultCheckEvery + time.Millisecond)
		for e, c := range w.everybody() {
			e.wantFetches(c, nil, "when nothing has changed")
			if c.checks != 1 || c.units != 1 {
				t.Errorf("a check that finds nothing new took %d reads and %v units, want 1 and 1", c.checks, c.units)
			}
		}
	})
}

// wantFetches: each of some secrets was fetched once, and no other.
func (e *environment) wantFetches(c cost, names map[string]bool, when string) {
	e.w.t.Helper()
	if diff := cmp.Diff(onceEach(names), c.fetches); diff != "" {
		e.w.t.Errorf("%s, an environment of %s fetched (-want +got):\n%s", when, e.service, diff)
	}
}

// summary adds up checks.
type summary struct {
	checks      int
	units, most float64
}

func (s *summary) add(c cost) {
	s.checks += c.checks
	s.units += c.units
	s.most = max(s.most, c.units)
}

func keys(set map[string]bool) []string {
	all := make([]string, 0, len(set))
	for key := range set {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

// broadcast hands what was told to broadcasters, in any order, in batches as a queue's are and several at once; what is not
// confirmed comes back. Each delivers after its batch.
func (w *world) broadcast(services []string) {
	w.t.Helper()
	w.random.Shuffle(len(w.told), func(i, j int) { w.told[i], w.told[j] = w.told[j], w.told[i] })
	var (
		wg       sync.WaitGroup
		messages = make(chan int, len(w.told))
	)
	for i := 0; i < len(w.told); i += batchSize {
		messages <- i
	}
	close(messages)
	for range lambdaBegins {
		wg.Go(func() {
			b := w.broadcaster(services)
			for i := range messages {
				w.confirm(b, w.told[i:min(i+batchSize, len(w.told))])
				if err := b.Deliver(w.t.Context()); err != nil {
					w.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// confirm confirms signals, which come back until they are.
func (w *world) confirm(b *invalidation.Broadcaster, signals []events.Signal) {
	for range maxReceives {
		handled, err := b.Confirm(w.t.Context(), signals)
		var left []events.Signal
		for i, how := range handled {
			if how == invalidation.Failed {
				left = append(left, signals[i])
			}
		}
		if signals = left; len(left) == 0 {
			return
		}
		w.t.Logf("%d of a batch come back: %v", len(left), err)
	}
	w.t.Errorf("%d events would be dead letters", len(signals))
}
