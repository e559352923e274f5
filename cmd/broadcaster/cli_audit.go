//go:build !lambdaartifact

package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	awscloudwatchlogs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	awssecretsmanager "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/audit"
	"github.com/bank-platform/secret-broadcaster/invalidation/cloudwatchlogs"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/secretsmanager"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

func newAudit(now func() time.Time) *cobra.Command {
	var (
		where       place
		from, until timeFlag
		format      string
		asJSON      bool
	)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Print the evidence: every change and what became of it, and who had what done",
		Long: `Print the evidence: every change and what became of it, and who had what done and why.

A record is a change of one secret, with what told of it, when, and how its delivery to each subscribed function ended;
or a command that somebody gave, who, as AWS authenticated it, and why. Oldest first. No record holds a secret value.

  jsonl  one JSON object a line
  csv    a line per change and delivery, for a spreadsheet
  html   one page for people that needs nothing else, with a timeline per secret

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster audit --env prod --domain payments --since 90d --format html > payments.html
  broadcaster audit --env prod --domain payments --since 2026-10-01 --until 2026-11-01 --format csv
  broadcaster audit verify --env prod --domain payments
  broadcaster audit rotation --env prod --domain payments`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write, known := map[string]func(io.Writer, audit.Page, iter.Seq2[audit.Record, error]) error{
				"jsonl": func(out io.Writer, _ audit.Page, r iter.Seq2[audit.Record, error]) error {
					return audit.WriteJSONLines(out, r)
				},
				"csv": func(out io.Writer, _ audit.Page, r iter.Seq2[audit.Record, error]) error {
					return audit.WriteCSV(out, r)
				},
				"html": audit.WriteHTML,
			}[format]
			made := now()
			since, until := from.time(made), until.time(made)
			switch {
			case asJSON && cmd.Flags().Changed("format"):
				return usageError{"--json is --format jsonl: use one of the two"}
			case !known:
				return usageError{fmt.Sprintf("there is no format %q: use jsonl, csv or html", format)}
			case !until.IsZero() && !since.Before(until):
				return usageError{"--since must be before --until"}
			}
			ctx := cmd.Context()
			d, err := where.open(ctx)
			if err != nil {
				return err
			}
			head, err := d.store.Row(ctx, 0)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), audit.Page{
				Env: d.env, Domain: d.domain, Since: since, Until: until, Made: made,
				Head: invalidation.Position{Revision: head.Revision, Hash: head.Hash},
			}, audit.Records(ctx, d.store, since, until))
		},
	}
	where.flags(cmd)
	flags := cmd.Flags()
	flags.Var(&from, "since", "from when on: so long ago, as 90d, or a time, as 2026-11-23 (default the beginning)")
	flags.Var(&until, "until", "until when, likewise (default now)")
	flags.StringVar(&format, "format", "jsonl", "jsonl, csv or html")
	flags.BoolVar(&asJSON, "json", false, "the same as --format jsonl")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"jsonl", "csv", "html"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(newAuditVerify(now), newAuditRotation(now))
	return cmd
}

// The ends of a verification that is not well.
var (
	errChanged   = errors.New("the store is not what was written")
	errNoWitness = errors.New("none of these log lines says what was appended: whether all was written anew is not known; name the broadcaster's own log with --log")
)

func newAuditVerify(now func() time.Time) *cobra.Command {
	var (
		where  place
		log    string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that the change log is what was written, from its first row to its head",
		Long: `Check that the change log is what was written, from its first row to its head.

Each row holds the hash of the row before and of its own audit record, so a row that was edited, removed, added or moved
does not fit. Whoever may write the table could write all of it anew from some row on: so the hashes are compared with
the lines that the broadcaster logged when it appended, and the commands with the lines it logged then. They are read
from its log group, or, if your trusted copy is elsewhere, from a file with --log. What is older than the first of
these lines cannot be compared; what is younger and was not logged, ten minutes after, is wrong.

Exit codes: 0 it is what was written, 1 it is not, or could not be read, 2 the command line cannot be understood.`,
		Example: `  broadcaster audit verify --env prod --domain payments
  broadcaster audit verify --env prod --domain payments --log archived-log.jsonl --json
  zcat archive/*.gz | broadcaster audit verify --env prod --domain payments --log -`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			d, err := where.open(ctx)
			if err != nil {
				return err
			}
			witnessed, err := d.witnessed(cmd, log)
			if err != nil {
				return err
			}
			v, err := audit.Verify(ctx, d.store, witnessed, now())
			if err != nil {
				return err
			}
			return tellVerified(cmd.OutOrStdout(), v, asJSON)
		},
	}
	where.flags(cmd)
	cmd.Flags().StringVar(&log, "log", "", "a file with the broadcaster's log lines, or - for stdin (default its log group in CloudWatch)")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// witnessPattern finds the lines that audit.ReadLog has a use for.
