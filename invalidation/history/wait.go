package history

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	// lookEvery is how long Wait waits between two looks at the least.
	lookEvery = time.Second
	// appendWithin is how much later than its row's date a row was appended at the latest: what confirming may take, and what
	// the clocks of the broadcaster and of whoever waits may differ by.
	appendWithin = 10 * time.Second
	// late is how long Secrets Manager may answer with a version of before a change.
	late = time.Minute
)

// Awaited says what Wait waits for.
type Awaited struct {
	// Name is the secret's full name.
	Name string
	// Version is the one that AWSCURRENT has to name. Empty: whatever the newest change is that the broadcaster knows of.
	Version string
	// Certain: wait until no environment can use an older version, whatever fails. Without it until every service is expected to
	// have applied the change.
	Certain bool
	// AllowNone: it is enough that nobody is subscribed to the secret.
	AllowNone bool
	// Within bounds the waiting. Zero: as long as the context.
	Within time.Duration
	// Waiting is told what a look came to before Wait goes on waiting. Nil: nobody is.
	Waiting func(Waited)
}

// Waited is what a look came to.
type Waited struct {
	Name     string    `json:"name"`
	Version  string    `json:"version,omitempty"` // that AWSCURRENT names, as far as the broadcaster knows
	Revision int64     `json:"revision"`          // 0: the change is not in the log
	Kind     wire.Kind `json:"kind,omitempty"`
	Appended time.Time `json:"appended,omitzero"`
	// Expected is from when on every service is expected to have applied the change: no read of theirs that begins then is
	// answered with an older version, but for the two exceptions of the guarantee. Zero: not before what is missing has come.
	Expected time.Time `json:"expected,omitzero"`
	// Certain is from when on no environment can use an older version: every cache has ended its time to live, and every
	// invocation that used it its timeout.
	Certain time.Time `json:"certain,omitzero"`
	// Reached: the time that was waited for has come.
	Reached bool `json:"reached"`
	// Problem says what is missing that is no service's matter.
	Problem  string     `json:"problem,omitempty"`
	Services []Awaiting `json:"services"`
	// Unsubscribed are services that the change was for and that are not subscribed any more: what became of their deliveries
	// counts for nothing. One that reports that it holds the secret is among Services all the same.
	Unsubscribed []string `json:"unsubscribed,omitempty"`
	// Assumed says what could not be found out, and what was assumed in its place.
	Assumed []string `json:"assumed,omitempty"`

	final bool // what is missing does not come by itself
}

// Awaiting is how far one service is.
type Awaiting struct {
	Service    string `json:"service"`
	Subscribed bool   `json:"subscribed"`
	// Proven: each of its functions answered the push with the new version applied. Otherwise the log tells its environments.
	Proven bool `json:"proven"`
	// Expected is from when on it is expected to have applied the change; zero while something is missing.
	Expected time.Time `json:"expected,omitzero"`
	Missing  string    `json:"missing,omitempty"`
}

