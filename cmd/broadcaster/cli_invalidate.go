//go:build !lambdaartifact

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

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
no version yet, has nothing to fetch, and that is said. SECRET is its full name, what follows /bank/{env}/{domain}/ in
it, or its ARN. It changes no secret: after a leak, rotate first. Each time is recorded, and announced anew. Who, when
and why is recorded as with broadcaster pause.

Exit codes: 0 done, 1 failed or a delivery failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster invalidate neon/connection-string --env prod --domain payments --reason 'INC-4711: it was in a log'
  broadcaster invalidate /bank/prod/payments/neon/password --env prod --domain payments --reason 'try it' --dry-run`,
		Args:              oneSecret,
		ValidArgsFunction: where.completeSecret,
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := where.secret(args[0])
			if err != nil {
				return err
			}
			o.Details, _ = json.Marshal(invalidateDetails{cmp.Or(secret.Name, secret.ARN)}) // a string always marshals
			var answer invalidateAnswer
			if err := where.send(cmd.Context(), o, &answer); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), answer)
			} else {
				err = answer.print(cmd.OutOrStdout(), where)
			}
			return errors.Join(err, answer.failed())
		},
	}
	where.flags(cmd)
	o.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// failed is an error if a delivery failed.
func (a invalidateAnswer) failed() error {
	n := 0
	for _, d := range a.Deliveries {
		if d.Outcome == invalidation.Undelivered && !a.DryRun {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%s failed: broadcaster missed says what to do next", counted(n, "delivery"))
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
	t := table{out, []int{26, 32, 8}}
	t.print("SERVICE", "FUNCTION", "REVISION", "OUTCOME")
	for _, s := range all {
		t.print(s.Service, functionText(s.Function), strconv.FormatInt(s.Revision, 10), s.outcome(dryRun))
	}
	return nil
}

// outcome says in a few words how a delivery stands, or would before anything is pushed.
func (s sentTo) outcome(dryRun bool) string {
	switch {
	case s.Left != "":
		return "left: " + s.Left
	case dryRun && s.Outcome == invalidation.Pending && s.Reason == "":
		return "would be pushed"
	case s.Reason != "":
		return string(s.Outcome) + ": " + string(s.Reason)
	}
	return string(s.Outcome)
}
