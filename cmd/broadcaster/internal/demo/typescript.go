package demo

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// typescript is the source of a function as a team would write it, and what stands in for Lambda's Node runtime.
//
//go:embed node/*.ts
var typescript embed.FS

// typescriptFunction is the name of the function that runs it.
const typescriptFunction = "payments-node"

// newTypescript makes the TypeScript function and returns its command; nil if there is to be none.
func newTypescript(ctx context.Context, cfg Config) ([]string, error) {
	if cfg.Node == "" {
		return nil, nil
	}
	tools, err := findToolchain(ctx, cfg.Node)
	if err != nil {
		return nil, err
	}
	bundled, err := tools.bundle(ctx, filepath.Join(cfg.Dir, "typescript"))
	return []string{tools.node, bundled}, err
}

// ErrTools is returned where something is missing that a function in another language is made of.
var ErrTools = errors.New("cannot be played")

// oldestNode is the oldest major version of Node that the client runs on.
const oldestNode = 20

// A toolchain is what makes and runs a TypeScript function.
type toolchain struct {
	node, esbuild, client string // paths
}

// findToolchain returns the Node program and the built client of a package directory, or an error that says what is
// missing and what to do.
func findToolchain(ctx context.Context, dir string) (toolchain, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return toolchain{}, fmt.Errorf("--node %w: there is no node on the PATH: install Node %d or later", ErrTools, oldestNode)
	}
	said, err := exec.CommandContext(ctx, node, "--version").Output()
	version := strings.TrimSpace(string(said))
	if err != nil {
		return toolchain{}, fmt.Errorf("--node %w: asking %s for its version: %w", ErrTools, node, err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestNode {
		return toolchain{}, fmt.Errorf("--node %w: %s is %s: install Node %d or later", ErrTools, node, version, oldestNode)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return toolchain{}, err
	}
	found := toolchain{node: node, esbuild: filepath.Join(dir, "node_modules", "esbuild", "bin", "esbuild"), client: filepath.Join(dir, "dist", "esm")}
	if _, err := os.Stat(filepath.Join(dir, "package.json")); err != nil {
		return toolchain{}, fmt.Errorf("--node %w: the Node client is not in %s: run the demo in the project's root", ErrTools, dir)
	}
	for _, needed := range []string{found.esbuild, filepath.Join(found.client, "index.js")} {
		if _, err := os.Stat(needed); err != nil {
			return toolchain{}, fmt.Errorf("--node %w: the Node client is not built, %s is missing: run npm ci && npm run build in %s", ErrTools, needed, dir)
		}
	}
	return found, nil
}

// bundle makes the function's code in dir as SST does, with esbuild: the client comes in by an alias, the source does not
// know it.
func (t toolchain) bundle(ctx context.Context, dir string) (string, error) {
	if err := os.CopyFS(dir, typescript); err != nil {
		return "", fmt.Errorf("writing the TypeScript function: %w", err)
	}
	bundled := filepath.Join(dir, "function.mjs")
	build := exec.CommandContext(ctx, t.esbuild, filepath.Join(dir, "node", "runtime.ts"), "--bundle", "--platform=node", "--format=esm",
		"--target=node20", "--log-level=warning", "--outfile="+bundled,
		"--alias:@aws-lambda-powertools/parameters/secrets="+filepath.Join(t.client, "powertools.js"),
		"--alias:@bank-platform/secret-broadcast="+filepath.Join(t.client, "index.js"),
		"--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);") // of CommonJS in it
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("bundling the TypeScript function: %w\n%s", err, out)
	}
	return bundled, nil
}

// handlerOf returns the variables with which Lambda says where the handler is, for a command of newTypescript.
func handlerOf(command []string) []string {
	dir, file := filepath.Split(command[len(command)-1])
	return []string{"LAMBDA_TASK_ROOT=" + dir, "_HANDLER=" + strings.TrimSuffix(file, filepath.Ext(file)) + ".handler"}
}