// Wait waits until a change is expected to have reached every service that it concerns, or is certain to. It returns ErrNotYet,
// wrapped, if that does not come in time or not by itself; what it returns then says who is missing, and why.
//
// A service that is pushed to is expected to have applied the change once each of its functions has acknowledged it with the
// new version applied. One environment has said so then, and every other one looks into the log before it next serves: so
// nothing is expected before the log has told of the change for CheckEvery. Where no ack proves it, as of a cold environment or
// of a service that is not pushed to, the invocations that may still use an older version have to end too: the function's
// timeout passes, and no environment of the service may report that it is behind or cannot use the secret.
func (r *Reader) Wait(ctx context.Context, a Awaited) (Waited, error) {
	w := &waiter{Reader: r, awaited: a, until: r.cfg.Now().Add(a.Within), timeouts: map[string]timeout{}}
	for {
		began := r.cfg.Now()
		is, err := w.look(ctx, began)
		if err != nil {
			return is, err
		}
		target, now := is.Expected, r.cfg.Now()
		if a.Certain {
			target = is.Certain
		}
		switch {
		case is.Reached:
			return is, nil
		case is.final:
			return is, fmt.Errorf("%w, and not by itself", ErrNotYet)
		case a.Within > 0 && (!now.Before(w.until) || target.After(w.until)):
			return is, fmt.Errorf("%w: %v were given", ErrNotYet, a.Within)
		}
		again := target
		if !target.After(began) { // it is not the time that is missing: look now and then, at a large domain less often
			again = now.Add(max(lookEvery, 4*now.Sub(began)))
		}
		if a.Within > 0 && w.until.Before(again) {
			again = w.until
		}
		if a.Waiting != nil {
			a.Waiting(is)
		}
		if err := sleep(ctx, again.Sub(now)); err != nil {
			return is, fmt.Errorf("%w: %w", ErrNotYet, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A waiter is one Wait under way.
type waiter struct {
	*Reader
	awaited  Awaited
	until    time.Time
	timeouts map[string]timeout // of functions, as far as they were looked at

	holds    subscribed
	position invalidation.Position // that was looked at last
	seen     time.Time             // when it was first
}

// look reads how the change stands and judges it as of now.
func (w *waiter) look(ctx context.Context, now time.Time) (Waited, error) {
	is := Waited{Name: w.awaited.Name, Services: []Awaiting{}}
	snapshot, err := w.cfg.Store.Load(ctx, []string{w.awaited.Name})
	if err != nil {
		return is, err
	}
	secret, known := snapshot.Secrets[w.awaited.Name]
	is.Version = secret.Current
	switch {
	case !known:
		is.Problem = "the broadcaster has never seen the secret"
		return is, nil
	case w.awaited.Version != "" && w.awaited.Version != secret.Current:
		is.Problem = fmt.Sprintf("the log does not say yet that AWSCURRENT names %s", w.awaited.Version)
		return is, nil
	case secret.Revision == 0:
		is.Problem = "no change of it was announced since the broadcaster knows it: announce it with broadcaster invalidate"
		is.final = true
		return is, nil
	}
	row, found, err := rowAt(ctx, w.cfg.Store, secret.Revision)
	if err != nil {
		return is, err
	}
	change, _ := row.change(w.awaited.Name)
	switch {
	case !found:
		is.Problem = fmt.Sprintf("the log lacks revision %d, since it was restored: the next tick announces the change again", secret.Revision)
		return is, nil
	case change.VersionID != secret.Current:
		is.Problem = "the secret's newest state was written down without an announcement, as the manifest's onDelete says: caches keep it until their TTL ends"
		is.final = true
		return is, nil
	}
	is.Revision, is.Kind, is.Appended = row.Revision, change.Kind, row.Time
	if at := (invalidation.Position{Revision: row.Revision, Hash: row.Hash}); w.position != at {
		w.position, w.seen = at, w.cfg.Now()
	}
	appended := w.seen
	if latest := row.Time.Add(appendWithin); latest.Before(appended) {
		appended = latest
	}
	audience, unsubscribed, open, err := w.audience(ctx, row, change, snapshot.Head.Revision)
	if err != nil {
		return is, err
	}
	is.Unsubscribed = unsubscribed
	w.judge(&is, audience, open, appended, now)
	return is, nil
}

// judge says when the change is expected to have been applied, and when certainly, and whether that is now. The audience was
// read after now.
func (w *waiter) judge(is *Waited, audience []*member, open bool, appended, now time.Time) {
	subscribed := slices.ContainsFunc(audience, func(m *member) bool { return m.subscribed })
	none := !open && !subscribed && !w.awaited.AllowNone
	switch {
	case open:
		is.Problem = "its fan-out is under way"
	case none:
		is.Problem = "nobody is subscribed to it: allow that with --allow-none"
	}
	is.final = none
	var ttl, timeout time.Duration
	missing := is.Problem != ""
	for _, m := range audience {
		a := Awaiting{Service: m.service, Subscribed: m.subscribed, Proven: m.proven(), Missing: m.missing}
		if a.Missing == "" {
			a.Expected = appended.Add(m.checkEvery)
			if !a.Proven {
				a.Expected = a.Expected.Add(m.timeout)
			}
			if a.Expected.After(is.Expected) {
				is.Expected = a.Expected
			}
		}
		missing = missing || a.Missing != ""
		is.final = is.final || m.failed && !w.awaited.Certain
		is.Services = append(is.Services, a)
		is.Assumed = append(is.Assumed, m.assumed...)
		ttl, timeout = max(ttl, m.ttl), max(timeout, m.timeout)
	}
	if len(audience) == 0 {
		ttl, timeout = defaultTTL, MaxTimeout
		is.Expected = appended.Add(defaultCheckEvery)
		is.Assumed = append(is.Assumed, fmt.Sprintf("no environment reports the secret: a TTL of %v, a timeout of %v", ttl, timeout))
	}
	if missing {
		is.Expected = time.Time{}
	}
	is.Certain = appended.Add(late + ttl + timeout)
	if w.awaited.Certain {
		is.Reached = !none && (subscribed || !open) && !now.Before(is.Certain)
		return
	}
	is.Reached = !is.Expected.IsZero() && !now.Before(is.Expected)
}
