package invalidation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	// listLag is how old what ListSecrets shows may be
	// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html).
	listLag = 5 * time.Minute
	// fullEvery is how often every secret is described, not only those that the list shows as changed.
	fullEvery = 24 * time.Hour
	// ReconcileDetailType is what the audit record of a change has that no event told of.
	ReconcileDetailType = "Reconcile"
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
	// Completed is when the last one began that looked at everything that was suspect.
	Completed time.Time `json:"completed,omitzero"`
	// Full is when the last completed pass over all secrets began, FullBegan when the one under way did, and FullTo the name
	// up to which that has come: a pass may take several reconciles.
	Full      time.Time `json:"full,omitzero"`
	FullBegan time.Time `json:"fullBegan,omitzero"`
	FullTo    string    `json:"fullTo,omitempty"`
}

// Sweeps keeps what reconciling and resuming need beside the log.
type Sweeps interface {
	// Secrets returns the row of every secret.
	Secrets(ctx context.Context) ([]SecretRow, error)
	// Progress returns how far reconciling has come.
	Progress(ctx context.Context) (Progress, error)
	// SaveProgress writes it. The last one wins: several at once do no harm.
	SaveProgress(ctx context.Context, p Progress) error
	// ClaimResume reports whether whoever asks is to have the broadcaster invoked at due: nobody has claimed a time between
	// now and then.
	ClaimResume(ctx context.Context, now, due time.Time) (bool, error)
}

// Reconciled is what a reconcile came to.
type Reconciled struct {
	Listed    int // secrets that Secrets Manager has
	Described int
	Found     int // changes whose events never came: each has its revision now
	Failed    int // secrets of which Secrets Manager did not say how they are: they stay suspect
	Full      bool
	Completed bool // everything that was suspect has been looked at, but for known secrets that failed
	// Reports are what the domain's environments have reported; nil if that could not be read.
	Reports []wire.Report
}

// Reconcile finds changes whose events never came and appends them. It describes what is suspect: what the list shows as
// changed, and what is known and not listed. Then, once a day, it describes everything else, going on where the last
// reconcile stopped. A secret that is not known yet is written down without a revision, unless it changed since reconciling
// began: a first deployment does not announce what has been there for long. It returns when everything is done or ctx ends;
// what is left is for the next one.
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
	reports, err := b.cfg.Audience.reports.All(ctx)
	if err != nil {
		return Reconciled{}, fmt.Errorf("reading which secrets are in use: %w", err)
	}
	if reports == nil {
		reports = []wire.Report{} // nil would say that they could not be read
	}
	suspects, others, listed, err := b.suspects(ctx, inUse(reports))
	if err != nil {
		return Reconciled{Reports: reports}, err
	}
	sweep := &sweep{b: b, began: began, news: progress.news()}
	sweep.Reports = reports
	sweep.Listed = listed
	_, err = sweep.confirm(ctx, suspects)
	if err == nil {
		if sweep.Completed = sweep.unknown == 0; sweep.Completed { // else what is not known yet may be news
			progress.Completed = began
		}
		err = sweep.full(ctx, others, &progress)
	}
	if saveErr := b.cfg.Sweeps.SaveProgress(context.WithoutCancel(ctx), progress); saveErr != nil {
		err = errors.Join(err, fmt.Errorf("writing how far reconciling has come: %w", saveErr))
	}
	return sweep.Reconciled, err
}

// A sweep is one reconcile under way.
type sweep struct {
	Reconciled
	b           *Broadcaster
	began, news time.Time
	unknown     int // of the failed ones, how many have no row yet
}

// full goes on with the pass over all secrets, if one is due or under way.
func (s *sweep) full(ctx context.Context, names []string, p *Progress) error {
	switch {
	case p.Full.IsZero(): // until now everything was suspect: all that is known has been described since the first began
		p.Full, s.Full = p.First, true
		return nil
	case !p.FullBegan.IsZero():
	case s.began.Sub(p.Full) < fullEvery:
		return nil
	default:
		p.FullBegan = s.began
	}
	s.Full = true
	left := names[sort.SearchStrings(names, p.FullTo+"\x00"):]
	to, err := s.confirm(ctx, left)
	if to != "" {
		p.FullTo = to
	}
	if err == nil {
		p.Full, p.FullBegan, p.FullTo = p.FullBegan, time.Time{}, ""
	}
	return err
}

