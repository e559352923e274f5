// Command mutants breaks the code under test in the ways that the patches beside it say, one at a time, and runs the
// unchanged fleet model against each. A mutant that the model does not kill is a guarantee that nobody proves: it fails.
// A patch begins with what it breaks and with the invariants that may find it: that anything else went wrong, be it
// another invariant, a panic or a build that failed, proves nothing.
//
//	go run ./test/mutants            all of them
//	go run ./test/mutants NAME …     some, by the names of their patches, as in gap-ignored or node/gap-ignored
//
// The patches in node break the Node client and those in extension the extension; the model runs with it in every environment
// then. The working tree is never touched: the patched files are laid over it for the compiler, or what is bundled is a copy.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// checks is how many random runs a mutant has to survive; the unmutated code survives far more.
	checks = "6000"
	// patience bounds one mutant's runs; with it everything ends in time, whatever survives.
	patience = 10 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	patches, err := patchesOf(names)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	h := hunter{dir: dir, unmutated: sync.OnceValues(func() (string, error) { return build(ctx, dir) })}
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		slots = make(chan struct{}, runtime.NumCPU())
		alive []string
	)
	for _, patch := range patches {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			began := time.Now()
			how, err := h.kill(ctx, patch)
			if ctx.Err() != nil {
				return // interrupted: nothing is known of it
			}
			mu.Lock()
			defer mu.Unlock()
			name := nameOf(patch)
			if err != nil {
				alive = append(alive, name)
				how = err.Error()
			}
			fmt.Printf("%-32s %6.1fs  %s\n", name, time.Since(began).Seconds(), how)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(alive) > 0 {
		slices.Sort(alive)
		return fmt.Errorf("%d of %d not killed: %s", len(alive), len(patches), strings.Join(alive, ", "))
	}
	fmt.Printf("%d mutants, all killed by the model\n", len(patches))
	return nil
}

// patchesOf returns the patches with these names, or all.
func patchesOf(names []string) ([]string, error) {
	var patches []string
	for _, of := range []string{"", nodeFolder, extensionFolder} {
		found, err := filepath.Glob(filepath.Join(folder, of, "*.patch"))
		if err != nil || len(found) == 0 {
			return nil, errors.Join(err, errors.New("no patches in "+filepath.Join(folder, of)+" here: run it in the project's root"))
		}
		patches = append(patches, found...)
	}
	if len(names) == 0 {
		return patches, nil
	}
	patches = nil
	for _, name := range names {
		patches = append(patches, filepath.Join(folder, nameOf(name)+".patch"))
	}
	return patches, nil
}

const (
	folder          = "test/mutants"
	nodeFolder      = "node"
	nodeSource      = "subscribers/node/src"
	extensionFolder = "extension"
)

// nameOf returns a mutant's name: its patch's, with the folder below ours before it if it is in one.
func nameOf(patch string) string {
	name := strings.TrimSuffix(filepath.Base(patch), ".patch")
	if of := filepath.Base(filepath.Dir(patch)); of == nodeFolder || of == extensionFolder {
		return of + "/" + name
	}
	return name
}

// A hunter has the model hunt mutants.
type hunter struct {
	dir       string
	unmutated func() (string, error) // the model without any mutant in it: those of the Node client are given to it
}

// kill returns how the model killed the mutant, or an error if it did not.
func (h hunter) kill(ctx context.Context, patch string) (string, error) {
	text, err := os.ReadFile(patch)
	if err != nil {
		return "", err
	}
	fits, err := killersOf(string(text))
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(h.dir, "mutant-")
	if err != nil {
		return "", err
	}
	model, err := h.modelOf(ctx, patch, string(text), dir)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		how, err := hunt(ctx, model, fits)
		if !errors.Is(err, errUnfit) {
			return how, err
		}
		// What was found is not what was broken, so it says nothing of the mutant either way: on with other runs.
	}
}

// A model is the fleet model with a mutant in it.
type model struct {
	binary, test string
	env          []string
}

