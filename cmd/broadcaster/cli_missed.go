//go:build !lambdaartifact

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

func newMissed(now func() time.Time) *cobra.Command {
	var (
		where  place
		from   = timeFlag{ago: 24 * time.Hour}
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "missed", Short: "List what was missed, by cause, and what to do about it",
		Long: `List what was missed, by cause, and what to do about it.

Deliveries that failed and that no later ack of the same function has made good, those that are pending (however old),
messages that are parked in the dead-letter queue, and changes of which no event told. Each group ends with the command
to type next. What a service missed that is no longer subscribed stands last, without one. It only reads.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster missed --env prod --domain payments
  broadcaster missed --since 2h --env prod --domain payments --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !from.time(now()).Before(now()) {
				return usageError{"--since must be before now"}
			}
			d, r, err := where.reader(cmd.Context(), now)
			if err != nil {
				return err
			}
			groups, err := r.Missed(cmd.Context(), from.time(now()), d.queue)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{"missed": groups})
			}
			printMissed(cmd.OutOrStdout(), where, groups, now())
			return nil
		},
	}
	cmd.Flags().Var(&from, "since", "from when on, as 2026-11-23T10:00:00Z, or so long ago, as 2h")
	where.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printMissed(out io.Writer, where place, groups []history.Group, now time.Time) {
	if len(groups) == 0 {
		fmt.Fprintln(out, "Nothing was missed.")
	}
	t := table{out, []int{11}}
	for i, g := range groups {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintln(out, groupText(g, now))
		if len(g.Services) > 0 {
			t.print("  services:", some(g.Services, g.More))
		}
		if len(g.Secrets) > 0 {
			for i, name := range g.Secrets {
				g.Secrets[i] = where.short(name)
			}
			t.print("  secrets:", some(g.Secrets, g.More))
		}
		if g.Next != "" {
			fmt.Fprintln(out, "  next:      "+g.Next)
		}
	}
}

func groupText(g history.Group, now time.Time) string {
	revisions := fmt.Sprintf("revisions %d to %d", g.First, g.Last)
	if g.First == g.Last {
		revisions = fmt.Sprintf("revision %d", g.First)
	}
	switch g.How {
	case history.MissedParked:
		return counted(g.Count, "message") + " parked in the dead-letter queue"
	case history.MissedByNobody:
		return fmt.Sprintf("%s to services that are no longer subscribed, so nothing is missing: %s", counted(g.Count, "delivery"), revisions)
	case history.MissedFound:
		return fmt.Sprintf("%s whose event never came, found by a tick: %s, the newest %s", counted(g.Count, "change"), revisions, since(g.Newest, now))
	default:
		return fmt.Sprintf("%s %s, %s: %s, the oldest %s", counted(g.Count, "delivery"), g.How, g.Reason, revisions, since(g.Oldest, now))
	}
}
