//go:build !lambdaartifact

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A plan is what applying a manifest would change: what --json and --out write. apply does it as long as what it Replaces
// holds and the file is what it was.
type plan struct {
	Schema int    `json:"schema"`
	Env    string `json:"env"`
	Domain string `json:"domain"`
	File   string `json:"file"`
	Digest string `json:"digest"` // of the file
	// Replaces is what holds now.
	Replaces invalidation.Holding `json:"replaces"`
	Owner    *switched            `json:"owner,omitempty"`
	OnDelete *switched            `json:"onDelete,omitempty"`
	Changes  []subscribers.Change `json:"changes"`
	// NewlyCalled and NoLongerCalled go by the secrets that the broadcaster knows.
	NewlyCalled    []subscribers.Call `json:"newlyCalled"`
	NoLongerCalled []subscribers.Call `json:"noLongerCalled"`
	// Problem says why what holds could not be compared with.
	Problem string `json:"problem,omitempty"`
}

// A switched is a field that has another value.
type switched struct {
	Was string `json:"was"`
	Is  string `json:"is"`
}

const planSchema = 1

func newPlan() *cobra.Command {
	var (
		where   place
		out     string
		asJSON  bool
		command = &cobra.Command{
			Use:   "plan FILE",
			Short: "Say what applying a manifest would change",
			Long: `Say what applying a manifest would change, against the one that holds: which entries are added (+), changed (~) and
removed (-), who would be called that is not now, for which of the secrets that the broadcaster knows, and who no
longer. It changes nothing. With --out the plan is written to a file, for apply --plan to do exactly that.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
			Example: `  broadcaster subscriptions plan infra/subscriptions/prod/payments.yaml
  broadcaster subscriptions plan infra/subscriptions/prod/payments.yaml --out plan.json`,
			Args: oneManifest, ValidArgsFunction: completeManifests,
		}
	)
	command.RunE = func(cmd *cobra.Command, args []string) error {
		p, _, err := makePlan(cmd.Context(), where, args[0], cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if out != "" {
			if err := p.write(out); err != nil {
				return err
			}
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), p)
		}
		return p.print(cmd.OutOrStdout(), time.Now())
	}
	where.functionFlag(command)
	command.Flags().StringVar(&out, "out", "", "a file that the plan is written to, as JSON")
	jsonFlag(command, &asJSON)
	return command
}

// makePlan compares a file with what holds where it belongs.
func makePlan(ctx context.Context, where place, file string, problems io.Writer) (plan, *subscribers.File, error) {
	f, err := manifestOf(file, problems)
	if err != nil {
		return plan{}, nil, err
	}
	where.env, where.domain = f.Env, f.Domain
	d, err := where.open(ctx)
	if err != nil {
		return plan{}, nil, err
	}
	holds, err := d.store.Holding(ctx)
	if err != nil {
		return plan{}, nil, err
	}
	was, unread := d.manifest(ctx, holds.Digest)
	if unread != nil { // which is no reason not to replace it
		was, _ = d.manifest(ctx, "")
	}
	known, err := d.known(ctx)
	if err != nil {
		return plan{}, nil, err
	}
	before, after := was.Subscriptions(), f.Subscriptions()
	p := plan{
		Schema: planSchema, Env: f.Env, Domain: f.Domain, File: file, Digest: f.Digest(), Replaces: holds,
		Changes: was.Changes(f.Manifest), NewlyCalled: subscribers.NewCalls(before, after, known), NoLongerCalled: subscribers.NewCalls(after, before, known),
	}
	if unread != nil {
		p.Problem = "what holds cannot be read, so all of the file seems to be new: " + unread.Error()
	}
	if was.Owner != f.Owner {
		p.Owner = &switched{was.Owner, f.Owner}
	}
	if before.IgnoreDeletions != after.IgnoreDeletions {
		p.OnDelete = &switched{onDeleteText(before), onDeleteText(after)}
	}
	return p, f, nil
}

func onDeleteText(s *subscribers.Subscriptions) string {
	if s.IgnoreDeletions {
		return "ttl"
	}
	return "evict"
}

func (p plan) write(file string) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the plan: %w", err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	return nil
}

// print writes the plan as a diff.
func (p plan) print(out io.Writer, now time.Time) error {
	var t strings.Builder
	fmt.Fprintf(&t, "%s/%s holds %s\nplanned: manifest %s, %s\n\n", p.Env, p.Domain, holdingText(p.Replaces, now), short(p.Digest), p.File)
	if p.Owner != nil {
		fmt.Fprintf(&t, "~ owner: %s, was %s\n", p.Owner.Is, cmp.Or(p.Owner.Was, "none"))
	}
	if p.OnDelete != nil {
		fmt.Fprintf(&t, "~ onDelete: %s, was %s\n", p.OnDelete.Is, p.OnDelete.Was)
	}
	added, changed, removed := 0, 0, 0
	for _, c := range p.Changes {
		switch {
		case c.Was == nil:
			added++
			entryDiff(&t, "+", c.Service, subscribers.Service{}, *c.Is)
		case c.Is == nil:
			removed++
			entryDiff(&t, "-", c.Service, *c.Was, subscribers.Service{})
		default:
			changed++
			entryDiff(&t, "~", c.Service, *c.Was, *c.Is)
		}
	}
	fmt.Fprintf(&t, "services: %d to add, %d to change, %d to remove\n", added, changed, removed)
	callsText(&t, "newly called", p.NewlyCalled)
	callsText(&t, "no longer called", p.NoLongerCalled)
	if p.Problem != "" {
		fmt.Fprintf(&t, "problem: %s\n", p.Problem)
	}
	_, err := io.WriteString(out, t.String())
	return err
}

// entryDiff writes what is another between two entries of a service, of which one may be none.
func entryDiff(t *strings.Builder, sign, service string, was, is subscribers.Service) {
	fmt.Fprintf(t, "%s %s\n", sign, service)
	lines := func(s subscribers.Service) []string {
		if s.Name == "" {
			return nil
		}
		all := []string{"deliver: " + deliverText(s), "function: " + functionText(s.Function)}
		for _, pattern := range slices.Sorted(slices.Values(s.Secrets)) {
			all = append(all, "secret: "+pattern)
		}
		return all
	}
	before, after := lines(was), lines(is)
	for _, line := range before {
		if !slices.Contains(after, line) {
			fmt.Fprintf(t, "    - %s\n", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			fmt.Fprintf(t, "    + %s\n", line)
		}
	}
}

func callsText(t *strings.Builder, what string, calls []subscribers.Call) {
	fmt.Fprintf(t, "%s: %d\n", what, len(calls))
	for _, c := range calls {
		fmt.Fprintf(t, "    %s through %s: %s\n", c.Service, functionText(c.Function), secretsText(c.Secrets, c.More))
	}
}
