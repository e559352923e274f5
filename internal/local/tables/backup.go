package tables

import (
	"fmt"
	"maps"
	"slices"
)

// Snapshot is the content of some tables at one moment. It is immutable and
// may be restored any number of times, also to other Tables. The zero value
// holds no table.
type Snapshot struct{ tables []dump }

// Backup copies the named tables, all at the same moment. The error wraps
// ErrUnknownTable if one is not there.
func (t *Tables) Backup(names ...string) (Snapshot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out Snapshot
	for _, name := range names {
		tbl, ok := t.tables[name]
		if !ok {
			return Snapshot{}, fmt.Errorf("backing up %q: %w", name, ErrUnknownTable)
		}
		d := dump{Spec: tbl.spec, Items: make([]item, 0, tbl.count)}
		for _, hash := range slices.Sorted(maps.Keys(tbl.partitions)) {
			for _, r := range tbl.partitions[hash] {
				d.Items = append(d.Items, r.item)
			}
		}
		out.tables = append(out.tables, d)
	}
	return out, nil
}

// Restore replaces each table of the snapshot by what the snapshot holds, all
// at the same moment, and leaves other tables alone. It is what a
// point-in-time recovery gives once the restored table has taken the old one's
// name: the items of that moment, a new creation time, and no time to live.
// ClientRequestTokens stay used.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery.Tutorial.html
func (t *Tables) Restore(s Snapshot) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("restoring tables: %w", errClosed)
	}
	e := entry{Restore: slices.Clone(s.tables)}
	now := t.now()
	for i := range e.Restore {
		e.Restore[i].Spec.Created = now
	}
	if err := t.commit(e); err != nil {
		return fmt.Errorf("restoring tables: %w", err)
	}
	return nil
}

// restore makes one table what a dump says.
func (t *Tables) restore(d dump) error {
	tbl := newTable(d.Spec)
	for _, it := range d.Items {
		k, err := tbl.keyOf(it)
		if err != nil {
			return err
		}
		tbl.put(k, it)
	}
	t.tables[tbl.Name] = tbl
	return nil
}
