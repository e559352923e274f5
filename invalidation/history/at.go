package history

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Then is how a secret stood at a time.
type Then struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
	// Revision is of the newest change that the log told of then; 0 if it told of none. Then Version is known only if it has not
	// changed since.
	Revision int64     `json:"revision"`
	Kind     wire.Kind `json:"kind,omitempty"`
	Version  string    `json:"version,omitempty"`
	Appended time.Time `json:"appended,omitzero"`
	// Applied are the services each of whose deliveries had been acknowledged by then, Others the rest of those that are
	// subscribed. Environments tell only how they stand now, so what is not delivered is not known of the past.
	Applied []string `json:"applied"`
	Others  []string `json:"others"`
}

// At returns how a secret stood at a time, as the log told, or ErrUnknown.
func (r *Reader) At(ctx context.Context, name string, at time.Time) (Then, error) {
	snapshot, err := r.cfg.Store.Load(ctx, []string{name})
	if err != nil {
		return Then{}, err
	}
	secret, known := snapshot.Secrets[name]
	if !known {
		return Then{}, fmt.Errorf("the secret %s is %w", name, ErrUnknown)
	}
	then := Then{Name: name, At: at, Applied: []string{}, Others: []string{}}
	row, change, found, err := r.newestBefore(ctx, name, at)
	if err != nil {
		return then, err
	}
	if !found {
		if secret.Revision == 0 && !secret.Changed.After(at) {
			then.Version = secret.Current
		}
		return then, nil
	}
	then.Revision, then.Kind, then.Version, then.Appended = row.Revision, change.Kind, change.VersionID, row.Time
	for d, err := range r.cfg.Store.Outcomes(ctx, row.Revision, "") { // by service: those of one stand together
		if err != nil {
			return then, err
		}
		if d.Hash != row.Hash {
			continue
		}
		if d.Outcome == invalidation.Acknowledged && !d.Time.After(at) {
			then.Applied = append(then.Applied, d.Subscription)
		} else {
			then.Others = append(then.Others, d.Subscription)
		}
	}
	slices.SortFunc(then.Others, strings.Compare)
	slices.SortFunc(then.Applied, strings.Compare)
	then.Others, then.Applied = slices.Compact(then.Others), slices.Compact(then.Applied)
	then.Applied = slices.DeleteFunc(then.Applied, func(service string) bool { return slices.Contains(then.Others, service) })
	return then, nil
}

// newestBefore returns the newest row that was appended by a time and tells of a secret.
func (r *Reader) newestBefore(ctx context.Context, name string, at time.Time) (Row, wire.Change, bool, error) {
	after, err := r.firstSince(ctx, at.Add(2*Skew)) // all rows from there on are later
	if err != nil {
		return Row{}, wire.Change{}, false, err
	}
	for row, err := range r.cfg.Store.Rows(ctx, Span{To: after, NewestFirst: true}) {
		if err != nil {
			return Row{}, wire.Change{}, false, err
		}
		if change, ok := row.change(name); ok && !row.Time.After(at) {
			return row, change, true, nil
		}
	}
	return Row{}, wire.Change{}, false, nil
}
