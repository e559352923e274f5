package demo

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes the report for people: a row per environment, the other worlds beside it, and the verdicts. No line is
// longer than 100 columns but for a verdict's detail.
func (r *Report) Print(out io.Writer) error {
	var b strings.Builder
	is := r.Worlds[0]
	fmt.Fprintf(&b, "\n%s rotated; the log told of it %s later.\n", r.Secret, seconds(is.AppendedSeconds))
	fmt.Fprintf(&b, "When each environment changed over, in seconds after the change:\n\n")
	r.printEnvironments(&b)
	fmt.Fprintf(&b, "\nCurrent at the first read later than CheckEvery (%.3g s) after the append:\n\n", r.CheckEverySeconds)
	width := 0
	for _, w := range r.Worlds {
		width = max(width, len(w.Title))
	}
	for _, w := range r.Worlds {
		fmt.Fprintf(&b, "  %-*s %3d of %d   (%d pushes tried, %d arrived)\n", width, w.Title, w.Current, w.Held, w.Pushes, w.PushesArrived)
	}
	fmt.Fprintf(&b, "\nFrom what the functions' callers received:\n\n")
	for _, v := range r.Verdicts {
		mark := "ok  "
		if !v.Held {
			mark = "FAIL"
		}
		fmt.Fprintf(&b, "  %s %-2s  %s", mark, v.Guarantee, v.Statement)
		if v.Detail != "" {
			fmt.Fprintf(&b, ": %s", v.Detail)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *Report) printEnvironments(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "  environment\tpid\twhen pushed\told last\tnew first\tafter append\tlearned by\tpush only\tTTL only\n")
	beside := []map[string]EnvironmentReport{r.Worlds[1].byID(), r.Worlds[2].byID()}
	for _, e := range r.Worlds[0].Environments {
		when := "running"
		if e.Frozen {
			when = "frozen"
		}
		learned, _, thawed := strings.Cut(e.Learned, ", ")
		if thawed {
			learned = "log at thaw"
		}
		fmt.Fprintf(table, "  %s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Environment, e.PID, when,
			signed(e.OldLastSeconds), signed(e.NewFirstSeconds), signed(e.AfterAppendSeconds), orNone(learned),
			beside[0][e.Environment].outcome(), beside[1][e.Environment].outcome())
	}
	_ = table.Flush() // a strings.Builder takes everything
}

func (w WorldReport) byID() map[string]EnvironmentReport {
	all := map[string]EnvironmentReport{}
	for _, e := range w.Environments {
		all[e.Environment] = e
	}
	return all
}

// outcome is an environment's cell in the table of another world.
func (e EnvironmentReport) outcome() string {
	switch {
	case e.Environment == "":
		return "-"
	case e.NewFirstSeconds == nil:
		return "stale"
	default:
		return signed(e.NewFirstSeconds)
	}
}

func signed(s *float64) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%+.2f", *s)
}

func orNone(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
