// Package fleet is a randomised model of everything around the change log: environments that are busy, frozen, thawed,
// born and gone, broadcasters that race, pushes that get lost, doubled, late and forged, a Secrets Manager that answers
// with older states, tables that are restored, clocks that stand still or jump. The client and the append in it are the
// real ones; time is testing/synctest's. The invariants are the guarantees of the design, and stand once, in judge.go.
package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	env    = "prod"
	domain = "payments"
	canary = "canary-4711" // part of every secret's value
)

// A world is one run.
type world struct {
	plan      plan
	newClient newClient
	started   time.Time
	logger    *slog.Logger
	tables    *tables.Tables
	store     *dynamodb.Store
	log       tableLog
	secrets   *secretsManager
	faults    *faults

	broadcasters []*broadcaster
	background   sync.WaitGroup
	committing   sync.Mutex // held from a write of the log until the history knows of it

	mu           sync.Mutex
	environments []*environment
	born         int
	history      *history
	fetches      map[string]time.Time   // when each fetched value was asked for
	versions     map[string]bool        // that any environment has fetched
	reports      map[string]wire.Report // the newest of each environment
	promises     []promise
	underway     map[*invocation]bool
	random       *rand.Rand      // the world's own
	answered     map[string]bool // by the hashes of rows
	counts       map[happening]int
	over         bool // the run is settling: nothing breaks any more
	epoch        int  // how often the tables were restored
	backup       *backup
	violations   []string
}

type backup struct {
	tables tables.Snapshot
	rows   int
}

func newWorld(p plan, clients newClient) *world {
	w := &world{
		plan: p, newClient: clients, started: time.Now(), faults: &faults{started: time.Now()}, history: newHistory(), fetches: map[string]time.Time{},
		versions: map[string]bool{}, reports: map[string]wire.Report{}, underway: map[*invocation]bool{},
		answered: map[string]bool{}, counts: map[happening]int{},
		random: rand.New(rand.NewPCG(p.Seed, 1)),
	}
	w.logger = slog.New(slog.NewTextHandler(scanner{w}, nil))
	w.tables, w.store, w.log = newTables()
	w.secrets = newSecretsManager(w)
	for id := range 2 {
		w.broadcasters = append(w.broadcasters, newBroadcaster(w, id))
	}
	if err := w.broadcasters[0].b.Begin(context.Background()); err != nil {
		panic(err)
	}
	for i := range p.Names {
		w.secrets.put(name(i))
	}
	for range p.Environments {
		w.birth()
	}
	return w
}

// name returns the name of the i-th secret.
func name(i int) string { return fmt.Sprintf("/bank/%s/%s/api/key-%d", env, domain, i) }

// scanner is where everything logs to.
type scanner struct{ w *world }

func (s scanner) Write(line []byte) (int, error) {
	s.w.scan(string(line))
	return len(line), nil
}

func (w *world) since(t time.Time) time.Duration { return t.Sub(w.started).Round(time.Millisecond) }

func (w *world) violate(which invariant, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violateLocked(which, format, args...)
}

func (w *world) violateLocked(which invariant, format string, args ...any) {
	if len(w.violations) < 5 {
		w.violations = append(w.violations, fmt.Sprintf("%s: ", which)+fmt.Sprintf(format, args...))
	}
}

// fetched returns a value's text made unique, and remembers when it was asked for.
func (w *world) fetched(text, version string, sent time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text = fmt.Sprintf("%s#%d", text, len(w.fetches))
	w.fetches[text] = sent
	w.versions[version] = true
	return text
}

func (w *world) appended(row wire.Row) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judgeRow(row)
	w.history.appended(row, time.Now())
}

// later runs f after a while.
func (w *world) later(after time.Duration, f func()) {
	w.background.Go(func() {
		time.Sleep(after)
		f()
	})
}

func (w *world) birth() {
	w.mu.Lock()
	id := w.born
	w.born++
	w.mu.Unlock()
	e := newEnvironment(w, id)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.environments = append(w.environments, e)
}

func (w *world) environment(i int) *environment {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.environments[i%len(w.environments)]
}

// bringForward makes the environment that was born last the i-th, and returns it.
func (w *world) bringForward(i int) *environment {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.environments) - 1
	i %= len(w.environments)
	w.environments[i], w.environments[last] = w.environments[last], w.environments[i]
	return w.environments[i]
}

