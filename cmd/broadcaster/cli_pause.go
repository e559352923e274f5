//go:build !lambdaartifact

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

func newPause() *cobra.Command {
	return newPauseOrder(pauseCommand, "Hold a domain's pushes back, without a deployment", `Hold a domain's pushes back, without a deployment.

Changes are still confirmed and appended: every environment finds them in the log at its next read, at most CheckEvery
later. Only the pushes wait, as pending deliveries with the reason "paused", until broadcaster resume.
Who paused, when and why is recorded in the operations table; who, as AWS authenticated it. A pause over a pause is
recorded too, and changes nothing: since when pushes are held back is seen until broadcaster resume.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		`  broadcaster pause --env prod --domain payments --reason 'INC-4711: payments-api fails on every push'
  broadcaster pause --env prod --domain payments --reason 'try it' --dry-run
  broadcaster pause --env prod --domain payments --reason 'INC-4711' --json`)
}

func newResume() *cobra.Command {
	return newPauseOrder(resumeCommand, "Send a domain's pushes again that were held back", `Send a domain's pushes again that were held back.

Nothing was lost: one push of the newest revision tells each function of everything that it missed. What cannot be
delivered at once stays pending and is tried again. Who resumed, when and why is recorded as with broadcaster pause.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		`  broadcaster resume --env prod --domain payments --reason 'INC-4711: payments-api 1.2.1 is live'
  broadcaster resume --env prod --domain payments --reason 'try it' --dry-run`)
}

// newPauseOrder is pause or resume.
func newPauseOrder(name, short, long, examples string) *cobra.Command {
	var (
		where  place
		o      = order{Name: name}
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long, Example: examples, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer pauseAnswer
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

// print says what the broadcaster did.
func (a pauseAnswer) print(out io.Writer, where place) error {
	lines := []string{"was: " + pauseText(a.Was), "is:  " + pauseText(a.Is)}
	switch {
	case a.Was.Paused == a.Is.Paused:
		lines = []string{"is as it was: " + pauseText(a.Is)}
	case a.DryRun:
		lines = []string{"is:           " + pauseText(a.Was), "would become: " + pauseText(a.Is)}
	}
	lines = append(lines, fmt.Sprintf("revisions of %s/%s with deliveries left: %d", where.env, where.domain, a.OpenFanouts))
	if a.Problem != "" {
		lines = append(lines, "problem: "+a.Problem)
	}
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

func pauseText(p invalidation.Pause) string {
	how := "pushed"
	if p.Paused {
		how = "paused"
	}
	if p.At.IsZero() {
		return how
	}
	return fmt.Sprintf("%s since %s, by %s: %s", how, p.At.Format(time.RFC3339), p.By, p.Reason)
}
