//go:build !lambdaartifact

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

func newChanges(now func() time.Time) *cobra.Command {
	var (
		where  place
		from   = timeFlag{ago: 30 * time.Minute}
		until  timeFlag
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "changes", Short: "List what changed in a domain and what became of it",
		Long: `List what changed in a domain and what became of it, oldest first.

One line for each secret of each revision, and beside the first one how the revision's deliveries stand. "found by a
tick" is a change whose event never came. It only reads, and prints what it has read as it goes.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster changes --since 30m --env prod --domain payments
  broadcaster changes --since 2026-11-23T09:00:00Z --until 2026-11-23T10:00:00Z --env prod --domain payments --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			begin, end := from.time(now()), cmp.Or(until.time(now()), now())
			if !begin.Before(end) {
				return usageError{"--since must be before --until, and before now"}
			}
			_, r, err := where.reader(cmd.Context(), now)
			if err != nil {
				return err
			}
			all := r.Changes(cmd.Context(), begin, end)
			if asJSON {
				return printArray(cmd.OutOrStdout(), "changes", all)
			}
			return printChanges(cmd.OutOrStdout(), where, all)
		},
	}
	flags := cmd.Flags()
	flags.Var(&from, "since", "from when on, as 2026-11-23T10:00:00Z, or so long ago, as 2h")
	flags.Var(&until, "until", "until when, likewise (default now)")
	where.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printChanges(out io.Writer, where place, all iter.Seq2[history.Told, error]) error {
	t := table{out, []int{8, 20, 32, 8}}
	n := 0
	for told, err := range all {
		if err != nil {
			return err
		}
		if n++; n == 1 {
			t.print("REVISION", "APPENDED", "SECRET", "KIND", "WHAT BECAME OF IT")
		}
		became := becameOf(told)
		for i := range max(len(told.Changes), len(became)) {
			cells := []string{"", "", "", "", ""}
			if i == 0 {
				cells[0], cells[1] = strconv.FormatInt(told.Revision, 10), instant(told.Appended)
			}
			if i < len(told.Changes) {
				cells[2], cells[3] = where.short(told.Changes[i].Name), string(told.Changes[i].Kind)
			}
			if i < len(became) {
				cells[4] = became[i]
			}
			t.print(cells...)
		}
	}
	if n == 0 {
		fmt.Fprintln(out, "Nothing changed.")
	}
	return nil
}

// becameOf says how a revision's deliveries stand, the worst first.
func becameOf(told history.Told) []string {
	var lines []string
	d := told.Deliveries
	count := func(n int, what string) {
		if n > 0 {
			lines = append(lines, fmt.Sprintf("%d %s", n, what))
		}
	}
	count(d.Failed, "failed")
	count(d.Pending, "pending")
	for _, reason := range slices.Sorted(maps.Keys(d.Reasons)) {
		lines = append(lines, fmt.Sprintf("  %s: %d", reason, d.Reasons[reason]))
	}
	count(d.Acknowledged, "acknowledged")
	count(d.Skipped, "skipped")
	if told.Open && len(lines) == 0 {
		lines = append(lines, "not delivered yet")
	}
	if told.Found {
		lines = append(lines, "found by a tick")
	}
	return lines
}

// printArray prints one JSON object with one array, whose elements it does not hold all at once.
func printArray[T any](out io.Writer, name string, all iter.Seq2[T, error]) error {
	fmt.Fprintf(out, "{\n  %q: [", name)
	separator := "\n    "
	for is, err := range all {
		if err != nil {
			return err // what was printed is no JSON then, and the exit code tells
		}
		text, err := json.MarshalIndent(is, "    ", "  ")
		if err != nil {
			return fmt.Errorf("encoding %s: %w", name, err)
		}
		if _, err := fmt.Fprintf(out, "%s%s", separator, text); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		separator = ",\n    "
	}
	_, err := fmt.Fprint(out, "\n  ]\n}\n")
	return err
}
