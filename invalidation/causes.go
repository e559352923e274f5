package invalidation

import (
	"slices"
	"strings"
)

const (
	// maxCauses bounds what is kept of the events about one secret in one batch: an audit record is one item, of 400 KB at the
	// most (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
	maxCauses = 8
	// maxText bounds each text in it.
	maxText = 256
)

// causes returns what is kept of the events about a secret.
func (t *batch) causes(name string) []Cause {
	told := t.evidence(name)
	kept := make([]Cause, 0, min(len(told), maxCauses))
	for _, s := range told[:min(len(told), maxCauses)] {
		kept = append(kept, Cause{
			EventID: cut(s.EventID), DetailType: cut(s.DetailType), Actor: cut(s.Actor), Replay: cut(s.Replay),
			EventTime: s.Time, Received: t.received.UTC(),
		})
	}
	kept[len(kept)-1].More = len(told) - len(kept)
	return kept
}

// EventIDs are the events that made the revision, each once: what follows a change from its event to its acks. Of more than
// one row has room for changes the audit record alone has the rest.
func (a Append) EventIDs() []string {
	ids := []string{}
	for _, c := range a.Causes {
		if len(ids) < maxPerRow && c.EventID != "" && !slices.Contains(ids, c.EventID) {
			ids = append(ids, c.EventID)
		}
	}
	return ids
}

// cut bounds a text of somebody else's.
func cut(text string) string { return cutTo(text, maxText) }

func cutTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
