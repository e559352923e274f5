//go:build !lambdaartifact

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/doctor"
)

func newDoctor() *cobra.Command {
	var (
		where  place
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at a deployed domain and say what is wrong and what mends it",
		Long: `Look at a deployed domain and say what is wrong and what mends it.

It starts at the function, whose own configuration says which queue and tables are meant, and looks at the trail, the
archive, the queue, the role (IAM itself says what it may), the rules (EventBridge itself says whether they take an
event of each kind, and none of another place), the schedule, the event source, the commands, the tables, the log, the
subscriptions, the clients, the canary and the alarms. It changes nothing. Of what your credentials may not look at it
says which permission is missing, and not that it is wrong.

Exit codes: 0 all is well, 1 something is not or could not be looked at, 2 the command line cannot be understood.`,
		Example: `  broadcaster doctor --env prod --domain payments
  broadcaster doctor --env prod --domain payments --function payments-secret-broadcaster --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			on, err := where.find(cmd.Context())
			if err != nil {
				return err
			}
			cfg := doctor.Config{AWS: on, Env: where.env, Domain: where.domain, Function: where.function, Commands: commandNames()}
			return tellFindings(cmd.OutOrStdout(), doctor.Examine(cmd.Context(), cfg), asJSON)
		},
	}
	where.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// found is what --json prints.
func found(findings []doctor.Finding) any { return map[string]any{"findings": findings} }

// tellFindings prints what was found. Its error says that not all is well.
func tellFindings(out io.Writer, findings []doctor.Finding, asJSON bool) error {
	ill := 0
	for _, f := range findings {
		if !f.OK {
			ill++
		}
	}
	var problem error
	if ill > 0 {
		problem = fmt.Errorf("not well, or not looked at: %d of %d", ill, len(findings))
	}
	if asJSON {
		return errors.Join(printJSON(out, found(findings)), problem)
	}
	for _, f := range findings {
		line := "ok    " + f.Check
		if f.Note != "" {
			line += ": " + f.Note
		}
		if !f.OK {
			line = "wrong " + f.Check + ": " + f.Problem
			if f.Lacks != "" {
				line = "dark  " + f.Check + ": " + f.Problem
			}
			if f.Fix != "" {
				line += "\n      " + f.Fix
			}
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return problem
}
