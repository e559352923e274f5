//go:build !lambdaartifact

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

func newSubscriptions() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "subscriptions",
		Short: "Say who is told of which changes, as reviewed files",
		Long: `Say who is told of which changes, as reviewed files.

A domain's manifest says which services want to know of which secrets: docs/subscriptions.md. A broadcaster is deployed
with one, which holds until the first apply; from then on the one that was applied last holds, without a deployment.`,
		Example: `  broadcaster subscriptions validate infra/subscriptions
  broadcaster subscriptions plan infra/subscriptions/prod/payments.yaml
  broadcaster subscriptions apply infra/subscriptions/prod/payments.yaml --reason 'PAY-12: refunds read the API key'`,
		Args: knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usageError{"a command is missing: see broadcaster help subscriptions"}
		},
		SuggestionsMinimumDistance: 2,
		FParseErrWhitelist:         commandFlags(),
	}
	cmd.AddCommand(newValidate(), newPlan(), newApply(), newList(), newShow(), newDrift())
	return cmd
}

// manifestOf reads a manifest of the env and domain that it names. It prints each problem on a line of its own that begins
// with the file, where an editor finds it.
func manifestOf(file string, problems io.Writer) (*subscribers.File, error) {
	all, err := subscribers.ReadAll(files{}, []string{file})
	if err == nil {
		return all[0], nil
	}
	lines := err.Error()
	if _, err := fmt.Fprintln(problems, lines); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("the manifest is wrong (problems: %d)", 1+strings.Count(lines, "\n"))
}

// oneManifest is for commands about one file.
func oneManifest(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{cmd.CommandPath() + " takes one manifest: name its file"}
	}
	return nil
}

// completeManifests completes the names of manifests.
func completeManifests(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// held returns which manifest holds, and the manifest itself; an empty one if none does.
func (d deployment) held(ctx context.Context) (invalidation.Holding, *subscribers.File, error) {
	h, err := d.store.Holding(ctx)
	if err != nil {
		return h, nil, err
	}
	f, err := d.manifest(ctx, h.Digest)
	return h, f, err
}

// manifest returns the one with a digest; an empty one for none.
func (d deployment) manifest(ctx context.Context, digest string) (*subscribers.File, error) {
	if digest == "" {
		return &subscribers.File{Manifest: subscribers.Manifest{Env: d.env, Domain: d.domain}}, nil
	}
	text, err := d.store.Manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	f, err := subscribers.Parse("manifest "+short(digest), text, d.env, d.domain)
	if err != nil {
		return nil, fmt.Errorf("this version cannot read the manifest that holds: use the broadcaster's own: %w", err)
	}
	return f, nil
}

// known returns the names of the secrets that the broadcaster knows and that are not deleted.
func (d deployment) known(ctx context.Context) ([]string, error) {
	rows, err := d.store.Secrets(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, row := range rows {
		if row.State != invalidation.Deleted {
			names = append(names, row.Name)
		}
	}
	return names, nil
}

// holdingText says which manifest holds, and below it since when, by whom and why.
func holdingText(h invalidation.Holding, now time.Time) string {
	if h.Digest == "" {
		return "no manifest: nothing is pushed"
	}
	if h.Packaged {
		return fmt.Sprintf("manifest %s\n  packaged with the deployment, since %s", short(h.Digest), when(h.At, now))
	}
	return fmt.Sprintf("manifest %s\n  applied %s, by %s\n  %s", short(h.Digest), when(h.At, now), h.By, h.Reason)
}

// short is how people read a digest.
func short(digest string) string { return digest[:min(len(digest), 12)] }

// functionText is a function as a table has it: an ARN's end.
func functionText(function string) string {
	if function == "" {
		return "who reports it"
	}
	if _, name, isARN := strings.Cut(function, ":function:"); isARN {
		return name
	}
	return function
}

func deliverText(s subscribers.Service) string {
	if s.Pushes() {
		return "push"
	}
	return "pull"
}

// secretsText is a few names, and how many there are beside them.
func secretsText(names []string, more int) string {
	few := names[:min(len(names), 3)]
	return some(few, more+len(names)-len(few))
}

var errNoManifest = errors.New("no manifest was found: they are files named *.yaml or *.yml")