// death ends an idle environment, unless it is the last.
func (w *world) death(i int) {
	w.mu.Lock()
	i %= len(w.environments)
	e := w.environments[i]
	last := len(w.environments) == 1
	w.mu.Unlock()
	if last || !e.idle() {
		return
	}
	e.mu.Lock()
	e.dead = true
	e.mu.Unlock()
	e.thaw()
	e.client.die()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[died]++
	w.environments = append(w.environments[:i:i], w.environments[i+1:]...)
}

// pushOne hands a push to one environment that has nothing to do, as Lambda does; if all are busy, to a new one.
func (w *world) pushOne(from int, payload []byte) ([]byte, error) {
	w.mu.Lock()
	n := len(w.environments)
	w.mu.Unlock()
	for i := range n {
		if e := w.environment(from + i); e.idle() {
			return w.pushTo(e, payload)
		}
	}
	w.birth()
	return w.pushTo(w.environment(n), payload)
}

func (w *world) pushTo(e *environment, payload []byte) ([]byte, error) {
	answer, err := e.push(payload)
	var ack wire.Ack
	if err == nil && json.Unmarshal(answer, &ack) == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.answered[ack.Hash] = true
	}
	return answer, err
}

// hasAnswered reports whether an environment has answered a push with one row's hash, and that row stands on the other.
func (w *world) hasAnswered(hash, on string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	answered := w.answered[hash]
	for hash != on && hash != "" {
		hash = w.history.previous[hash]
	}
	return answered && hash == on
}

// announce sends the event of a secret's newest moment on its way; it may get lost, be doubled, or go to a broadcaster
// that sees an older state. It reports whether it was sent.
func (w *world) announce(name string, kind events.Kind) (sent bool) {
	times := []int{0, 1, 1, 1, 1, 1, 2, 2}[w.roll(8)]
	w.mu.Lock()
	m := w.history.current(name)
	is := w.history.moments[name][m]
	n := notice{moment: m, epoch: w.epoch, signal: events.Signal{
		Kind: kind, Name: name, Env: env, Domain: domain, VersionID: is.version, Label: "AWSCURRENT",
		Time: is.at.Truncate(time.Second), Trusted: true, EventID: fmt.Sprintf("%s-%d", name, m), DetailType: "model",
	}}
	w.mu.Unlock()
	switch times {
	case 0:
		w.count(eventLost)
	case 2:
		w.count(eventDoubled)
	}
	for range times {
		by := w.roll(2)
		w.later(time.Duration(w.roll(3000))*time.Millisecond, func() { w.handle([]notice{n}, by) })
	}
	return times > 0
}

// told returns how far the log tells of a secret.
func (w *world) told(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.history.coveredNow(name)
}

// look returns which moment of a secret is current, when that is, and in which epoch.
func (w *world) look(name string) (moment int, at time.Time, epoch int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.history.current(name), time.Now(), w.epoch
}

func (w *world) isCurrent(name, version string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.history.moments[name][w.history.current(name)].version == version
}

// hint sends our own events: look at these secrets now. They come in batches.
func (w *world) hint(names []string, within time.Duration) {
	for batch := range slices.Chunk(names, 20) {
		notices := make([]notice, len(batch))
		for i, name := range batch {
			notices[i] = notice{moment: -1, signal: events.Signal{Kind: events.Check, Name: name, Env: env, Domain: domain, Time: time.Now()}}
		}
		by := w.roll(2)
		w.later(time.Duration(w.roll(int(within/time.Millisecond)+1))*time.Millisecond, func() { w.handle(notices, by) })
	}
}

// roll returns a number below n.
func (w *world) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

// count notes that something happened that the model is there for.
func (w *world) count(what happening) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

func (w *world) unsettled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.over
}

// save takes a backup of both tables.
func (w *world) save() {
	w.committing.Lock()
	defer w.committing.Unlock()
	snapshot, err := w.tables.Backup(changesTable, operationsTable)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backup = &backup{snapshot, len(w.history.live)}
}

// rewind restores both tables to the same moment, as the runbook says; the reconciler then looks at every secret.
func (w *world) rewind() {
	names := w.secrets.names()
	if w.restore() {
		w.hint(names, 5*time.Second)
	}
}

func (w *world) restore() bool {
	w.committing.Lock()
	defer w.committing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.backup == nil || w.backup.rows > len(w.history.live) {
		w.backup = nil
		return false
	}
	if err := w.tables.Restore(w.backup.tables); err != nil {
		panic(err)
	}
	w.epoch++
	if w.backup.rows < len(w.history.live) {
		w.counts[restoredTable]++
	}
	w.history.rewound(w.backup.rows, time.Now())
	return true
}
