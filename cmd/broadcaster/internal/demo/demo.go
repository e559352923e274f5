// Package demo plays the main job for real on one machine: a secret changes, and every execution environment of the
// subscribed functions serves the new version, also those that were frozen when it happened.
//
// What lives here: the story, the small worlds of local stand-ins that it happens in, the function that every environment
// runs, and the judge. What may not: anything of the broadcaster or of the client, which are here as they are deployed,
// and anything that the deployed Lambda links.
package demo

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// The two secrets of domain payments that the story is about.
const (
	// ConnectionString rotates, and its event arrives.
	ConnectionString = "/bank/demo/payments/neon/connection-string"
	// APIKey changes, and its event is lost: only its TTL helps.
	APIKey = "/bank/demo/payments/stripe/api-key"
	// kycToken is what the functions of the other domain read. It never changes.
	kycToken = "/bank/demo/kyc/sanctions/api-token"
)

// Break names a client that is broken on purpose.
type Break string

// The broken clients.
const (
	NoCheck       Break = "no-check"        // its log always answers that nothing is new
	PushOnly      Break = "push-only"       // it has no log at all, as in the second world
	TTLAsFallback Break = "ttl-as-fallback" // it ignores the TTL as long as the log answers
)

// Breaks returns all there are.
func Breaks() []Break { return []Break{NoCheck, PushOnly, TTLAsFallback} }

// Config says what is played.
type Config struct {
	// Functions is how many functions there are, spread over two domains; 2 to 20.
	Functions int
	// Environments is how many execution environments each function has: processes; 2 to 20.
	Environments int
	// CheckEvery is the clients' CheckEvery; 500 ms to a minute.
	CheckEvery time.Duration
	// DropPushes: the Invoke API loses every push.
	DropPushes bool
	// KillBroadcaster: the broadcaster's process is killed between append and delivery.
	KillBroadcaster bool
	// Break gives the environments of the first world a broken client; "" a good one.
	Break Break
	// Program is the path of this executable: every function of Go is a process of it.
	Program string
	// Node is the directory of the Node client's package, for a TypeScript function of payments; "" for none.
	Node string
	// Extension is the directory of the extension's source, for a Python function of payments behind it; "" for none.
	Extension string
	// Dir is an empty directory for all files. They stay there.
	Dir string
	// Commands are the names of the commands that a broadcaster takes, each through the alias of its name.
	Commands []string
	// Hold, if it is not nil, is called with the report if all held, while the first world still runs; that ends when Hold
	// returns.
	Hold func(context.Context, *Report, Local) error
	// Progress is told what happens.
	Progress *Progress
}

// maxProcesses bounds functions times environments: each is a process, and there are three worlds.
const maxProcesses = 100

// Check returns what is wrong with the numbers and choices, or nil.
func (cfg Config) Check() error {
	switch {
	case cfg.Functions < 2 || cfg.Functions > 20:
		return fmt.Errorf("--functions must be 2 to 20, not %d", cfg.Functions)
	case cfg.Environments < 2 || cfg.Environments > 20:
		return fmt.Errorf("--environments must be 2 to 20, not %d", cfg.Environments)
	case cfg.Functions*cfg.Environments > maxProcesses:
		return fmt.Errorf("--functions times --environments must be at most %d, not %d: each is a process in each of three worlds",
			maxProcesses, cfg.Functions*cfg.Environments)
	case cfg.CheckEvery < 500*time.Millisecond || cfg.CheckEvery > time.Minute:
		return fmt.Errorf("--check-every must be 500ms to 1m, not %v", cfg.CheckEvery)
	}
	if cfg.Node != "" && cfg.Break != "" {
		return errors.New("--node and --break do not go together: only the Go function has broken clients")
	}
	if cfg.Extension != "" && cfg.Break != "" {
		return errors.New("--python and --break do not go together: only the Go function has broken clients")
	}
	switch cfg.Break {
	case "", NoCheck, PushOnly, TTLAsFallback:
		return nil
	}
	return fmt.Errorf("--break must be %s, %s or %s, not %q", NoCheck, PushOnly, TTLAsFallback, cfg.Break)
}

// ttl is the API key's: short, so that the story need not wait for long, but longer than CheckEvery.
func (cfg Config) ttl() time.Duration { return cfg.CheckEvery + time.Second }

// limit bounds the whole story but for its two waits, whatever happens.
const limit = 2 * time.Minute

// ErrPlatform is returned where processes cannot be frozen.
var ErrPlatform = errors.New("the demo freezes processes, which needs Linux")