// modelOf puts a mutant into the model.
func (h hunter) modelOf(ctx context.Context, patch, text, dir string) (model, error) {
	if strings.HasPrefix(nameOf(patch), nodeFolder+"/") {
		if err := os.CopyFS(filepath.Join(dir, nodeSource), os.DirFS(nodeSource)); err != nil {
			return model{}, err
		}
		if err := applyPatch(ctx, patch, dir); err != nil {
			return model{}, err
		}
		binary, err := h.unmutated()
		return model{binary, "TestFleetOfNode", []string{"FLEET_NODE_SOURCE=" + filepath.Join(dir, nodeSource)}}, err
	}
	overlay, err := overlayOf(ctx, patch, text, dir)
	if err != nil {
		return model{}, err
	}
	test := "TestFleet"
	if strings.HasPrefix(nameOf(patch), extensionFolder+"/") {
		test = "TestFleetOfExtensions"
	}
	binary, err := build(ctx, dir, "-overlay", overlay)
	return model{binary, test, nil}, err
}

// build compiles the model.
func build(ctx context.Context, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "fleet.test")
	args := slices.Concat([]string{"test", "-c", "-o", binary}, flags, []string{"./test/fleet"})
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	return binary, nil
}

// errUnfit: something else was violated than what may find the mutant.
var errUnfit = errors.New("violated something else")

// hunt runs the model until something is violated, and returns how the mutant was killed, or errUnfit, wrapped.
func hunt(ctx context.Context, m model, fits []string) (string, error) {
	test := exec.CommandContext(ctx, m.binary, "-test.run=^"+m.test+"$", "-rapid.checks="+checks, "-rapid.shrinktime=1ms", "-rapid.nofailfile")
	test.Dir = "test/fleet"
	test.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400") // as many mutants at once as there are processors
	test.Env = append(test.Env, m.env...)
	out, err := test.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("SURVIVED: not killed within %v", patience)
	case err == nil:
		return "", fmt.Errorf("SURVIVED %s runs", checks)
	case !errors.As(err, &failed):
		return "", err
	}
	return verdictOf(string(out), fits)
}

// killersOf returns the invariants that a patch's header says may find it.
func killersOf(patch string) ([]string, error) {
	m := regexp.MustCompile(`(?m)\A.+\nKilled by (.+)\.$`).FindStringSubmatch(patch)
	if m == nil {
		return nil, errors.New("its second line must say which invariants may find it, as in \"Killed by G1, G3.\"")
	}
	return strings.Split(m[1], ", "), nil
}

// overlayOf lays the patched files into dir and returns the compiler's overlay file.
func overlayOf(ctx context.Context, patch, text, dir string) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^\+\+\+ b/(.+)$`).FindAllStringSubmatch(text, -1) {
		file := match[1]
		source, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		copied := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(copied), 0o750); err != nil {
			return "", err
		}
		if err := os.WriteFile(copied, source, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = copied
	}
	if err := applyPatch(ctx, patch, dir); err != nil {
		return "", err
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, encoded, 0o600)
}

// applyPatch patches the files in dir.
func applyPatch(ctx context.Context, patch, dir string) error {
	patch, err := filepath.Abs(patch)
	if err != nil {
		return err
	}
	apply := exec.CommandContext(ctx, "git", "apply", patch)
	apply.Dir = dir
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if out, err := apply.CombinedOutput(); err != nil {
		return fmt.Errorf("it does not apply any more, mend the patch: %w\n%s", err, out)
	}
	return nil
}

// verdictOf says by which invariant a mutant fell and how to see it again, or that something else went wrong.
func verdictOf(out string, fits []string) (string, error) {
	// As test/fleet prints the first violation of the first run that failed, before rapid plays it again.
	violated := regexp.MustCompile(`(?m)violated in run (\d+): ([A-Za-z0-9]+): `).FindStringSubmatch(out)
	if violated == nil {
		return "", fmt.Errorf("NOT KILLED: the model broke down\n%s", out[max(0, len(out)-2000):])
	}
	how := "run " + violated[1]
	if seed := regexp.MustCompile(`-rapid\.seed=(\d+)`).FindStringSubmatch(out); seed != nil {
		how += ", seed " + seed[1]
	}
	if which := violated[2]; !slices.Contains(fits, which) {
		return "", fmt.Errorf("%w: %s fell, which this break does not explain (%s)", errUnfit, which, how)
	}
	return fmt.Sprintf("killed by %s (%s)", violated[2], how), nil
}
