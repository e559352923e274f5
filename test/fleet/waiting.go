package fleet

import (
	"context"
	"errors"
	"time"

	past "github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// A promise is what whoever waited for a change was told.
type promise struct {
	name    string
	moment  int // of the secret, or a later one, is what everybody reads from then on
	from    time.Time
	epoch   int  // how often the tables had been restored
	certain bool // not even an exception excuses what is older
}

// longestRequest is the function's timeout.
const longestRequest = 30 * time.Second

// await waits for a secret's newest change as somebody on call would, and then has every environment read it.
func (w *world) await(name string, certain bool) {
	reader, err := past.New(past.Config{Env: env, Domain: domain, Store: w.store, Reports: reported{w}, Manifests: w.store, Timeouts: reported{w}})
	if err != nil {
		panic(err)
	}
	_, _, epoch := w.look(name)
	within := time.Minute
	if certain {
		within = 10 * time.Minute
	}
	is, err := reader.Wait(context.Background(), past.Awaited{Name: name, Certain: certain, Within: within})
	if err != nil {
		if !errors.Is(err, past.ErrNotYet) {
			w.violate(contract, "waiting: %v", err)
		}
		return
	}
	w.promise(name, is, epoch, certain)
	w.mu.Lock()
	all := append([]*environment(nil), w.environments...)
	w.mu.Unlock()
	for _, e := range all {
		w.background.Go(func() { e.serve(request{Names: []string{name}, Deadline: longestRequest}) })
	}
}

// promise notes what was told, unless the tables have been restored since the wait began, and holds it against what the
// environments have done.
func (w *world) promise(name string, is past.Waited, epoch int, certain bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch != w.epoch || is.Revision > int64(len(w.history.live)) {
		return
	}
	p := promise{name: name, from: time.Now(), epoch: epoch, certain: certain}
	for _, c := range w.history.live[is.Revision-1].Changes {
		if c.Name == name {
			p.moment = w.history.momentOf(c)
		}
	}
	w.promises = append(w.promises, p)
	switch proven := p.from.Before(is.Appended.Add(secretcache.DefaultCheckEvery + longestRequest)); {
	case certain:
		w.counts[promisedCertain]++
		w.judgeUses(p)
	case proven:
		w.counts[promisedByProof]++
		if is.Version != "" && !w.versions[is.Version] {
			w.violateLocked(promises, "at %v acks passed for the proof that version %s of %s is used, and nobody has fetched it", w.since(p.from), is.Version, name)
		}
	default:
		w.counts[promised]++
		w.judgeUses(p)
	}
}

// judgeUses: where no ack proves it, whoever waited also heard that no invocation goes on with an older version. The caller
// holds mu.
func (w *world) judgeUses(p promise) {
	for in := range w.underway {
		for _, u := range in.uses {
			if u.name == p.name && u.moment < p.moment && (p.certain || !u.excused) {
				w.violateLocked(promises, "at %v an invocation goes on with moment %d of %s, and moment %d passes for arrived (certain: %v)",
					w.since(p.from), u.moment, p.name, p.moment, p.certain)
			}
		}
	}
}

// An invocation is one of the function's own code, and what it has read.
type invocation struct{ uses []use }

// A use is a version that an invocation may go on with until it ends.
type use struct {
	name    string
	moment  int
	excused bool // by an exception
}

func (w *world) invoked() *invocation {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := &invocation{}
	w.underway[in] = true
	return in
}

func (w *world) ended(in *invocation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.underway, in)
}

// used notes what an invocation has read.
func (w *world) used(in *invocation, name string, r reading, excused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.err == nil {
		in.uses = append(in.uses, use{name, w.history.latest(name, r.version), excused})
	}
}

// judgePromises holds a read that began at a time against what whoever waited was told. The caller holds mu.
func (w *world) judgePromises(name string, began time.Time, served int, excused bool, where func(invariant, string, ...any)) {
	for _, p := range w.promises {
		if p.name == name && p.epoch == w.epoch && !began.Before(p.from) && served < p.moment && (p.certain || !excused) {
			where(promises, "whoever waited had been told at %v that moment %d has arrived (certain: %v)", w.since(p.from), p.moment, p.certain)
		}
	}
}

// reported keeps an environment's newest report.
func (w *world) reported(r wire.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Time.After(w.reports[r.Environment].Time) {
		w.reports[r.Environment] = r
	}
}

// reported is what whoever waits knows of the environments.
type reported struct{ w *world }

// All implements invalidation.Reports.
func (r reported) All(context.Context) ([]wire.Report, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	all := make([]wire.Report, 0, len(r.w.reports))
	for _, report := range r.w.reports {
		all = append(all, report)
	}
	return all, nil
}

// Of implements invalidation.Reports: there is one service.
func (r reported) Of(ctx context.Context, _ string) ([]wire.Report, error) { return r.All(ctx) }

// Timeout implements history.Timeouts.
func (reported) Timeout(context.Context, string) (time.Duration, error) { return longestRequest, nil }
