package invalidation

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// ErrElsewhere says that the secret is another domain's, account's or Region's.
var ErrElsewhere = errors.New("the secret is of another domain, account or Region")

// An Announcement is what the log says of a secret after it was announced by hand, or would say.
type Announcement struct {
	// Position is of the revision that tells of the secret; zero if none does, or of one that is not appended.
	Position
	Name  string `json:"name"`
	State State  `json:"state"`
	// Change is what was appended: whatever had changed, or a refresh. Nil if the secret is not active: then there is nothing
	// to fetch again.
	Change *wire.Change `json:"change,omitempty"`
}

// Announce makes the log tell of a secret now, also if nothing has changed: then of the same version, to be fetched again. The
// signal says which secret, and by whom it was told; by is recorded first. What is appended is still to be delivered.
func (b *Broadcaster) Announce(ctx context.Context, s events.Signal, by Command) (Announcement, error) {
	if b.elsewhere(s) {
		return Announcement{}, ErrElsewhere
	}
	by.About = cut(cmp.Or(s.Name, s.ARN))
	if err := b.cfg.Control.RecordCommand(ctx, by); err != nil {
		return Announcement{}, err
	}
	t, name, err := b.announcing(ctx, s)
	if err != nil {
		return Announcement{}, err
	}
	within, cancel := context.WithTimeout(ctx, b.cfg.ConfirmWithin)
	defer cancel()
	t.run(within)
	if t.handled[0] == Failed {
		return Announcement{}, fmt.Errorf("%w: try again in a minute", errors.Join(t.problems...))
	}
	is, err := b.cfg.Log.Load(ctx, []string{name})
	if err != nil {
		return Announcement{}, fmt.Errorf("reading what was announced: %w", err)
	}
	known, found := is.Secrets[name]
	if !found {
		return Announcement{}, fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	a := Announcement{Name: name, State: known.State}
	if known.Revision == 0 {
		return a, nil
	}
	row, err := b.cfg.Log.Row(ctx, known.Revision)
	if err != nil {
		return Announcement{}, fmt.Errorf("reading what was announced: %w", err)
	}
	a.Position = Position{row.Revision, row.Hash}
	for _, c := range row.Changes {
		if c.Name == name && t.handled[0] == Appended {
			a.Change = &c
		}
	}
	return a, nil
}

// WouldAnnounce returns what Announce would come to, and writes nothing.
func (b *Broadcaster) WouldAnnounce(ctx context.Context, s events.Signal) (Announcement, error) {
	if b.elsewhere(s) {
		return Announcement{}, ErrElsewhere
	}
	t, name, err := b.announcing(ctx, s)
	if err != nil {
		return Announcement{}, err
	}
	snapshot, err := b.cfg.Log.Load(ctx, []string{name})
	if err != nil {
		return Announcement{}, fmt.Errorf("reading what is known of %s: %w", name, err)
	}
	is := b.describe(ctx, []string{name})[name]
	known := snapshot.Secrets[name]
	known.Name = name
	switch {
	case is.err != nil:
		return Announcement{}, is.err
	case !is.found && known.Sequence == 0:
		return Announcement{}, fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	v, err := t.decide(ctx, known, is, s, snapshot.Head)
	switch {
	case err != nil:
		return Announcement{}, fmt.Errorf("confirming %s: %w", name, err)
	case v.again:
		return Announcement{}, fmt.Errorf("confirming %s: %w: try again in a minute", name, errBehind)
	}
	if v.row != nil {
		known = *v.row
	}
	a := Announcement{Position: Position{Revision: known.Revision}, Name: name, State: known.State, Change: v.change}
	if v.change != nil {
		a.Revision = snapshot.Head.Revision + 1
	}
	return a, nil
}

// announcing returns the batch that announces a signal's secret, and the secret's name.
func (b *Broadcaster) announcing(ctx context.Context, s events.Signal) (*batch, string, error) {
	name, _, err := b.nameOf(ctx, s)
	if err != nil {
		return nil, "", err
	}
	return &batch{
		b: b, signals: []events.Signal{s}, handled: make([]Handling, 1), pending: map[string][]int{name: {0}}, looked: map[string]int{},
		received: b.cfg.Now(), announce: true,
	}, name, nil
}
