package invalidation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
)

const (
	// listLag is how old what ListSecrets shows may be
	// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html).
	listLag = 5 * time.Minute
	// fullEvery is how often every secret is described, not only those that the list shows as changed.
	fullEvery = 24 * time.Hour
	// reconcileDetailType is what the audit record of a change has that no event told of.
	reconcileDetailType = "Reconcile"
)

// Listed is what ListSecrets says of a secret.
type Listed struct {
	Name        string
	LastChanged time.Time
	Deleted     bool // scheduled for deletion
}

// Lister lists secrets, never their values.
type Lister interface {
	// List returns every secret whose name begins with the prefix, also those scheduled for deletion.
	List(ctx context.Context, prefix string) ([]Listed, error)
}

// Progress is how far reconciling has come. The zero Progress: never begun.
type Progress struct {
	// First is when the first reconcile began.
	First time.Time `json:"first"`
	// Completed is when the last one began that looked at everything it had to.
	Completed time.Time `json:"completed,omitzero"`
	// Full is when the last completed one began that described every secret.
	Full time.Time `json:"full,omitzero"`
}

// Sweeps keeps what reconciling needs beside the log.
type Sweeps interface {
	// Secrets returns the row of every secret.
	Secrets(ctx context.Context) ([]SecretRow, error)
	// Progress returns how far reconciling has come.
	Progress(ctx context.Context) (Progress, error)
	// SaveProgress writes it. The last one wins: several at once do no harm.
	SaveProgress(ctx context.Context, p Progress) error
}

// Reconciled is what a reconcile came to.
type Reconciled struct {
	Listed    int // secrets that Secrets Manager has
	Described int
	Found     int // changes whose events never came: each has its revision now
	Full      bool
	Completed bool // false if some could not be confirmed: the next one looks at them
}

// Reconcile finds changes whose events never came and appends them: it describes what the list shows as changed, what is
// known and not listed, and once a day everything. A secret that is not known yet is written down without a revision, unless
// it changed since reconciling began: a first deployment does not announce what has been there for long. It returns when
// everything is done or ctx ends; what is left is found by the next one.
func (b *Broadcaster) Reconcile(ctx context.Context) (Reconciled, error) {
	began := b.cfg.Now().UTC()
	progress, err := b.cfg.Sweeps.Progress(ctx)
	if err != nil {
		return Reconciled{}, fmt.Errorf("reading how far reconciling has come: %w", err)
	}
	if progress.First.IsZero() { // kept at once: the first reconcile may need several tries
		progress.First = began
		if err := b.cfg.Sweeps.SaveProgress(ctx, progress); err != nil {
			return Reconciled{}, fmt.Errorf("writing when reconciling began: %w", err)
		}
	}
	full := began.Sub(progress.Full) >= fullEvery
	names, listed, err := b.suspects(ctx, full)
	if err != nil {
		return Reconciled{}, err
	}
	result := Reconciled{Listed: listed, Described: len(names), Full: full}
	result.Found, err = b.reconfirm(ctx, names, began, progress.news())
	if err != nil {
		return result, err
	}
	result.Completed = true
	if progress.Completed = began; full {
		progress.Full = began
	}
	if err := b.cfg.Sweeps.SaveProgress(ctx, progress); err != nil {
		return result, fmt.Errorf("writing how far reconciling has come: %w", err)
	}
	return result, nil
}

// news is from when on a change of a secret that is not known yet is to be announced. Whatever changed before was there at
// the last look, but for what the list did not show yet.
func (p Progress) news() time.Time {
	if p.Completed.IsZero() {
		return p.First
	}
	return p.Completed.Add(-listLag)
}

// suspects returns the names to describe, and how many secrets there are.
func (b *Broadcaster) suspects(ctx context.Context, full bool) (names []string, listed int, err error) {
	rows, err := b.cfg.Sweeps.Secrets(ctx) // before the head: no row claims a later revision
	if err != nil {
		return nil, 0, fmt.Errorf("reading all secrets' rows: %w", err)
	}
	snapshot, err := b.cfg.Log.Load(ctx, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("loading the head: %w", err)
	}
	prefix := "/bank/" + b.cfg.Env + "/" + b.cfg.Domain + "/"
	all, err := b.cfg.Lister.List(ctx, prefix)
	if err != nil {
		return nil, 0, fmt.Errorf("listing secrets: %w", err)
	}
	inUse, err := b.cfg.Audience.reports.InUse(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("reading which secrets are in use: %w", err)
	}
	known, suspect := map[string]SecretRow{}, map[string]bool{}
	for _, row := range rows {
		known[row.Name] = row
		suspect[row.Name] = row.State != Deleted || row.suspect(snapshot.Head) // unless the list shows it as it is known
	}
	for _, l := range all {
		row := known[l.Name]
		suspect[l.Name] = full || row.suspect(snapshot.Head) || row.changedSince(l)
	}
	for _, name := range append(inUse, b.cfg.Subscriptions.Named()...) { // what the list may not show yet
		if _, seen := suspect[name]; !seen && strings.HasPrefix(name, prefix) {
			suspect[name] = true
		}
	}
	maps.DeleteFunc(suspect, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(suspect)), len(all), nil
}

// suspect: whatever the list says, the secret has to be looked at: it was not found once, or the log was restored to before
// its newest change.
func (r SecretRow) suspect(head Position) bool {
	return !r.MissingSince.IsZero() || r.Revision > head.Revision
}

// changedSince reports whether the list shows a secret that is not known, or a later state than the row's. An earlier one is
// the list's lag.
func (r SecretRow) changedSince(l Listed) bool {
	return r.Sequence == 0 || l.LastChanged.After(r.LastChanged) || l.LastChanged.Equal(r.LastChanged) && l.Deleted != (r.State == Deleted)
}

// reconfirm confirms names and returns how many changes were appended. Not being confirmed since Secrets Manager's answer
// may be too old is no error: the row says that it was asked.
func (b *Broadcaster) reconfirm(ctx context.Context, names []string, began, news time.Time) (found int, err error) {
	for chunk := range slices.Chunk(names, maxPerRow) {
		signals := make([]events.Signal, 0, len(chunk))
		pending := map[string][]int{}
		for i, name := range chunk {
			signals = append(signals, events.Signal{
				Kind: events.Check, Name: name, Env: b.cfg.Env, Domain: b.cfg.Domain, Time: began,
				EventID: "reconcile-" + began.Format(time.RFC3339), DetailType: reconcileDetailType,
			})
			pending[name] = []int{i}
		}
		t := &batch{
			b: b, signals: signals, handled: make([]Handling, len(signals)), pending: pending, looked: map[string]int{},
			received: b.cfg.Now(), news: news,
		}
		t.run(ctx)
		for i, s := range signals {
			if t.handled[i] == Appended {
				found++
				b.cfg.Logger.Warn("a change whose event never came", "secret", s.Name)
			}
		}
		for _, problem := range t.problems {
			if !errors.Is(problem, errBehind) {
				err = errors.Join(err, problem)
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return found, err
}
