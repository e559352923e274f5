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

func newAudit() *cobra.Command {
	var (
		where       place
		from, until timeFlag
		format      string
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
			now := time.Now()
			since, until := from.time(now), until.time(now)
			switch {
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
				Env: d.env, Domain: d.domain, Since: since, Until: until, Made: now,
				Head: invalidation.Position{Revision: head.Revision, Hash: head.Hash},
			}, audit.Records(ctx, d.store, since, until))
		},
	}
	where.flags(cmd)
	flags := cmd.Flags()
	flags.Var(&from, "since", "from when on: so long ago, as 90d, or a time, as 2026-11-23 (default the beginning)")
	flags.Var(&until, "until", "until when, likewise (default now)")
	flags.StringVar(&format, "format", "jsonl", "jsonl, csv or html")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"jsonl", "csv", "html"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(newAuditVerify(), newAuditRotation())
	return cmd
}

// errChanged ends a verification that found something.
var errChanged = errors.New("the store is not what was written")

func newAuditVerify() *cobra.Command {
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
from its log group, or, if your trusted copy is elsewhere, from a file with --log.

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
			v, err := audit.Verify(ctx, d.store, witnessed)
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
const witnessPattern = `{ $.msg = "appended" || $.msg = "a command was carried out" }`

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
	if len(v.Problems) > 0 {
		problem = errChanged
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
	_, err := fmt.Fprintf(out, "%d rows up to revision %d, hash %s\n%d of them and %d commands compared with the broadcaster's log lines\n",
		v.Rows, v.Head.Revision, v.Head.Hash, v.Witnessed, v.Commands)
	for _, revision := range v.Unlogged {
		if err == nil {
			_, err = fmt.Fprintf(out, "revision %d was not logged: its process was killed just then, the line has not arrived yet, or somebody else appended it\n", revision)
		}
	}
	if v.Unsealed > 0 && err == nil {
		_, err = fmt.Fprintf(out, "%d rows of an older broadcaster do not cover their audit records\n", v.Unsealed)
	}
	return errors.Join(err, problem)
}

func newAuditRotation() *cobra.Command {
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
			on, err := where.find(cmd.Context())
			if err != nil {
				return err
			}
			lister := secretsmanager.NewLister(awssecretsmanager.NewFromConfig(on))
			all, err := lister.Rotations(cmd.Context(), wire.NamePrefix(where.env, where.domain))
			if err != nil {
				return fmt.Errorf("listing the secrets: %w", err)
			}
			history.JudgeRotations(all, time.Now())
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
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "there is no secret")
		return err
	}
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