// news is from when on a change of a secret that is not known yet is to be announced. Whatever changed before was there at
// the last look, but for what the list did not show yet.
func (p Progress) news() time.Time {
	if p.Completed.IsZero() {
		return p.First
	}
	return p.Completed.Add(-listLag)
}

// suspects returns the names to describe at once, those of all other secrets, both sorted, and how many are listed.
func (b *Broadcaster) suspects(ctx context.Context, inUse []string) (suspects, others []string, listed int, err error) {
	rows, err := b.cfg.Sweeps.Secrets(ctx) // before the head: no row claims a later revision
	if err != nil {
		return nil, nil, 0, fmt.Errorf("reading all secrets' rows: %w", err)
	}
	snapshot, err := b.cfg.Log.Load(ctx, nil)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("loading the head: %w", err)
	}
	prefix := wire.NamePrefix(b.cfg.Env, b.cfg.Domain)
	all, err := b.cfg.Lister.List(ctx, prefix)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("listing secrets: %w", err)
	}
	known, suspect, there := map[string]SecretRow{}, map[string]bool{}, map[string]bool{}
	for _, row := range rows {
		known[row.Name] = row
		suspect[row.Name] = row.State != Deleted || row.suspect(snapshot.Head) // unless the list shows it as it is known
	}
	for _, l := range all {
		row := known[l.Name]
		there[l.Name] = true
		suspect[l.Name] = row.suspect(snapshot.Head) || row.changedSince(l)
	}
	for _, name := range append(inUse, b.named(ctx)...) { // what the list may not show yet
		if _, seen := suspect[name]; !seen && strings.HasPrefix(name, prefix) {
			suspect[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(suspect)) {
		switch {
		case suspect[name]:
			suspects = append(suspects, name)
		case there[name]:
			others = append(others, name)
		}
	}
	return suspects, others, len(all), nil
}

// named returns the names that the subscriptions write out. Without them, others are reconciled all the same.
func (b *Broadcaster) named(ctx context.Context) []string {
	subscriptions, err := b.cfg.Subscribed.Subscriptions(ctx)
	if err != nil {
		b.cfg.Logger.Error("reconciling without what only the subscriptions name", "error", err)
		return nil
	}
	return subscriptions.Named()
}

// inUse returns the names of the secrets that any environment holds.
func inUse(reports []wire.Report) []string {
	var names []string
	for _, r := range reports {
		for _, s := range r.Secrets {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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

// confirm confirms names in their order, and returns the last one that it has come to. That Secrets Manager's answer about
// some may be too old, or that it gave none, is no error: they stay suspect.
func (s *sweep) confirm(ctx context.Context, names []string) (to string, err error) {
	for chunk := range slices.Chunk(names, perRound) {
		if ctx.Err() != nil {
			return to, ctx.Err()
		}
		t := s.batch(chunk)
		t.run(ctx)
		s.Described += len(chunk)
		for i, signal := range t.signals {
			if t.handled[i] == Appended {
				s.Found++
				s.b.cfg.Logger.Warn("a change whose event never came", "secret", signal.Name)
			}
		}
		for _, problem := range t.problems {
			var missing undescribed
			switch {
			case errors.Is(problem, errBehind):
			case errors.As(problem, &missing) && ctx.Err() == nil:
				s.Failed++
				s.b.cfg.Logger.Error("a secret cannot be described", "secret", missing.name, "error", missing.err)
				if !t.seen[missing.name] {
					s.unknown++
				}
			default:
				err = errors.Join(err, problem)
			}
		}
		if err != nil {
			return to, err
		}
		to = chunk[len(chunk)-1]
	}
	return to, nil
}

// batch asks for the secrets as an event about each would.
func (s *sweep) batch(names []string) *batch {
	t := &batch{
		b: s.b, handled: make([]Handling, len(names)), pending: map[string][]int{}, looked: map[string]int{}, seen: map[string]bool{},
		received: s.b.cfg.Now(), news: s.news,
	}
	for i, name := range names {
		t.signals = append(t.signals, events.Signal{
			Kind: events.Check, Name: name, Env: s.b.cfg.Env, Domain: s.b.cfg.Domain, Time: s.began,
			EventID: "reconcile-" + s.began.Format(time.RFC3339), DetailType: ReconcileDetailType,
		})
		t.pending[name] = []int{i}
	}
	return t
}
