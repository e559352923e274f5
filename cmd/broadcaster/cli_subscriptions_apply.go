//go:build !lambdaartifact

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

var (
	errNoPlan      = errors.New("this is no plan of this version: write one with broadcaster subscriptions plan --out")
	errFileChanged = errors.New("the file is not what was planned any more: plan again")
)

func newApply() *cobra.Command {
	var (
		where    place
		planFile string
		asJSON   bool
		o        = order{Name: applyCommand}
	)
	cmd := &cobra.Command{
		Use:   "apply FILE|--plan PLAN",
		Short: "Have a manifest hold, without a deployment",
		Long: `Have a manifest hold, without a deployment. The next change is delivered by it.

With --plan it does exactly what was planned, or refuses because the file is another one, or because another manifest
holds than the one that the plan was made against: then plan again. With a file it plans, does it, and prints the plan.
Applying once more what was applied last changes nothing. Who applied, when and why is recorded in the operations table;
who, as AWS authenticated it.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster subscriptions apply --plan plan.json --reason 'PAY-12: refunds read the API key'
  broadcaster subscriptions apply infra/subscriptions/prod/payments.yaml --reason 'PAY-12' --dry-run`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || (len(args) == 1) == (planFile != "") {
				return usageError{cmd.CommandPath() + " takes one manifest, or --plan"}
			}
			return nil
		},
		ValidArgsFunction: completeManifests,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return usageError{err.Error()}
			}
			var (
				p   plan
				f   *subscribers.File
				err error
			)
			if planFile != "" {
				p, f, err = readPlan(planFile, cmd.ErrOrStderr())
			} else {
				p, f, err = makePlan(cmd.Context(), where, args[0], cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			if o.Details, err = json.Marshal(application{Replaces: p.Replaces.Digest, Manifest: string(f.Text)}); err != nil {
				return fmt.Errorf("encoding the manifest: %w", err)
			}
			where.env, where.domain = p.Env, p.Domain
			var answer applyAnswer
			if err := where.send(cmd.Context(), o, &answer); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			if !answer.nothing() || p.Problem != "" { // a plan that was carried out before tells of what held then
				if err := p.print(cmd.OutOrStdout(), time.Now()); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout())
			}
			return answer.print(cmd.OutOrStdout(), where, time.Now())
		},
	}
	where.functionFlag(cmd)
	o.flags(cmd)
	cmd.Flags().StringVar(&planFile, "plan", "", "a file that plan --out wrote")
	_ = cmd.MarkFlagFilename("plan", "json")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// readPlan reads a plan, and the manifest that it was made of.
func readPlan(file string, problems io.Writer) (plan, *subscribers.File, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the user's choice
	if err != nil {
		return plan{}, nil, fmt.Errorf("reading the plan: %w", err)
	}
	var p plan
	if json.Unmarshal(text, &p) != nil || p.Schema != planSchema {
		return plan{}, nil, fmt.Errorf("%s: %w", file, errNoPlan)
	}
	f, err := manifestOf(p.File, problems)
	if err != nil {
		return plan{}, nil, err
	}
	if f.Digest() != p.Digest || f.Env != p.Env || f.Domain != p.Domain {
		return plan{}, nil, fmt.Errorf("%s: %w", p.File, errFileChanged)
	}
	return p, f, nil
}

// nothing reports whether nothing was to be done.
func (a applyAnswer) nothing() bool { return a.Is.Digest == a.Was.Digest && a.Is.At.Equal(a.Was.At) }

// print says what the broadcaster did.
func (a applyAnswer) print(out io.Writer, where place, now time.Time) error {
	how := "done: %s/%s holds %s\n"
	switch {
	case a.nothing():
		how = "nothing to do: %s/%s holds %s\n"
	case a.DryRun:
		how = "dry run: %s/%s would hold %s\n"
	}
	_, err := fmt.Fprintf(out, how, where.env, where.domain, holdingText(a.Is, now))
	return err
}
