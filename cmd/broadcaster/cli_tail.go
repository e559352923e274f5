//go:build !lambdaartifact

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

func newTail(now func() time.Time) *cobra.Command {
	var (
		where  place
		last   int64
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow a domain's changes and what becomes of them",
		Long: `Follow a domain's changes and what becomes of them, until Ctrl-C.

A line for each change as it is appended, and for each delivery as it is acknowledged, fails, is left pending or skipped.
With --json each line is an object with "revision" and either "changes" and "causes" or "delivery". It only reads.

Exit codes: 0 ended by Ctrl-C, 1 failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster tail --env prod --domain payments
  broadcaster tail --last 20 --env prod --domain payments --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if last < 0 {
				return usageError{"--last must not be negative"}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			_, r, err := where.reader(ctx, now)
			if err != nil {
				return err
			}
			for event, err := range r.Follow(ctx, last) {
				if err != nil {
					return err
				}
				if err := printEvent(cmd.OutOrStdout(), where, event, asJSON); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().Int64Var(&last, "last", 5, "how many revisions to begin with")
	where.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// A tailLine is what --json prints of each event.
type tailLine struct {
	Revision int64                  `json:"revision"`
	Time     time.Time              `json:"time"`
	Changes  []wire.Change          `json:"changes,omitempty"`
	Causes   []invalidation.Cause   `json:"causes,omitempty"`
	Delivery *invalidation.Delivery `json:"delivery,omitempty"`
}

func printEvent(out io.Writer, where place, e history.Event, asJSON bool) error {
	if asJSON {
		line := tailLine{Delivery: e.Delivery}
		if e.Row != nil {
			line.Revision, line.Time, line.Changes, line.Causes = e.Row.Revision, e.Row.Time, e.Row.Changes, e.Row.Causes
		} else {
			line.Revision, line.Time = e.Delivery.Revision, e.Delivery.Time
		}
		return json.NewEncoder(out).Encode(line)
	}
	tell := func(at time.Time, revision int64, what string) {
		fmt.Fprintf(out, "%-20s  %-8d  %s\n", instant(at), revision, what)
	}
	if d := e.Delivery; d != nil {
		tell(d.Time, d.Revision, fmt.Sprintf("%s %s%s", d.Subscription, deliveryText(d.Outcome, d.Reason, true), ackedBy(d.Ack)))
		return nil
	}
	for _, c := range e.Row.Changes {
		tell(e.Row.Time, e.Row.Revision, fmt.Sprintf("%s %s%s", where.short(c.Name), c.Kind, toldBy(e.Row.Causes)))
	}
	return nil
}

func ackedBy(ack *wire.Ack) string {
	if ack == nil {
		return ""
	}
	return ", environment " + ack.Environment
}

func toldBy(causes []invalidation.Cause) string {
	var kinds []string
	for _, c := range causes {
		if c.DetailType != "" && !strings.Contains(strings.Join(kinds, ", "), c.DetailType) {
			kinds = append(kinds, c.DetailType)
		}
	}
	if len(kinds) == 0 {
		return ""
	}
	return ", told by " + strings.Join(kinds, ", ")
}
