//go:build !lambdaartifact

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// A statusLine is what broadcaster status is asked.
type statusLine struct {
	where   place
	secret  events.Signal // the zero one: none is asked for
	service string
	at      timeFlag
	watch   bool
	asJSON  bool
	now     func() time.Time
}

func newStatus(now func() time.Time) *cobra.Command {
	line := statusLine{now: now}
	cmd := &cobra.Command{
		Use:   "status [SECRET]",
		Short: "Say how a domain, a secret or a service stands",
		Long: `Say how a domain, a secret or a service stands.

Without an argument: the broadcaster's health. With a secret: its current version, what changed it, and how far each
service is with the change. With --service: whether it fails because of a secret, and where its log lines are.
SECRET is a name, what follows /bank/{env}/{domain}/, or an ARN. It only reads.

An environment is current if it has reported the change, behind if it reported an older revision after it had to know
of the newer one, else silent: frozen or gone. A silent one looks into the log before it next serves.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster status --env prod --domain payments
  broadcaster status neon/connection-string --env prod --domain payments
  broadcaster status neon/connection-string --at 2026-11-23T10:15:00Z --env prod --domain payments
  broadcaster status --service payments-api --env prod --domain payments --json
  broadcaster status --watch --env prod --domain payments`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: line.where.completeSecret,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usageError{"broadcaster status takes one secret at most"}
			case len(args) == 1 && line.service != "":
				return usageError{"ask for a secret or for a --service, not for both"}
			case cmd.Flags().Changed("service") && line.service == "":
				return usageError{"--service must be a service's name"}
			case line.at.set() && len(args) == 0:
				return usageError{"--at is about a secret: name it"}
			case line.at.time(line.now()).After(line.now()):
				return usageError{"--at must not be in the future"}
			case line.watch && line.at.set():
				return usageError{"--watch does not go with --at"}
			case len(args) == 1:
				var err error
				if line.secret, err = line.where.secret(args[0]); err != nil {
					return err
				}
			}
			return line.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&line.service, "service", "", "a service's name, as it reports it")
	flags.Var(&line.at, "at", "how the secret stood at a time, as 2026-11-23T10:00:00Z, or so long ago, as 30m")
	flags.BoolVar(&line.watch, "watch", false, "look again every 2 s until Ctrl-C; with --json each look is a line")
	line.where.flags(cmd)
	jsonFlag(cmd, &line.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("service", line.where.completeService) // the flag is there
	return cmd
}

// watchEvery is how often --watch looks.
const watchEvery = 2 * time.Second

func (l *statusLine) run(ctx context.Context, out, errs io.Writer) error {
	d, r, err := l.where.reader(ctx, l.now)
	if err != nil {
		return err
	}
	if !l.watch {
		return l.show(ctx, d, r, out)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	for first := true; ; first = false {
		if isTerminal(out) {
			fmt.Fprint(out, "\x1b[H\x1b[2J") // home, and clear
		}
		switch err := l.show(ctx, d, r, out); {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			fmt.Fprintln(errs, "broadcaster: "+err.Error()) // the next look may see more
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// show looks once and prints what it saw.
func (l *statusLine) show(ctx context.Context, d deployment, r *history.Reader, out io.Writer) error {
	is, err := l.look(ctx, d, r)
	if err != nil {
		if errors.Is(err, history.ErrUnknown) {
			return fmt.Errorf("%w: broadcaster doctor finds out why nothing arrives", err)
		}
		return err
	}
	switch {
	case l.asJSON && l.watch:
		return json.NewEncoder(out).Encode(is)
	case l.asJSON:
		return printJSON(out, is)
	}
	now := l.now()
	switch is := is.(type) {
	case history.Health:
		printHealth(out, is, now)
	case history.Secret:
		printSecret(out, l.where, is, now)
	case history.Then:
		printThen(out, l.where, is)
	case history.Consumer:
		printConsumer(out, l.where, is, now)
	}
	return nil
}

// look asks what the command line asks.
func (l *statusLine) look(ctx context.Context, d deployment, r *history.Reader) (any, error) {
	switch {
	case l.service != "":
		return r.Service(ctx, l.service)
	case l.secret == events.Signal{}:
		return r.Health(ctx, d.store, d.queue)
	}
	name, err := d.name(ctx, r, l.secret)
	switch {
	case err != nil:
		return nil, err
	case l.at.set():
		return r.At(ctx, name, l.at.time(l.now()))
	default:
		return r.Secret(ctx, name)
	}
}
