//go:build !lambdaartifact

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/demo"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// serving returns what this process is on Lambda: the broadcaster, or one of the demo's functions.
func serving() func(context.Context, []string, stdio) int {
	if os.Getenv("_HANDLER") == demo.Handler {
		return func(ctx context.Context, _ []string, _ stdio) int { return demo.Serve(ctx) }
	}
	return serve
}

// nodePackage is where the Node client's package is in the project's root.
const nodePackage = "subscribers/node"

// extensionSource is where the extension's source is in the project's root.
const extensionSource = "subscribers/extension"

// errNotHeld ends a demo in which something did not hold.
var errNotHeld = errors.New("something did not hold")

func newDemo() *cobra.Command {
	var (
		cfg       = demo.Config{Functions: 5, Environments: 4, CheckEvery: secretcache.DefaultCheckEvery}
		breakWith string
		asJSON    bool
		withNode  bool
		python    bool
		hold      bool
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a secret change and every environment follow, on this machine",
		Long: `Watch a secret change and every environment follow, on this machine.

Functions of two domains run as separate processes, one per execution environment, and are frozen between
invocations as on Lambda. A secret rotates under steady traffic; its event goes through a queue to the real
broadcaster, which appends to the change log and pushes. The same happens beside it with push only, and with
the TTL only. Every verdict comes from what the functions' callers received.

With --hold the first world goes on after its verdicts, as a deployed domain does, and what is printed has every other
command work against it. doctor finds no trail and no rules there. Ctrl-C ends it.

It needs Linux, nothing else; --node also needs Node, and the Node client built in subscribers/node; --python also
needs python3, with nothing installed, and Go. All files are below --dir, or in a temporary directory that is removed
at the end unless something did not hold.
Exit codes: 0 everything held, 1 something did not, 2 the flags are wrong.`,
		Example: `  broadcaster demo
  broadcaster demo --drop-pushes
  broadcaster demo --kill-broadcaster --json
  broadcaster demo --functions 8 --environments 6 --check-every 1s
  broadcaster demo --break push-only
  broadcaster demo --node
  broadcaster demo --python
  broadcaster demo --hold`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Break = demo.Break(breakWith)
			if withNode {
				cfg.Node = nodePackage
			}
			if python {
				cfg.Extension = extensionSource
			}
			if err := cfg.Check(); err != nil {
				return usageError{err.Error()}
			}
			if hold && cfg.Break != "" {
				return usageError{"--hold and --break do not go together: what does not hold is not held"}
			}
			cfg.Commands = commandNames()
			printed := false
			if hold {
				cfg.Hold = func(ctx context.Context, report *demo.Report, at demo.Local) error {
					printed = true
					if err := printHeld(cmd.OutOrStdout(), report, at, asJSON); err != nil {
						return err
					}
					<-ctx.Done()
					return nil
				}
			}
			cfg.Progress = demo.NewProgress(cmd.ErrOrStderr(), isTerminal(cmd.ErrOrStderr()))
			report, err := playDemo(cmd.Context(), cfg)
			if report == nil || printed {
				return err
			}
			return errors.Join(printDemo(cmd.OutOrStdout(), report, asJSON), err)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&cfg.Functions, "functions", cfg.Functions, "how many functions, over two domains: 2 to 20")
	flags.IntVar(&cfg.Environments, "environments", cfg.Environments, "how many execution environments each has: 2 to 20")
	flags.DurationVar(&cfg.CheckEvery, "check-every", cfg.CheckEvery, "the clients' CheckEvery: 500ms to 1m")
	flags.BoolVar(&cfg.DropPushes, "drop-pushes", false, "lose every push: the log alone has to do")
	flags.BoolVar(&cfg.KillBroadcaster, "kill-broadcaster", false, "kill the broadcaster between append and delivery")
	flags.StringVar(&breakWith, "break", "", "use a broken client, so that a guarantee fails: no-check, push-only or ttl-as-fallback")
	flags.BoolVar(&withNode, "node", false, "add a TypeScript function with the Node client; run it in the project's root")
	flags.BoolVar(&python, "python", false, "add a Python function behind the extension; run it in the project's root")
	flags.BoolVar(&hold, "hold", false, "keep the first world running after its verdicts, until Ctrl-C, to try other commands")
	flags.StringVar(&cfg.Dir, "dir", "", "keep logs, tables and traces here; it must be empty or missing")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object; progress still goes to stderr")
	_ = cmd.RegisterFlagCompletionFunc("break", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var all []string
		for _, b := range demo.Breaks() {
			all = append(all, string(b))
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// playDemo returns a report also with errNotHeld. Ctrl-C ends it, and every process with it.
func playDemo(ctx context.Context, cfg demo.Config) (report *demo.Report, err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	if cfg.Program, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	kept := cfg.Dir != ""
	if cfg.Dir, err = makeDir(cfg.Dir); err != nil {
		return nil, err
	}
	began := time.Now()
	report, err = demo.Run(ctx, cfg)
	if err == nil && !report.OK {
		err = errNotHeld
	}
	switch {
	case ctx.Err() != nil && report == nil:
		err = fmt.Errorf("interrupted after %v: every process has been ended", time.Since(began).Round(100*time.Millisecond))
	case err != nil && !errors.Is(err, demo.ErrPlatform) && !errors.Is(err, demo.ErrTools):
		return report, fmt.Errorf("%w: logs and tables are in %s", err, cfg.Dir)
	}
	if !kept {
		err = errors.Join(err, os.RemoveAll(cfg.Dir))
	}
	return report, err
}

// makeDir returns the absolute path of an empty directory.
func makeDir(dir string) (string, error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "broadcaster-demo-")
		if err != nil {
			return "", fmt.Errorf("making a temporary directory: %w: name another place with --dir", err)
		}
		return dir, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding --dir: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("making --dir: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("looking into --dir: %w", err)
	}
	if len(entries) > 0 {
		return "", usageError{fmt.Sprintf("--dir %s is not empty: name a new directory, or empty it", dir)}
	}
	return dir, nil
}

func printDemo(out io.Writer, report *demo.Report, asJSON bool) error {
	if !asJSON {
		return report.Print(out)
	}
	return printJSON(out, report)
}

// printHeld prints the report, and how the domain that goes on is reached.
func printHeld(out io.Writer, report *demo.Report, at demo.Local, asJSON bool) error {
	if asJSON {
		return printJSON(out, struct {
			*demo.Report
			Local demo.Local `json:"local"`
		}{report, at})
	}
	if err := report.Print(out); err != nil {
		return err
	}
	fmt.Fprint(out, "\nThe domain goes on until Ctrl-C. In another terminal:\n\n")
	for _, variable := range at.Variables() {
		fmt.Fprintln(out, "  export "+variable)
	}
	place := " --env " + at.Env + " --domain " + at.Domain
	where := place + " --reason 'try it'"
	_, err := fmt.Fprintf(out, `
  broadcaster invalidate %s%s
  broadcaster pause%s
  aws secretsmanager put-secret-value --secret-id %s --secret-string anything
  broadcaster resume%s
  broadcaster replay%s --dry-run
  cat %s | broadcaster audit verify%s --log -

Not here, without EventBridge, a dead-letter queue and CloudWatch: replay --from dlq and archive, and the log without --log.
`, at.Secrets[0], where, where, at.Secrets[0], where, where, at.Logs, place)
	return err
}

// isTerminal reports whether somebody watches.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
