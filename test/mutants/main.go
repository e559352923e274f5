// Command mutants breaks the code under test in the ways that the patches beside it say, one at a time, and runs the
// unchanged fleet model against each. A mutant that the model does not kill is a guarantee that nobody proves: it fails.
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
	// patience bounds one mutant's runs.
	patience = 8 * time.Minute
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
	overlay, err := applyPatch(ctx, patch, dir)
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
	test := exec.CommandContext(ctx, binary, "-test.run=^TestFleet$", "-rapid.checks="+checks, "-rapid.shrinktime=1ms", "-rapid.nofailfile")
	test.Dir = dir
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
	return verdictOf(string(out)), nil
}

// applyPatch lays the patched files into dir and returns the compiler's overlay file.
func applyPatch(ctx context.Context, patch, dir string) (string, error) {
	text, err := os.ReadFile(patch)
	if err != nil {
		return "", err
	}
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^\+\+\+ b/(.+)$`).FindAllStringSubmatch(string(text), -1) {
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

// verdictOf shortens a failed run to which invariant fell and how to see it again.
func verdictOf(out string) string {
	how := "killed"
	if m := regexp.MustCompile(`failed after (\d+) tests`).FindStringSubmatch(out); m != nil {
		how += " by run " + m[1]
	}
	if m := regexp.MustCompile(`-rapid\.seed=(\d+)`).FindStringSubmatch(out); m != nil {
		how += ", seed " + m[1]
	}
	for _, invariant := range []string{"G1:", "G2:", "G3:", "G4:", "G5:", "chain", "exceptions", "truth", "is over", "fan-outs"} {
		if strings.Contains(out, invariant) {
			return how + " (" + strings.TrimSuffix(invariant, ":") + ")"
		}
	}
	return how
}
