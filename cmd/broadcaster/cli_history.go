//go:build !lambdaartifact

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// reader opens a place for those who only read.
func (p place) reader(ctx context.Context, now func() time.Time) (deployment, *history.Reader, error) {
	d, err := p.open(ctx)
	if err != nil {
		return d, nil, err
	}
	r, err := history.New(history.Config{
		Env: p.env, Domain: p.domain, Store: d.store, Reports: d.reports, Manifests: d.store,
		Timeouts: lambda.NewFunctions(awslambda.NewFromConfig(d.aws)), Now: now,
	})
	return d, r, err
}

// short returns a secret's name as it stands in a table: without what all of the domain's begin with.
func (p place) short(name string) string {
	return strings.TrimPrefix(name, wire.NamePrefix(p.env, p.domain))
}

// completeWithin bounds what a shell waits for.
const completeWithin = 2 * time.Second

// complete asks the place, if it can be reached quickly, for what a word may become. Without a place it says so.
func (p *place) complete(cmd *cobra.Command, ask func(context.Context, deployment, *history.Reader) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	if err := p.named(); err != nil {
		return cobra.AppendActiveHelp(nil, err.Error()), cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	d, r, err := p.reader(ctx, time.Now)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	words, err := ask(ctx, d, r)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeSecret completes a command's one argument.
func (p *place) completeSecret(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.complete(cmd, func(ctx context.Context, d deployment, _ *history.Reader) ([]string, error) {
		rows, err := d.store.Secrets(ctx)
		names := make([]string, 0, len(rows))
		for _, row := range rows {
			names = append(names, p.short(row.Name))
		}
		return names, err
	})
}

func (p *place) completeService(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.complete(cmd, func(ctx context.Context, _ deployment, r *history.Reader) ([]string, error) { return r.Services(ctx) })
}

// oneSecret is for commands whose one argument is a secret.
func oneSecret(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{cmd.CommandPath() + " takes one secret: its name, what follows /bank/{env}/{domain}/, or its ARN"}
	}
	return nil
}

// A timeFlag is a time, or how long ago it was.
type timeFlag struct {
	ago time.Duration
	at  time.Time
}

// String implements pflag.Value.
func (f *timeFlag) String() string {
	switch {
	case !f.at.IsZero():
		return instant(f.at)
	case f.ago > 0:
		return f.ago.String()
	default:
		return ""
	}
}

// Set implements pflag.Value.
func (f *timeFlag) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			*f = timeFlag{ago: time.Duration(n) * 24 * time.Hour}
			return nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		*f = timeFlag{ago: d}
		return nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(form, text); err == nil {
			*f = timeFlag{at: at}
			return nil
		}
	}
	return errors.New("must be how long ago, as 30m or 7d, or a time, as 2026-11-23 or 2026-11-23T10:00:00Z")
}

// Type implements pflag.Value.
func (f *timeFlag) Type() string { return "time" }

func (f *timeFlag) set() bool { return *f != timeFlag{} }

// time returns the time that is meant; zero if none is.
func (f *timeFlag) time(now time.Time) time.Time {
	if f.ago > 0 {
		return now.Add(-f.ago)
	}
	return f.at
}

// instant is a time as people read it.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// since says how long before now a time was, or how long after it it will be.
func since(t, now time.Time) string {
	d := now.Sub(t)
	if d < 0 {
		return "in " + length(-d)
	}
	return length(d) + " ago"
}

// length is a duration as people read it: coarser, the longer it is.
func length(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// when is a time and how long ago it was.
func when(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return instant(t) + ", " + since(t, now)
}

// A table prints rows in columns, the first of which are as wide as they are given; the last one has the rest.
type table struct {
	out    io.Writer
	widths []int
}

// columns is how wide what is printed is, if the words are not longer than that.
const columns = 100

// print prints a row. What does not fit is cut; the last column goes on below itself.
func (t table) print(cells ...string) {
	var line strings.Builder
	indent := 0
	for i, cell := range cells {
		if i == len(t.widths) {
			line.WriteString(strings.Join(wrap(cell, columns-indent), "\n"+strings.Repeat(" ", indent)))
			break
		}
		indent += t.widths[i] + 2
		n := utf8.RuneCountInString(cell)
		if n > t.widths[i] {
			cell, n = string([]rune(cell)[:t.widths[i]-1])+"…", t.widths[i]
		}
		line.WriteString(cell + strings.Repeat(" ", t.widths[i]-n+2))
	}
	fmt.Fprintln(t.out, strings.TrimRight(line.String(), " "))
}

// wrap breaks a text at spaces into lines that are not wider than that, but for a longer word.
func wrap(text string, width int) []string {
	lines := []string{""}
	for _, word := range strings.SplitAfter(text, " ") {
		last := &lines[len(lines)-1]
		if n := utf8.RuneCountInString(*last + strings.TrimRight(word, " ")); *last != "" && n > width {
			*last = strings.TrimRight(*last, " ")
			lines = append(lines, word)
			continue
		}
		*last += word
	}
	return lines
}

// some lists names, and how many more there are.
func some(names []string, more int) string {
	text := strings.Join(names, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "y") {
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}
