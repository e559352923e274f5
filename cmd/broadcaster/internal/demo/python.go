package demo

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// pythonSource is the source of a function as a team would write it, and what stands in for Lambda's Python runtime.
//
//go:embed python/function.py
var pythonSource embed.FS

// pythonFunction is the name of the function that runs it.
const pythonFunction = "payments-python"

// portVariable is where the Python function finds the extension.
const portVariable = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"

// A pythonCode is a Python function and the extension that is to stand beside it.
type pythonCode struct{ command, extension []string }

// newPython makes both; nil if there is to be none.
func newPython(ctx context.Context, cfg Config) (*pythonCode, error) {
	if cfg.Extension == "" {
		return nil, nil
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		return nil, fmt.Errorf("--python %w: there is no python3 on the PATH: install Python 3, nothing else is needed", ErrTools)
	}
	if out, err := exec.CommandContext(ctx, python, "-c", "import sys; sys.exit(sys.version_info < (3, 8))").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("--python %w: %s does not run or is older than Python 3.8: %w %s", ErrTools, python, err, bytes.TrimSpace(out))
	}
	if _, err := os.Stat(filepath.Join(cfg.Extension, "main.go")); err != nil {
		return nil, fmt.Errorf("--python %w: the extension's source is not in %s: run the demo in the project's root", ErrTools, cfg.Extension)
	}
	dir := filepath.Join(cfg.Dir, "python")
	if err := os.CopyFS(dir, pythonSource); err != nil {
		return nil, fmt.Errorf("writing the Python function: %w", err)
	}
	extension := filepath.Join(dir, "secret-broadcaster")
	build := exec.CommandContext(ctx, "go", "build", "-o", extension, "./"+filepath.ToSlash(cfg.Extension))
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("--python %w: building the extension: %w\n%s", ErrTools, err, out)
	}
	return &pythonCode{command: []string{python, filepath.Join(dir, "python", "function.py")}, extension: []string{extension}}, nil
}
