package secrets

import (
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// track is the history of one name: every state since it was first used, with
// nil where there was no such secret.
type track struct {
	moments []moment
	changed time.Time // of the last change, also if that removed the secret
	arn     string    // of the last secret
}

// moment is when a state began.
type moment struct {
	since time.Time
	state *state
}

// newest is the state after the last change.
func (t *track) newest() *state { return t.moments[len(t.moments)-1].state }

// at is the state at that time.
func (t *track) at(when time.Time) *state {
	after := sort.Search(len(t.moments), func(i int) bool { return t.moments[i].since.After(when) })
	if after == 0 {
		return nil
	}
	return t.moments[after-1].state
}

// record makes a state (nil: none) the newest of a name and returns the events
// of its label moves. The caller holds the lock.
func (m *Manager) record(name string, now time.Time, s *state) []LabelUpdated {
	t := m.tracks[name]
	if t == nil {
		t = &track{moments: []moment{{}}}
		m.tracks[name] = t
	}
	before := t.newest()
	// A clock that went back must not reorder the history.
	if last := t.moments[len(t.moments)-1].since; now.Before(last) {
		now = last
	}
	if m.cfg.Lag == nil {
		if before != nil {
			delete(m.names, before.arn)
		}
		t.moments = t.moments[:0]
	}
	t.moments = append(t.moments, moment{now, s})
	if s == nil {
		t.changed = later(now, t.changed)
		return nil
	}
	t.changed, t.arn = s.changed, s.arn
	m.names[s.arn] = name
	if before == nil || before.arn != s.arn {
		return nil
	}
	return moves(before, s)
}

// moves are the labels that went to another version, but for the two that
// Secrets Manager is silent about.
func moves(before, after *state) []LabelUpdated {
	var out []LabelUpdated
	for _, label := range slices.Sorted(maps.Keys(after.labels)) {
		to := after.labels[label]
		if to != before.labels[label] && label != Pending && label != Previous {
			out = append(out, LabelUpdated{ARN: after.arn, Name: after.name, Label: label, VersionID: to, Time: after.changed})
		}
	}
	return out
}

// Prune forgets what only a read from before that time could still see. A
// caller whose longest Lag is an hour may prune up to an hour ago.
func (m *Manager) Prune(before time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.names)
	for name, t := range m.tracks {
		first := 0
		for first+1 < len(t.moments) && !t.moments[first+1].since.After(before) {
			first++
		}
		t.moments = slices.Clone(t.moments[first:])
		for _, mo := range t.moments {
			if mo.state != nil {
				m.names[mo.state.arn] = name
			}
		}
	}
}

// nameOf is the name that a SecretId means: itself, or that of an ARN. An
// exact full ARN wins over an ARN without suffix, since a name may itself end
// in a hyphen and six characters. An ARN of elsewhere has no name here.
func (m *Manager) nameOf(id string) (name string, exact bool) {
	if name, ok := m.names[id]; ok {
		return name, true
	}
	if rest, ok := strings.CutPrefix(id, m.prefix); ok {
		return rest, false
	}
	if strings.HasPrefix(id, "arn:") {
		return "", false
	}
	return id, false
}

// find is the state that a SecretId means: the newest, or the one at a time if
// that is not zero. It is nil if there is none. The caller holds the lock.
func (m *Manager) find(id string, at time.Time) *state {
	name, exact := m.nameOf(id)
	s := m.stateOf(name, at)
	if exact && (s == nil || s.arn != id) {
		// The secret of that ARN is not there, but its last seven characters may
		// be part of another's name.
		s = m.stateOf(strings.TrimPrefix(id, m.prefix), at)
	}
	return s
}

func (m *Manager) stateOf(name string, at time.Time) *state {
	t := m.tracks[name]
	if t == nil {
		return nil
	}
	s := t.newest()
	if at.IsZero() {
		at = m.cfg.Now()
	} else {
		s = t.at(at)
	}
	if s == nil || s.gone(at) {
		return nil
	}
	return s
}

// read is find for a read that may lag.
func (m *Manager) read(kind ReadKind, id string) *state {
	at := m.moment(kind, id)
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.find(id, at)
}

// moment is the time that a read is answered from; zero is the newest state.
func (m *Manager) moment(kind ReadKind, id string) time.Time {
	if m.cfg.Lag == nil {
		return time.Time{}
	}
	m.mu.RLock()
	name, _ := m.nameOf(id)
	m.mu.RUnlock()
	if lag := m.cfg.Lag(Read{Kind: kind, Name: name}); lag > 0 {
		return m.cfg.Now().Add(-lag)
	}
	return time.Time{}
}
