//go:build !lambdaartifact

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
)

// A drifting is what --json prints.
type drifting struct {
	Env    string               `json:"env"`
	Domain string               `json:"domain"`
	Holds  invalidation.Holding `json:"holds"`
	history.Drift
}

func newDrift() *cobra.Command {
	var (
		where  place
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "Say who reads secrets without a subscription, and which subscriptions nobody uses",
		Long: `Say where the manifest that holds and what environments report differ: who holds a secret of the domain that no
subscription of theirs asks for, and which subscriptions nobody uses, since nothing reports the service's name, the
function does not exist, or no environment holds a secret that is asked for. The log tells everybody all the same: who
is not subscribed lacks the push and its proof. Reports expire, so a service that is seldom invoked may look unused.

Exit codes: 0 nothing differs, 1 something does or the command failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster subscriptions drift --env prod --domain payments
  broadcaster subscriptions drift --env prod --domain payments --json`,
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
			reports, err := d.reports.All(cmd.Context())
			if err != nil {
				return err
			}
			drift, err := history.DriftOf(cmd.Context(), f, reports, lambda.NewTags(awslambda.NewFromConfig(d.aws), d.arn, d.arn.Region))
			if err != nil {
				return err
			}
			is := drifting{d.env, d.domain, holds, drift}
			return errors.Join(is.print(cmd.OutOrStdout(), asJSON, time.Now()), is.problem())
		},
	}
	where.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (d drifting) problem() error {
	if len(d.Unsubscribed)+len(d.Unused) == 0 {
		return nil
	}
	return fmt.Errorf("the manifest differs from what is reported (not subscribed: %d, not used: %d)", len(d.Unsubscribed), len(d.Unused))
}

func (d drifting) print(out io.Writer, asJSON bool, now time.Time) error {
	if asJSON {
		return printJSON(out, d)
	}
	var t strings.Builder
	fmt.Fprintf(&t, "%s/%s holds %s\n", d.Env, d.Domain, holdingText(d.Holds, now))
	fmt.Fprintf(&t, "not subscribed: %d\n", len(d.Unsubscribed))
	for _, r := range d.Unsubscribed {
		fmt.Fprintf(&t, "    %s holds %s, reported %s\n", r.Service, secretsText(r.Secrets, 0), when(r.LastSeen, now))
	}
	fmt.Fprintf(&t, "not used: %d\n", len(d.Unused))
	for _, u := range d.Unused {
		fmt.Fprintf(&t, "    %s: %s\n", u.Service, unusedText(u.Why))
	}
	_, err := io.WriteString(out, t.String())
	return err
}

func unusedText(why history.UnusedWhy) string {
	switch why {
	case history.NoFunction:
		return "its function does not exist, and nothing reports its name"
	case history.NoReport:
		return "nothing reports its name"
	case history.NotHeld:
		return "its environments hold none of the secrets that it asks for"
	}
	return string(why)
}
