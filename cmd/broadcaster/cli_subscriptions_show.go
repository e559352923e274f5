//go:build !lambdaartifact

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A showing is what --json prints: of a service its one subscription, of a secret all that want to know of it.
type showing struct {
	Env    string               `json:"env"`
	Domain string               `json:"domain"`
	Holds  invalidation.Holding `json:"holds"`
	Secret string               `json:"secret,omitempty"` // that was asked for
	// Known: the broadcaster has seen the secret.
	Known         bool         `json:"known,omitempty"`
	Subscriptions []shownEntry `json:"subscriptions"`
}

type shownEntry struct {
	subscribers.Service
	Pattern   string                `json:"pattern,omitempty"` // by which it wants the secret that was asked for
	Functions []invalidation.Target `json:"functions"`
	// Matches are the secrets that it wants of those that the broadcaster knows, if a service was asked for.
	Matches []string `json:"matches,omitempty"`
	// Environments have reported, the last one at LastReport.
	Environments int       `json:"environments"`
	LastReport   time.Time `json:"lastReport,omitzero"`
}

func newShow() *cobra.Command {
	var (
		where  place
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "show SERVICE|SECRET",
		Short: "Say what a service is told, or who is told of a secret, and whether pushes arrive",
		Long: `Say what a service is told, or who is told of a secret: by which pattern, through which functions, and whether a change
would be pushed to them now. If not, why: the tags and the reports are looked at as the broadcaster does before each
push. A secret is named by its name, by what follows /bank/{env}/{domain}/ in it, or by its ARN. It changes nothing.

Exit codes: 0 done, 1 failed or not subscribed, 2 the command line cannot be understood.`,
		Example: `  broadcaster subscriptions show payments-api --env prod --domain payments
  broadcaster subscriptions show neon/connection-string --env prod --domain payments --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{cmd.CommandPath() + " takes a service's name, or a secret's"}
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			secrets, directive := where.completeSecret(cmd, args, word)
			if len(args) == 0 && where.named() == nil { // else it has been said
				services, _ := where.completeService(cmd, args, word)
				secrets = append(services, secrets...)
			}
			return secrets, directive
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, secret := args[0], events.Signal{}
			isSecret := strings.ContainsAny(about, "/:") // no service's name has one
			if isSecret {
				var err error
				if secret, err = where.secret(about); err != nil {
					return err
				}
			}
			d, r, err := where.reader(cmd.Context(), time.Now)
			if err != nil {
				return err
			}
			if isSecret {
				if about, err = d.name(cmd.Context(), r, secret); err != nil {
					return err
				}
			}
			s, err := d.show(cmd.Context(), about)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), s)
			}
			return s.print(cmd.OutOrStdout(), time.Now())
		},
	}
	where.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// show looks a service up, or a secret by its whole name.
func (d deployment) show(ctx context.Context, about string) (showing, error) {
	holds, f, err := d.held(ctx)
	if err != nil {
		return showing{}, err
	}
	known, err := d.known(ctx)
	if err != nil {
		return showing{}, err
	}
	s := showing{Env: d.env, Domain: d.domain, Holds: holds, Subscriptions: []shownEntry{}}
	subscribed, audience := f.Subscriptions(), invalidation.NewAudience(d.env, d.domain, lambda.NewFunctions(awslambda.NewFromConfig(d.aws)), d.reports, nil)
	add := func(sub subscribers.Subscription, matches []string) error {
		is := shownEntry{Service: entryOf(f, sub.Service), Pattern: sub.Pattern, Matches: matches}
		if err := is.look(ctx, d, audience, sub); err != nil {
			return err
		}
		s.Subscriptions = append(s.Subscriptions, is)
		return nil
	}
	if strings.HasPrefix(about, "/") {
		s.Secret, s.Known = about, slices.Contains(known, about)
		for _, sub := range subscribed.Match([]string{about}) {
			if err := add(sub, nil); err != nil {
				return showing{}, err
			}
		}
		return s, nil
	}
	sub, ok := subscribed.Of(about)
	if !ok {
		return showing{}, fmt.Errorf("no service of this name is subscribed in %s/%s: see broadcaster subscriptions list", d.env, d.domain)
	}
	var matches []string
	for _, name := range known {
		if slices.ContainsFunc(subscribed.Match([]string{name}), func(m subscribers.Subscription) bool { return m.Service == about }) {
			matches = append(matches, name)
		}
	}
	return s, add(sub, matches)
}

func entryOf(f *subscribers.File, service string) subscribers.Service {
	return f.Services[slices.IndexFunc(f.Services, func(s subscribers.Service) bool { return s.Name == service })]
}

// look finds out what is known of a subscription's functions and environments.
func (is *shownEntry) look(ctx context.Context, d deployment, audience *invalidation.Audience, sub subscribers.Subscription) error {
	var err error
	if is.Functions, err = audience.Targets(ctx, sub); err != nil {
		return err
	}
	reports, err := d.reports.Of(ctx, sub.Service)
	if err != nil {
		return err
	}
	is.Environments = len(reports)
	for _, r := range reports {
		if r.Time.After(is.LastReport) {
			is.LastReport = r.Time
		}
	}
	return nil
}

func (s showing) print(out io.Writer, now time.Time) error {
	var t strings.Builder
	fmt.Fprintf(&t, "%s/%s holds %s\n", s.Env, s.Domain, holdingText(s.Holds, now))
	if s.Secret != "" {
		note := ""
		if !s.Known {
			note = ", of which the broadcaster does not know"
		}
		fmt.Fprintf(&t, "%s%s: %s\n", s.Secret, note, counted(len(s.Subscriptions), "subscription"))
	}
	for _, is := range s.Subscriptions {
		fmt.Fprintf(&t, "\n%s\n  patterns: %s\n", is.Name, strings.Join(is.Secrets, ", "))
		if is.Pattern != "" {
			fmt.Fprintf(&t, "  wants it by: %s\n", is.Pattern)
		}
		if s.Secret == "" {
			fmt.Fprintf(&t, "  secrets that are there: %d\n", len(is.Matches))
			for _, name := range is.Matches {
				fmt.Fprintf(&t, "    %s\n", name)
			}
		}
		for _, f := range is.Functions {
			fmt.Fprintf(&t, "  function %s: %s\n", functionText(f.Function), pushText(f, s.Env, s.Domain))
		}
		if is.Environments == 0 {
			t.WriteString("  no environment has reported this service's name\n")
		} else {
			fmt.Fprintf(&t, "  reported by %s, the last time %s\n", counted(is.Environments, "environment"), when(is.LastReport, now))
		}
	}
	_, err := io.WriteString(out, t.String())
	return err
}

// pushText says whether a function is pushed to, or why not and what to do.
func pushText(t invalidation.Target, env, domain string) string {
	const not = "no push (%s): "
	switch {
	case t.Pushed:
		return "pushed to"
	case t.Reason == invalidation.Pull:
		return fmt.Sprintf(not+"the manifest says so; the log tells it", t.Reason)
	case t.Reason == invalidation.Untagged:
		return fmt.Sprintf(not+"set its tags %s=true, %s=%s, %s=%s", t.Reason, invalidation.PushTag, invalidation.EnvTag, env, invalidation.DomainTag, domain)
	case t.Reason == invalidation.NoReport:
		return fmt.Sprintf(not+"no environment has reported a wrapped handler since it was last changed; invoke it once", t.Reason)
	case t.Reason == invalidation.NotPermitted:
		return fmt.Sprintf(not+"it may not be looked at with these credentials", t.Reason)
	case t.Reason == invalidation.NoFunction:
		return fmt.Sprintf(not+"there is no such function; correct the manifest", t.Reason)
	}
	return fmt.Sprintf(not+"it cannot be told now", t.Reason)
}