const witnessPattern = `{ $.msg = "appended" || $.msg = "a command was recorded" }`

// witnessed reads what the broadcaster logged: from a file, from stdin, or from its log group.
func (d deployment) witnessed(cmd *cobra.Command, log string) (audit.Witnessed, error) {
	switch log {
	case "":
		w := audit.NewWitnessed()
		client := awscloudwatchlogs.NewFromConfig(d.aws)
		for line, err := range cloudwatchlogs.Lines(cmd.Context(), client, d.logGroup, witnessPattern) {
			if err != nil {
				return audit.Witnessed{}, err
			}
			w.Take([]byte(line))
		}
		return w, nil
	case "-":
		return audit.ReadLog(cmd.InOrStdin())
	}
	file, err := os.Open(log) //nolint:gosec // the path is the point
	if err != nil {
		return audit.Witnessed{}, fmt.Errorf("reading --log: %w", err)
	}
	w, err := audit.ReadLog(file)
	return w, errors.Join(err, file.Close())
}

func tellVerified(out io.Writer, v audit.Verified, asJSON bool) error {
	var problem error
	switch {
	case len(v.Problems) > 0:
		problem = errChanged
	case v.Rows > 0 && v.Witnessed == 0:
		problem = errNoWitness
	}
	if asJSON {
		return errors.Join(printJSON(out, v), problem)
	}
	for _, p := range v.Problems {
		where := "commands"
		if p.Revision > 0 {
			where = fmt.Sprintf("revision %d", p.Revision)
		}
		if _, err := fmt.Fprintf(out, "wrong %s: %s\n", where, p.Problem); err != nil {
			return err
		}
	}
	how := "ok"
	if problem != nil {
		how = "not ok"
	}
	_, err := fmt.Fprintf(out, "%s: %d rows up to revision %d, hash %s\n%d of them and %d commands compared with the broadcaster's log lines\n",
		how, v.Rows, v.Head.Revision, v.Head.Hash, v.Witnessed, v.Commands)
	if v.Unlogged > 0 && err == nil {
		_, err = fmt.Fprintf(out, "%d rows and commands of the last minutes are not logged yet: verify again in ten\n", v.Unlogged)
	}
	if v.Unsealed > 0 && err == nil {
		_, err = fmt.Fprintf(out, "%d rows of an older broadcaster do not cover their audit records\n", v.Unsealed)
	}
	return errors.Join(err, problem)
}

func newAuditRotation(now func() time.Time) *cobra.Command {
	var (
		where  place
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "rotation",
		Short: "List how each secret is rotated, overdue first",
		Long: `List how each secret is rotated: what is overdue first, then what is not rotated automatically, then what is next.

Overdue is a secret whose next date, as Secrets Manager has it, is over. What is scheduled for deletion is left out.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		Example: `  broadcaster audit rotation --env prod --domain payments
  broadcaster audit rotation --env prod --domain payments --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := where.open(cmd.Context()) // so that a mistyped domain is not one without secrets
			if err != nil {
				return err
			}
			prefix := wire.NamePrefix(d.env, d.domain)
			all, err := secretsmanager.NewLister(awssecretsmanager.NewFromConfig(d.aws)).Rotations(cmd.Context(), prefix)
			switch {
			case err != nil:
				return fmt.Errorf("listing the secrets: %w", err)
			case len(all) == 0:
				return fmt.Errorf("no secret's name begins with %s in this account and Region: set AWS_PROFILE and AWS_REGION", prefix)
			}
			history.JudgeRotations(all, now())
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{"secrets": all})
			}
			return tellRotations(cmd.OutOrStdout(), all)
		},
	}
	where.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func tellRotations(out io.Writer, all []history.Rotation) error {
	day := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.UTC().Format(time.DateOnly)
	}
	for _, r := range all {
		line := "off      " + r.Name
		if r.Enabled {
			line = fmt.Sprintf("on       %s: last %s, next %s", r.Name, day(r.Last), day(r.Next))
		}
		if r.Overdue {
			line = "overdue  " + line[len("overdue  "):]
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}