// Run plays the story in three worlds beside each other and judges what the callers of the functions received. It returns
// once every process has ended, also if ctx ends. A guarantee that did not hold is no error: see Report.Verdicts.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if runtime.GOOS != "linux" {
		return nil, ErrPlatform
	}
	within, cancel := context.WithTimeoutCause(ctx, limit+cfg.CheckEvery+cfg.ttl(), errors.New("the demo took far too long: is the machine overloaded?"))
	defer cancel()
	typescript, err := newTypescript(within, cfg)
	if err != nil {
		return nil, err
	}
	python, err := newPython(ctx, cfg)
	if err != nil {
		return nil, err
	}
	all, err := openWorlds(cfg, typescript, python)
	if err == nil {
		err = play(within, all, cfg.Progress)
	}
	over, held := all, worlds(nil)
	if err == nil && cfg.Hold != nil {
		cfg.Progress.Say("ending every process of the other worlds")
		held, over = all[:1], all[1:]
		held[0].hold()
	} else {
		cfg.Progress.Say("ending every process")
	}
	var report *Report
	if err = errors.Join(err, over.close()); err == nil {
		report, err = judged(cfg, all)
	}
	if err == nil && report.OK && len(held) > 0 {
		err = cfg.Hold(ctx, report, held[0].local())
	}
	if err = errors.Join(err, held.close()); err != nil {
		return nil, err
	}
	return report, nil
}

// judged looks through all that was written, and judges what was seen.
func judged(cfg Config, all worlds) (*Report, error) {
	cfg.Progress.Say("looking for secret values in every output, log and file")
	leaks, err := scan(cfg.Dir, all.canaries())
	if err != nil {
		return nil, err
	}
	return newReport(cfg, all, leaks), nil
}

// play tells the story. Each step happens in all worlds at once and ends when it has ended in all.
func play(ctx context.Context, worlds worlds, progress *Progress) error {
	stop := progress.follow(worlds.status)
	defer stop()
	for _, step := range []struct {
		say string
		do  func(*world, context.Context) error
	}{
		{"starting the broadcasters, one process per domain and world", (*world).begin},
		{"starting every environment; each caches the old versions", (*world).warmUp},
		{"steady traffic to one environment per function, all others are frozen", (*world).startTraffic},
		{"rotating " + ConnectionString, (*world).rotate},
		{"the API key changes as well, but its event is lost", (*world).changeAPIKey},
		{"the broadcaster confirms and appends", (*world).awaitAppend},
		{"letting CheckEvery pass", (*world).awaitCheckEvery},
		{"invoking every environment once", (*world).readAll},
		{"letting the API key's TTL end", (*world).awaitTTL},
		{"invoking every environment once more", (*world).readAll},
		{"waiting for late messages", (*world).awaitQueue},
	} {
		progress.Say(step.say)
		if err := worlds.each(func(w *world) error { return step.do(w, ctx) }); err != nil {
			return fmt.Errorf("%s: %w", step.say, err)
		}
	}
	return nil
}

type worlds []*world

// openWorlds returns the worlds that could be opened also with an error: they have to be closed.
func openWorlds(cfg Config, typescript []string, python *pythonCode) (worlds, error) {
	var all worlds
	for _, kind := range []worldKind{
		{name: "log", title: "push and log", client: cfg.Break, mode: "on", pushes: true, python: python},
		{name: "push-only", title: "push only", client: PushOnly, mode: "on", pushes: true},
		{name: "ttl-only", title: "TTL only", mode: "off"},
	} {
		if kind.client == "" { // the naive client is in Go only
			kind.typescript = typescript
		}
		w, err := openWorld(cfg, kind)
		if err != nil {
			return all, fmt.Errorf("making the world %q: %w", kind.title, err)
		}
		all = append(all, w)
	}
	return all, nil
}

// each does something in every world at once.
func (ws worlds) each(do func(*world) error) error {
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(ws))
	)
	for i, w := range ws {
		wg.Go(func() {
			if err := do(w); err != nil {
				errs[i] = fmt.Errorf("world %q: %w", w.kind.title, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (ws worlds) close() error { return ws.each((*world).close) }

func (ws worlds) canaries() []string {
	var all []string
	for _, w := range ws {
		all = append(all, w.values.all()...)
	}
	return all
}

// status says how many environments serve the new version by now.
func (ws worlds) status() string {
	text := ""
	for i, w := range ws {
		if i > 0 {
			text += ", "
		}
		current, all := w.seen.current(w.values.connectionString.new.id)
		text += fmt.Sprintf("%s %d/%d", w.kind.title, current, all)
	}
	return text
}

// isInvalidation tells a push from everything else that is invoked.
func isInvalidation(payload []byte) bool {
	_, ours, _ := wire.ParseInvalidation(payload)
	return ours
}
