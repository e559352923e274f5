//go:build !lambdaartifact

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/replays"
	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A replaying is one replay as it was ordered on the command line.
type replaying struct {
	where                   place
	order                   order
	from                    string
	secret, service         string
	revision                int64
	since, until            timeFlag
	archive                 string
	archiveDelay            time.Duration
	asJSON                  bool
	out, errs               io.Writer
	live                    bool // somebody watches errs
	sinceAt, untilAt, asked time.Time
}

// errInterrupted: somebody pressed Ctrl-C.
var errInterrupted = errors.New("interrupted")

func newReplay() *cobra.Command {
	r := replaying{order: order{Name: replayCommand}}
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Send missed invalidations again, as what is current now",
		Long: `Send missed invalidations again, as what is current now.

--from store (the default): failed deliveries of the last day, or those selected, become pending again, as if they had
never been tried. Each function is pushed the newest revision, once for all that it missed, never an old version.
Pending deliveries need no replay: they are tried again by themselves, after broadcaster resume if pushes are paused.
--from dlq: messages that were parked in the dead-letter queue go back into the queue. What cannot be understood is
parked again after five receives.
--from archive: EventBridge sends the archived events of --since to --until again, to the domain's rules only. It waits
until late events have reached the archive. It cannot send what never reached the bus (the schedule finds that), nor
keep the order (it does not matter: only what is current is announced), and an account has ten replays at a time.

A replay is safe at any time, also by two people at once: what is current is announced, at most again. It is slow on
purpose: at most 50 deliveries are under way, and ten parked messages go back in a second. Ctrl-C is safe at any time;
the same command goes on with what is left. Who, when, why and what is recorded. For dlq and archive the broadcaster
keeps the record, and your own permissions do the work.

Exit codes: 0 done, 1 failed or a delivery failed again, 2 the command line cannot be understood.`,
		Example: `  broadcaster replay --env prod --domain payments --reason 'INC-4711: payments-api is back' --dry-run
  broadcaster replay --env prod --domain payments --reason 'INC-4711' --service payments-api --since 6h
  broadcaster replay --env prod --domain payments --reason 'INC-4711' --revision 42 --json
  broadcaster replay --env prod --domain payments --reason 'INC-4711: the queue key is mended' --from dlq
  broadcaster replay --env prod --domain payments --reason 'INC-4711' --from archive --since 3h --until 1h`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.out, r.errs, r.asked = cmd.OutOrStdout(), cmd.ErrOrStderr(), time.Now().UTC()
			r.live = isTerminal(r.errs)
			if err := r.understand(cmd.Flags().Changed); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program
			return r.run(ctx)
		},
	}
	r.where.flags(cmd)
	r.order.flags(cmd)
	jsonFlag(cmd, &r.asJSON)
	flags := cmd.Flags()
	flags.StringVar(&r.from, "from", fromStore, "where what was missed is kept: store, dlq or archive")
	flags.StringVar(&r.secret, "secret", "", "only deliveries of this secret's changes")
	flags.StringVar(&r.service, "service", "", "only deliveries to this service")
	flags.Int64Var(&r.revision, "revision", 0, "only deliveries of this revision, whenever it was appended")
	flags.Var(&r.since, "since", "from when on: so long ago, as 30m, or a time, as 2026-11-23T10:00:00Z (store: 24h)")
	flags.Var(&r.until, "until", "until when, likewise (default now)")
	flags.StringVar(&r.archive, "archive", "", "the archive's name ({env}-secretsmanager)")
	flags.DurationVar(&r.archiveDelay, "archive-delay", replays.ArchiveDelay, "how long after --until events may still reach the archive")
	_ = cmd.RegisterFlagCompletionFunc("service", r.where.completeService)
	_ = cmd.RegisterFlagCompletionFunc("secret", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return r.where.completeSecret(cmd, nil, typed)
	})
	_ = cmd.RegisterFlagCompletionFunc("from", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{fromStore, fromDLQ, fromArchive}, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// understand completes what was ordered, or says what is wrong with it.
func (r *replaying) understand(changed func(flag string) bool) error {
	if err := r.order.check(); err != nil {
		return usageError{err.Error()}
	}
	useless := map[string][]string{
		fromStore: {"archive", "archive-delay"}, fromDLQ: {"secret", "service", "revision", "since", "until", "archive", "archive-delay"},
		fromArchive: {"secret", "service", "revision"},
	}
	names, known := useless[r.from]
	if !known {
		return usageError{fmt.Sprintf("--from must be store, dlq or archive, not %q", r.from)}
	}
	for _, name := range names {
		if changed(name) {
			return usageError{fmt.Sprintf("--%s does not go with --from %s", name, r.from)}
		}
	}
	if r.from == fromArchive && !r.since.set() {
		return usageError{"say from when on, with --since: an archive holds weeks"}
	}
	switch {
	case changed("revision") && r.revision < 1:
		return usageError{"--revision must be at least 1, the first there is"}
	case changed("service") && r.service == "":
		return usageError{"--service must be a service's name"}
	case changed("secret") && r.secret == "":
		return usageError{"--secret must be a secret's name"}
	}
	if r.from == fromStore && !r.since.set() && !changed("revision") {
		r.since = timeFlag{ago: 24 * time.Hour}
	}
	r.sinceAt, r.untilAt = r.since.time(r.asked), r.until.time(r.asked)
	var err error
	if r.secret != "" {
		var is events.Signal
		if is, err = r.where.secret(r.secret); err == nil && is.Name == "" {
			err = usageError{"--secret must be a name, not an ARN: the log has names"}
		}
		r.secret = is.Name
	}
	r.untilAt = cmp.Or(r.untilAt, r.asked)
	if err == nil && !r.sinceAt.Before(r.untilAt) {
		err = usageError{"--since must be before --until, and before now"}
	}
	return err
}

func (r *replaying) run(ctx context.Context) error {
	on, reader, err := r.where.reader(ctx, time.Now)
	if err != nil {
		return err
	}
	switch r.from {
	case fromDLQ:
		return r.redrive(ctx, on)
	case fromArchive:
		return r.replayArchive(ctx, on)
	}
	missed, pending, paused, err := r.missed(ctx, on)
	if err == nil && len(missed)+pending == 0 {
		err = r.known(ctx, on, reader)
	}
	if err != nil {
		return err
	}
	report, problem := r.sendAll(ctx, missed, func(ctx context.Context, o order, answer *replayAnswer) error {
		return on.send(ctx, o, answer)
	})
	report.Pending, report.Paused = pending, paused
	return errors.Join(r.print(report), problem)
}

// missed returns the selected deliveries that failed: those to one function together, so that one push serves them all. It
// counts those that are pending, and those of them that a pause holds back.
func (r *replaying) missed(ctx context.Context, on deployment) (all []invalidation.Missed, pending, paused int, err error) {
	selection := history.Selection{Secret: r.secret, Service: r.service, Revision: r.revision, Since: r.sinceAt, Until: r.untilAt}
	for d, err := range history.Owed(ctx, on.store, on.store, selection) {
		if err != nil {
			return nil, 0, 0, fmt.Errorf("looking for failed deliveries: %w", err)
		}
		if d.Outcome == invalidation.Pending {
			pending++
			if d.Reason == invalidation.Paused {
				paused++
			}
			continue
		}
		all = append(all, invalidation.Missed{Revision: d.Revision, Subscription: d.Subscription, Function: d.Function})
	}
	slices.SortFunc(all, func(a, b invalidation.Missed) int {
		return cmp.Or(cmp.Compare(a.Subscription, b.Subscription), cmp.Compare(a.Function, b.Function), cmp.Compare(a.Revision, b.Revision))
	})
	return all, pending, paused, nil
}

// known says what was selected that there is not: that nothing of it failed would be no good news.
func (r *replaying) known(ctx context.Context, on deployment, reader *history.Reader) error {
	if r.revision > 0 {
		row, err := on.store.Row(ctx, r.revision)
		if err != nil {
			return err
		}
		if row.Revision == 0 {
			return fmt.Errorf("the log has no revision %d: broadcaster changes lists those that it has", r.revision)
		}
	}
	if r.secret != "" {
		snapshot, err := on.store.Load(ctx, []string{r.secret})
		if err != nil {
			return err
		}
		if _, known := snapshot.Secrets[r.secret]; !known {
			return fmt.Errorf("the secret %s is %w", r.secret, history.ErrUnknown)
		}
	}
	if r.service == "" {
		return nil
	}
	_, manifest, err := on.held(ctx)
	if err != nil {
		return err
	}
	reporting, err := reader.Services(ctx)
	if err != nil {
		return err
	}
	subscribed := slices.ContainsFunc(manifest.Services, func(s subscribers.Service) bool { return s.Name == r.service })
	if !subscribed && !slices.Contains(reporting, r.service) {
		return fmt.Errorf("the service %s is %w: it is not subscribed, and no environment has reported that name in the last day", r.service, history.ErrUnknown)
	}
	return nil
}

// sendAll has the broadcaster replay everything, one order after another, and returns what became of it also with an error.
// An order that was sent is waited for, whoever interrupts.
func (r *replaying) sendAll(
	ctx context.Context, missed []invalidation.Missed, send func(context.Context, order, *replayAnswer) error,
) (replayReport, error) {
	report := r.report()
	report.Selected = len(missed)
	for some := range slices.Chunk(missed, invalidation.MaxReplayed) {
		r.show("replaying", len(report.Deliveries), len(missed))
		if ctx.Err() != nil {
			break
		}
		o := r.order
		o.Details, _ = json.Marshal(replayDetails{From: fromStore, Deliveries: some}) // strings and numbers always marshal
		var answer replayAnswer
		if err := send(context.WithoutCancel(ctx), o, &answer); err != nil {
			r.clear()
			return report, err
		}
		report.By, report.Revision, report.Problem = answer.By, answer.Revision, cmp.Or(report.Problem, answer.Problem)
		report.Deliveries = append(report.Deliveries, answer.Deliveries...)
	}
	r.clear()
	if left := len(missed) - len(report.Deliveries); left > 0 {
		return report, fmt.Errorf("%w: %d of %d deliveries are left, the same command goes on with them", errInterrupted, left, len(missed))
	}
	if failed := report.count(invalidation.Undelivered); failed > 0 && !r.order.DryRun {
		return report, fmt.Errorf("%d deliveries failed again", failed)
	}
	return report, nil
}

// show draws a bar, if somebody watches.
func (r *replaying) show(doing string, done, all int) {
	const width = 30
	filled := width
	if all > 0 {
		filled = min(width, width*done/all)
	}
	r.draw(fmt.Sprintf("%s [%s%s] %d of %d", doing, strings.Repeat("#", filled), strings.Repeat(".", width-filled), done, all))
}

// draw writes a text in the last one's place, if somebody watches.
func (r *replaying) draw(text string) {
	if r.live {
		fmt.Fprint(r.errs, "\r\x1b[K"+text)
	}
}

func (r *replaying) clear() { r.draw("") }
