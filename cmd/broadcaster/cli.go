//go:build !lambdaartifact

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// The exit codes of the command line.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitNotYet = 3
)

// run executes one command line and returns its exit code. An error is one line on stderr.
func run(ctx context.Context, args []string, std stdio) int {
	root := newRoot(std)
	root.SetArgs(append([]string{}, args...)) // of nil, cobra would make the process's own
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(std.err, "broadcaster: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	if errors.Is(err, history.ErrNotYet) {
		return exitNotYet
	}
	return exitFailed
}

// A usageError is a command line that cannot be understood.
type usageError struct{ problem string }

func (e usageError) Error() string { return e.problem }

func newRoot(std stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "broadcaster",
		Short: "Make every change of a secret known to the functions that cache it",
		Long: `Make every change of a secret known to the functions that cache it.

In AWS Lambda this program is the broadcaster itself; everywhere else it is the command line beside it.
Exit codes: 0 done, 1 failed, 2 the command line cannot be understood, 3 not yet (wait).`,
		Example: `  broadcaster demo
  broadcaster help demo
  source <(broadcaster completion bash)`,
		Args:                       knownCommand,
		SilenceErrors:              true,
		SilenceUsage:               true,
		RunE:                       func(*cobra.Command, []string) error { return usageError{"a command is missing: see broadcaster help"} },
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		SuggestionsMinimumDistance: 2,
		FParseErrWhitelist:         commandFlags(),
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err.Error()} })
	root.SetHelpCommand(newHelp())
	root.AddCommand(commands(std.now)...)
	return root
}

// commands are all there are, in the order of the help text. A new command is a file and a line here.
func commands(now func() time.Time) []*cobra.Command {
	return []*cobra.Command{
		newDemo(),
		newExplain(),
		newStatus(now),
		newChanges(now),
		newMissed(now),
		newWait(now),
		newTail(now),
		newPause(),
		newResume(),
		newInvalidate(),
		newReplay(),
		newSubscriptions(),
		newDoctor(),
		newAudit(now),
		newVersion(),
		newCompletion(),
	}
}

// commandFlags lets a group of commands pass over flags, which are of the command that was mistyped: that is what has to be said.
func commandFlags() cobra.FParseErrWhitelist { return cobra.FParseErrWhitelist{UnknownFlags: true} }

// knownCommand refuses what is left of a command line after the last command's name.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	problem := fmt.Sprintf("unknown command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		problem += ": did you mean " + strings.Join(near, " or ") + "?"
	} else {
		problem += ": see " + cmd.CommandPath() + " help"
	}
	return usageError{problem}
}

// noArguments is for commands that take flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Sprintf("%s takes no argument, not %q", cmd.CommandPath(), args[0])}
	}
	return nil
}

// newHelp replaces cobra's own help command, which exits with 0 if it knows no help.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [command]",
		Short:   "Explain a command",
		Example: "  broadcaster help version",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return names(cmd.Root().Commands()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return usageError{err.Error()}
			}
			if err := knownCommand(about, rest); err != nil {
				return err
			}
			about.InitDefaultHelpFlag() // else the help text lacks --help, which cobra adds at execution
			return about.Help()
		},
	}
}

func names(commands []*cobra.Command) []string {
	var all []string
	for _, c := range commands {
		if c.IsAvailableCommand() {
			all = append(all, c.Name())
		}
	}
	slices.Sort(all)
	return all
}

// printJSON prints what --json asks for.
func printJSON(out io.Writer, what any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(what)
}
