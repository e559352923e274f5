//go:build !lambdaartifact

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A listing is what --json prints.
type listing struct {
	Env      string                `json:"env"`
	Domain   string                `json:"domain"`
	Holds    invalidation.Holding  `json:"holds"`
	Owner    string                `json:"owner"`
	OnDelete string                `json:"onDelete"`
	Services []subscribers.Service `json:"services"`
}

func newList() *cobra.Command {
	var (
		where  place
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Say who is subscribed in a domain, and since when",
		Long: `Say who is subscribed in a domain: the manifest that holds, since when and by whom, and its entries.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster subscriptions list --env prod --domain payments
  broadcaster subscriptions list --env prod --domain payments --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := where.open(cmd.Context())
			if err != nil {
				return err
			}
			holds, f, err := d.held(cmd.Context())
			if err != nil {
				return err
			}
			l := listing{d.env, d.domain, holds, f.Owner, onDeleteText(f.Subscriptions()), append([]subscribers.Service{}, f.Services...)}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), l)
			}
			l.print(cmd.OutOrStdout(), time.Now())
			return nil
		},
	}
	where.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (l listing) print(out io.Writer, now time.Time) {
	fmt.Fprintf(out, "%s/%s holds %s\n", l.Env, l.Domain, holdingText(l.Holds, now))
	if l.Holds.Digest != "" {
		fmt.Fprintf(out, "owner %s, onDelete %s, %s\n", l.Owner, l.OnDelete, counted(len(l.Services), "service"))
	}
	t := table{out, []int{28, 28, 7, 31}}
	for i, s := range l.Services {
		if i == 0 {
			fmt.Fprintln(out)
			t.print("SERVICE", "FUNCTION", "DELIVER", "SECRETS")
		}
		t.print(s.Name, functionText(s.Function), deliverText(s), secretsText(s.Secrets, 0))
	}
}
