//go:build !lambdaartifact

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

func newWait(now func() time.Time) *cobra.Command {
	var (
		where  place
		what   history.Awaited
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "wait SECRET",
		Short: "Wait until a secret's newest change has reached its services",
		Long: `Wait until a secret's newest change has reached its services.

It tells two times. Expected: every service that is subscribed to the secret, or reports that it holds it, has applied
the change as far as can be seen: its functions acknowledged it with the new version applied, or the log has told its
environments for CheckEvery, its functions' timeout has passed, and none of them reports that it is behind or fails.
Certain: no environment can use an older version any more, since every cache's TTL and every invocation's timeout are
over. Revoke a credential after certain, or after expected if no failure was seen and whoever uses it tries again.
While it waits, both stand on stderr, but for --json.

SECRET is a name, what follows /bank/{env}/{domain}/, or an ARN. It only reads.
Exit codes: 0 that time has come, 1 failed, 2 the command line cannot be understood, 3 not yet: it says who is missing.`,
		Example: `  broadcaster wait neon/connection-string --env prod --domain payments
  broadcaster wait neon/password --version EXAMPLE2-90ab-cdef-fedc-ba987EXAMPLE --within 2m --env prod --domain payments
  broadcaster wait neon/connection-string --certain --env prod --domain payments --json`,
		Args:              oneSecret,
		ValidArgsFunction: where.completeSecret,
		RunE: func(cmd *cobra.Command, args []string) error {
			if what.Within < 0 {
				return usageError{"--within must not be negative"}
			}
			if what.Certain && !cmd.Flags().Changed("within") {
				what.Within = 0
			}
			secret, err := where.secret(args[0])
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			d, r, err := where.reader(ctx, now)
			if err != nil {
				return err
			}
			if what.Name, err = d.name(ctx, r, secret); err != nil {
				return err
			}
			if !asJSON {
				what.Waiting = tellWaiting(cmd.ErrOrStderr(), now)
			}
			is, err := r.Wait(ctx, what)
			if err != nil && ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", history.ErrNotYet, errInterrupted)
			}
			if err != nil && !errors.Is(err, history.ErrNotYet) {
				return err
			}
			if asJSON {
				err = errors.Join(err, printJSON(cmd.OutOrStdout(), is))
			} else {
				printWaited(cmd.OutOrStdout(), is, now())
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&what.Version, "version", "", "the version that AWSCURRENT has to name (default whatever the newest change is)")
	flags.DurationVar(&what.Within, "within", time.Minute, "how long to wait; 0 for as long as it takes, which --certain has as its default")
	flags.BoolVar(&what.Certain, "certain", false, "wait until it is certain, not only expected")
	flags.BoolVar(&what.AllowNone, "allow-none", false, "be content if nobody is subscribed to the secret")
	where.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// tellWaiting says what is waited for, whenever that has changed.
func tellWaiting(out io.Writer, now func() time.Time) func(history.Waited) {
	var told history.Waited
	return func(is history.Waited) {
		if is.Expected.Equal(told.Expected) && is.Certain.Equal(told.Certain) && is.Problem == told.Problem {
			return
		}
		told = is
		if is.Revision == 0 {
			fmt.Fprintln(out, "waiting: "+is.Problem)
			return
		}
		fmt.Fprintf(out, "waiting: expected %s; certain %s\n", expectedText(is, now()), when(is.Certain, now()))
	}
}

func expectedText(is history.Waited, now time.Time) string {
	if is.Expected.IsZero() {
		return "not while something is missing"
	}
	return when(is.Expected, now)
}

func printWaited(out io.Writer, is history.Waited, now time.Time) {
	fmt.Fprintln(out, is.Name)
	t := table{out, []int{10}}
	if is.Revision > 0 {
		t.print("  version", fmt.Sprintf("%s: %s, revision %d, appended %s", cmp.Or(is.Version, "no version"), is.Kind, is.Revision, when(is.Appended, now)))
	}
	if is.Revision > 0 {
		t.print("  expected", expectedText(is, now))
		t.print("  certain", when(is.Certain, now))
	}
	if is.Problem != "" {
		t.print("  missing", is.Problem)
	}
	var missing, expected, unsubscribed, assumed []string
	for _, s := range is.Services {
		text := s.Service + ": " + awaitingText(s, now)
		if s.Missing != "" {
			missing = append(missing, text)
		} else {
			expected = append(expected, text)
		}
	}
	for _, service := range is.Unsubscribed {
		unsubscribed = append(unsubscribed, service+": no longer subscribed")
	}
	for _, text := range is.Assumed {
		assumed = append(assumed, "assumed: "+text)
	}
	printFew(out, missing, "missing")
	printFew(out, expected, "expected")
	printFew(out, unsubscribed, "no longer subscribed")
	printFew(out, assumed, "assumed")
}

func awaitingText(s history.Awaiting, now time.Time) string {
	how := "the log tells it"
	switch {
	case s.Missing != "":
		return "missing: " + s.Missing
	case s.Proven:
		how = "acknowledged"
	case !s.Subscribed:
		how = "not subscribed, the log tells it"
	}
	return how + ", expected " + when(s.Expected, now)
}
