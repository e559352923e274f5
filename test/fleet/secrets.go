package fleet

import (
	"errors"
	"fmt"
	"maps"
	"sort"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// state is one secret at one time.
type state struct {
	at                time.Time
	exists, deleted   bool
	arn               string
	current, previous string
	versions          map[string]time.Time
}

type secretsManager struct {
	w  *world
	mu sync.Mutex
	n  int
	s  map[string][]state
}

func newSecretsManager(w *world) *secretsManager {
	return &secretsManager{w: w, s: map[string][]state{}}
}

func (m *secretsManager) last(name string) state {
	if s := m.s[name]; len(s) > 0 {
		return s[len(s)-1]
	}
	return state{}
}

func (m *secretsManager) next(name string) state {
	st := m.last(name)
	at := time.Now().UTC().Truncate(time.Millisecond)
	if !at.After(st.at) {
		at = st.at.Add(time.Millisecond)
	}
	st.at = at
	return st
}

func (m *secretsManager) commit(name string, st state) {
	m.s[name] = append(m.s[name], st)
	version := st.current
	if !st.exists || st.deleted {
		version = ""
	}
	m.w.mu.Lock()
	m.w.history.happened(name, st.at, version)
	m.w.mu.Unlock()
}

func (m *secretsManager) putVersion(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.next(name)
	if st.deleted {
		return false
	}
	if !st.exists {
		m.n++
		st = state{at: st.at, exists: true, arn: fmt.Sprintf("arn:aws:secretsmanager:eu-west-2:111122223333:secret:%s-%06d", name, m.n)}
	}
	m.n++
	v := fmt.Sprintf("v%d", m.n)
	st.versions = maps.Clone(st.versions)
	if st.versions == nil {
		st.versions = map[string]time.Time{}
	}
	st.versions[v] = st.at
	st.previous, st.current = st.current, v
	m.commit(name, st)
	return true
}

func (m *secretsManager) put(name string) {
	if m.putVersion(name) {
		m.w.announce(name, events.Moved)
	}
}
func (m *secretsManager) putQuietly(name string)    { m.putVersion(name) }
func (m *secretsManager) createQuietly(name string) { m.putVersion(name) }
func (m *secretsManager) exists(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last(name).exists
}

func (m *secretsManager) rollback(name string) {
	m.mu.Lock()
	st := m.next(name)
	if !st.exists || st.deleted || st.previous == "" {
		m.mu.Unlock()
		return
	}
	st.current, st.previous = st.previous, st.current
	m.commit(name, st)
	m.mu.Unlock()
	m.w.announce(name, events.Moved)
}

func (m *secretsManager) delete(name string, force bool) {
	m.mu.Lock()
	st := m.next(name)
	if !st.exists || st.deleted {
		m.mu.Unlock()
		return
	}
	if force {
		st = state{at: st.at}
	} else {
		st.deleted = true
	}
	m.commit(name, st)
	m.mu.Unlock()
	m.w.announce(name, events.Deleted)
}

func (m *secretsManager) restore(name string) {
	m.mu.Lock()
	st := m.next(name)
	if !st.exists || !st.deleted {
		m.mu.Unlock()
		return
	}
	st.deleted = false
	m.commit(name, st)
	m.mu.Unlock()
	m.w.announce(name, events.Restored)
}

func (m *secretsManager) recreate(name string) {
	m.mu.Lock()
	st := m.next(name)
	if st.exists {
		m.commit(name, state{at: st.at})
	}
	m.mu.Unlock()
	m.putVersion(name)
	m.w.announce(name, events.Moved)
}

func (m *secretsManager) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for n := range m.s {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

func (m *secretsManager) asOf(name string, lag time.Duration) state {
	t := time.Now().Add(-lag)
	s := m.s[name]
	for i := len(s) - 1; i >= 0; i-- {
		if lag == 0 || !s[i].at.After(t) {
			return s[i]
		}
	}
	return state{}
}

func (m *secretsManager) describe(name string, lag time.Duration) (invalidation.Description, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.asOf(name, lag)
	if !st.exists {
		return invalidation.Description{}, invalidation.ErrNotFound
	}
	return invalidation.Description{ARN: st.arn, Current: st.current, Previous: st.previous, LastChanged: st.at, Deleted: st.deleted}, nil
}

func (m *secretsManager) get(e *environment, name, version string) (secretcache.Fetched, error) {
	kind := "label"
	if version != "" {
		kind = "version"
	}
	lag := time.Duration(0)
	if most := e.w.faults.lagOf(kind); most > 0 && e.roll(4) > 0 {
		lag = e.upTo(most)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.asOf(name, lag)
	switch {
	case !st.exists:
		return secretcache.Fetched{}, errors.Join(secretcache.ErrNotFound)
	case st.deleted:
		return secretcache.Fetched{}, errors.Join(secretcache.ErrDeleted)
	}
	if version == "" {
		version = st.current
	}
	created, ok := st.versions[version]
	if !ok {
		return secretcache.Fetched{}, errors.Join(secretcache.ErrNotFound)
	}
	return secretcache.Fetched{Name: name, ARN: st.arn, VersionID: version, Created: created, Text: canary + name + version}, nil
}
