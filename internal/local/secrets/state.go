package secrets

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	maxDeprecated = 100 // versions without a label that are kept
	maxLabels     = 20  // on one version
)

// state is a secret between two changes. It is never changed once it is part
// of a history; a change makes another one.
type state struct {
	arn, name, description string
	created, changed       time.Time
	deleted, purge         time.Time // of a scheduled deletion, else zero
	versions               map[string]*version
	labels                 map[string]string // label to version id: one version each
	nextSeq                int
}

// version is one value. It is never changed.
type version struct {
	id      string
	seq     int // in the order of making, which times do not always tell
	created time.Time
	value
}

// value is a string or bytes, not both; the zero value is none.
type value struct {
	text   string
	binary []byte
}

func (v value) empty() bool { return v.text == "" && v.binary == nil }

func (v value) equal(other value) bool {
	return v.text == other.text && bytes.Equal(v.binary, other.binary)
}

// next is a copy to be changed, with its time of change: the clock's
// millisecond, or one after the last change if that is not later.
func (s *state) next(now time.Time) *state {
	out := *s
	out.versions = maps.Clone(s.versions)
	out.labels = maps.Clone(s.labels)
	out.changed = later(now, s.changed)
	return &out
}

// later is the time in milliseconds, but after the other.
func later(now, than time.Time) time.Time {
	now = now.UTC().Truncate(time.Millisecond)
	if now.After(than) {
		return now
	}
	return than.Add(time.Millisecond)
}

// add makes a version. It carries no label yet.
func (s *state) add(id string, v value) {
	s.versions[id] = &version{id: id, seq: s.nextSeq, created: s.changed, value: v}
	s.nextSeq++
}

// gone reports whether a scheduled deletion has been carried out by then.
func (s *state) gone(at time.Time) bool {
	return !s.purge.IsZero() && !at.Before(s.purge)
}

// stages are the labels of a version, in alphabetical order.
func (s *state) stages(id string) []string {
	out := []string{}
	for label, at := range s.labels {
		if at == id {
			out = append(out, label)
		}
	}
	slices.Sort(out)
	return out
}

// allStages are the labels of every version that has one.
func (s *state) allStages() map[string][]string {
	out := make(map[string][]string)
	for _, id := range s.labels {
		if out[id] == nil {
			out[id] = s.stages(id)
		}
	}
	return out
}

// dropDeprecated forgets the oldest versions without a label once there are
// more than AWS keeps.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html#term_version
func (s *state) dropDeprecated() {
	if len(s.versions) <= maxDeprecated {
		return
	}
	labelled := make(map[string]bool, len(s.labels))
	for _, id := range s.labels {
		labelled[id] = true
	}
	var deprecated []*version
	for id, v := range s.versions {
		if !labelled[id] {
			deprecated = append(deprecated, v)
		}
	}
	slices.SortFunc(deprecated, func(a, b *version) int { return cmp.Compare(a.seq, b.seq) })
	for _, v := range deprecated[:max(0, len(deprecated)-maxDeprecated)] {
		delete(s.versions, v.id)
	}
}
