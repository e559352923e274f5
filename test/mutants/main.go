// Command mutants breaks the code under test in the ways that the patches beside it say, one at a time, and runs the
// unchanged fleet model against each. A mutant that the model does not kill is a guarantee that nobody proves: it fails.
// A patch begins with what it breaks and with the invariants that may find it: that anything else went wrong, be it
// another invariant, a panic or a build that failed, proves nothing.
//
//	go run ./test/mutants            all of them
//	go run ./test/mutants NAME …     some, by the names of their patches
//
// The working tree is never touched: the patched files are laid over it for the compiler.
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
	patches, err := filepath.Glob("test/mutants/*.patch")
	if err != nil || len(patches) == 0 {
		return errors.Join(err, errors.New("no test/mutants/*.patch here: run it in the project's root"))
	}
	if len(names) > 0 {
		patches = nil
		for _, name := range names {
			patches = append(patches, filepath.Join("test/mutants", strings.TrimSuffix(filepath.Base(name), ".patch")+".patch"))
		}
	}
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
			how, err := kill(ctx, patch)
			if ctx.Err() != nil {
				return // interrupted: nothing is known of it
			}
			mu.Lock()
			defer mu.Unlock()
			name := strings.TrimSuffix(filepath.Base(patch), ".patch")
			if err != nil {
				alive = append(alive, name)
				how = err.Error()
			}
			fmt.Printf("%-28s %6.1fs  %s\n", name, time.Since(began).Seconds(), how)
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

// kill returns how the model killed the mutant, or an error if it did not.
func kill(ctx context.Context, patch string) (string, error) {
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	text, err := os.ReadFile(patch)
	if err != nil {
		return "", err
	}
	fits, err := killersOf(string(text))
	if err != nil {
		return "", err
	}
	overlay, err := applyPatch(ctx, patch, string(text), dir)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "fleet.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", binary, "./test/fleet")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		how, err := hunt(ctx, binary, fits)
		if !errors.Is(err, errUnfit) {
			return how, err
		}
		// What was found is not what was broken, so it says nothing of the mutant either way: on with other runs.
	}
}

// errUnfit: something else was violated than what may find the mutant.
var errUnfit = errors.New("violated something else")

// hunt runs the model until something is violated, and returns how the mutant was killed, or errUnfit, wrapped.
func hunt(ctx context.Context, binary string, fits []string) (string, error) {
	test := exec.CommandContext(ctx, binary, "-test.run=^TestFleet$", "-rapid.checks="+checks, "-rapid.shrinktime=1ms", "-rapid.nofailfile")
	test.Dir = filepath.Dir(binary)
	test.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400") // as many mutants at once as there are processors
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

// applyPatch lays the patched files into dir and returns the compiler's overlay file.
func applyPatch(ctx context.Context, patch, text, dir string) (string, error) {
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
	apply := exec.CommandContext(ctx, "git", "apply", filepath.Join(root, patch))
	apply.Dir = dir
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if out, err := apply.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not apply any more, mend the patch: %w\n%s", err, out)
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, encoded, 0o600)
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
