//go:build !lambdaartifact

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

func newInvalidate() *cobra.Command {
	var (
		where  place
		o      = order{Name: invalidateCommand}
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "invalidate SECRET",
		Short: "Announce a secret by hand, now: after a leak, or when AWS sent nothing",
		Long: `Announce a secret by hand, now: after a leak, or when AWS sent nothing.

The broadcaster asks Secrets Manager what is current, as ever. What the log does not tell yet is appended as what it is;
if nothing has changed, a refresh is: every environment fetches the same version again. A secret that is deleted, or has
no version yet, has nothing to fetch, and that is said. SECRET is its full name, what follows /bank/{env}/{domain}/ in it,
or its ARN. It changes no secret: after a leak, rotate first.
Each time is recorded, and announced anew. Who, when and why is recorded as with broadcaster pause.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster invalidate neon/connection-string --env prod --domain payments --reason 'INC-4711: it was in a log'
  broadcaster invalidate /bank/prod/payments/neon/connection-string --env prod --domain payments --reason 'try it' --dry-run`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{"name one secret: " + cmd.CommandPath() + " SECRET"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := where.secret(args[0])
			if err != nil {
				return err
			}
			o.Details, _ = json.Marshal(invalidateDetails{secret}) // a string always marshals
			var answer invalidateAnswer
			if err := where.send(cmd.Context(), o, &answer); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			return answer.print(cmd.OutOrStdout(), where)
		},
	}
	where.flags(cmd)
	o.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// print says what was announced, to whom, and what to do next.
func (a invalidateAnswer) print(out io.Writer, where place) error {
	did, revision := "announced", "revision"
	if a.DryRun {
		did, revision = "would announce", "about revision"
	}
	c := a.Is.Change
	switch {
	case c == nil && a.Is.Revision == 0:
		_, err := fmt.Fprintf(out, "%s is %s: there is nothing to fetch, so nothing is announced\n", a.Is.Name, a.Is.State)
		return err
	case c == nil:
		_, err := fmt.Fprintf(out, "%s is %s: there is nothing to fetch; revision %d has told of it\n", a.Is.Name, a.Is.State, a.Is.Revision)
		return err
	}
	fmt.Fprintf(out, "%s %s\n  as %s", did, a.Is.Name, c.Kind)
	if c.VersionID != "" {
		fmt.Fprintf(out, ", version %s", c.VersionID)
	}
	fmt.Fprintf(out, ", %s %d\n", revision, a.Is.Revision)
	if a.Problem != "" {
		fmt.Fprintln(out, "problem: "+a.Problem)
	}
	if err := printSent(out, a.Deliveries, a.DryRun); err != nil || a.DryRun {
		return err
	}
	_, err := fmt.Fprintf(out, "next: broadcaster wait %s --env %s --domain %s\n", a.Is.Name, where.env, where.domain)
	return err
}

// printSent is a table of deliveries.
func printSent(out io.Writer, all []sentTo, dryRun bool) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no service is subscribed: the log alone tells its readers")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SERVICE\tFUNCTION\tREVISION\tOUTCOME")
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", fit(s.Service, 30), fit(shortFunction(s.Function), 30), s.Revision, s.outcome(dryRun))
	}
	return table.Flush()
}

// outcome says in a few words how a delivery stands, or would before anything is pushed.
func (s sentTo) outcome(dryRun bool) string {
	switch {
	case s.Left != "":
		return "left: " + fit(s.Left, 24)
	case dryRun && s.Outcome == invalidation.Pending && s.Reason == "":
		return "would be pushed"
	case s.Reason != "":
		return string(s.Outcome) + ": " + string(s.Reason)
	}
	return string(s.Outcome)
}

// shortFunction is a function's name and qualifier, of an ARN too.
func shortFunction(function string) string {
	if _, name, isARN := strings.Cut(function, ":function:"); isARN {
		return name
	}
	if function == "" {
		return "(those that report)"
	}
	return function
}

// fit cuts a text for a column.
func fit(text string, columns int) string {
	if runes := []rune(text); len(runes) > columns {
		return string(runes[:columns-1]) + "…"
	}
	return text
}
