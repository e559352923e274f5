//go:build !lambdaartifact

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/replays"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// A replayReport is what a replay came to: what --json prints, and what an incident is told.
type replayReport struct {
	Env    string    `json:"env"`
	Domain string    `json:"domain"`
	From   string    `json:"from"`
	DryRun bool      `json:"dryRun"`
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"` // empty of a dry run that asked nobody
	Reason string    `json:"reason"`

	// Of the store: how many failed deliveries were selected, the revision that was pushed, and what became of each.
	Selected   int      `json:"selected"`
	Revision   int64    `json:"revision,omitempty"`
	Deliveries []sentTo `json:"deliveries"`
	// Pending counts the selected deliveries that need no replay, Paused those of them that a pause holds back.
	Pending int `json:"pending,omitempty"`
	Paused  int `json:"paused,omitempty"`

	Redrive *redriven        `json:"redrive,omitempty"` // of the dead-letter queue
	Archive *archiveReplayed `json:"archive,omitempty"`

	Problem string `json:"problem,omitempty"`
}

// redriven is what became of the dead-letter queue.
type redriven struct {
	Queue string `json:"queue"`
	Moved int    `json:"moved"`
	// Waiting and Received are left: Received by somebody else, who may delete them or have them come back.
	Waiting  int `json:"waiting"`
	Received int `json:"received"`
}

// archiveReplayed is what became of a replay of an archive.
type archiveReplayed struct {
	Archive string         `json:"archive"`
	From    time.Time      `json:"from"`
	To      time.Time      `json:"to"`
	Rules   []string       `json:"rules"`
	Replay  replays.Replay `json:"replay,omitzero"`
}

func (r *replaying) report() replayReport {
	return replayReport{
		Env: r.where.env, Domain: r.where.domain, From: r.from, DryRun: r.order.DryRun, At: r.asked.Truncate(time.Second), Reason: r.order.Reason,
		Deliveries: []sentTo{},
	}
}

// count returns how many deliveries have an outcome.
func (p replayReport) count(o invalidation.Outcome) int {
	n := 0
	for _, d := range p.Deliveries {
		if d.Left == "" && d.Outcome == o {
			n++
		}
	}
	return n
}

// print tells what became of a replay, or what would.
func (r *replaying) print(p replayReport) error {
	if r.asJSON {
		return printJSON(r.out, p)
	}
	did := "replay"
	if p.DryRun {
		did = "dry run of a replay"
	}
	fmt.Fprintf(r.out, "%s from %s of %s/%s, %s\n", did, p.From, p.Env, p.Domain, p.At.Format(time.RFC3339))
	if p.By != "" {
		fmt.Fprintln(r.out, "by:     "+p.By)
	}
	fmt.Fprintln(r.out, "reason: "+p.Reason)
	if p.Problem != "" {
		fmt.Fprintln(r.out, "problem: "+p.Problem)
	}
	switch {
	case p.Redrive != nil:
		return p.printRedrive(r)
	case p.Archive != nil:
		return p.printArchive(r)
	case p.Selected == 0:
		fmt.Fprintln(r.out, "no delivery failed among those selected: there is nothing to send again")
	default:
		p.printDeliveries(r)
	}
	if tried := p.Pending - p.Paused; tried > 0 {
		fmt.Fprintf(r.out, "%s pending: tried again without a replay\n", counted(tried, "delivery"))
	}
	if p.Paused > 0 {
		fmt.Fprintf(r.out, "%s held back by a pause\nnext: broadcaster resume --env %s --domain %s --reason REASON\n", counted(p.Paused, "delivery"), p.Env, p.Domain)
	}
	return nil
}

// printDeliveries is a table of what one push of the newest revision was to do for whom.
func (p replayReport) printDeliveries(r *replaying) {
	sent := 0
	for _, d := range p.Deliveries {
		if d.Left == "" {
			sent++
		}
	}
	verb := "were sent"
	if p.DryRun {
		verb = "would be sent"
	}
	fmt.Fprintf(r.out, "%d of %d failed deliveries %s again, as revision %d, which is current, once to each function\n\n", sent, p.Selected, verb, p.Revision)
	type line struct{ service, function, outcome string }
	revisions := map[line][]int64{}
	var (
		lines []line
		cut   []string // outcomes that do not fit into the table
	)
	for _, d := range p.Deliveries {
		l := line{d.Service, d.Function, d.outcome(p.DryRun)}
		if revisions[l] == nil {
			lines = append(lines, l)
		}
		revisions[l] = append(revisions[l], d.Revision)
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.function, b.function), cmp.Compare(a.outcome, b.outcome))
	})
	const wide = 28
	t := table{r.out, []int{22, 26, wide, 16}}
	t.print("SERVICE", "FUNCTION", "OUTCOME", "REVISIONS")
	for _, l := range lines {
		t.print(l.service, functionText(l.function), l.outcome, ranges(revisions[l]))
		if utf8.RuneCountInString(l.outcome) > wide {
			cut = append(cut, l.outcome)
		}
	}
	slices.Sort(cut)
	for _, outcome := range slices.Compact(cut) {
		fmt.Fprintln(r.out, outcome)
	}
}

// ranges writes ascending numbers as 3-5, 9.
func ranges(numbers []int64) string {
	var parts []string
	for i := 0; i < len(numbers); {
		last := i
		for last+1 < len(numbers) && numbers[last+1] == numbers[last]+1 {
			last++
		}
		part := strconv.FormatInt(numbers[i], 10)
		if last > i {
			part += "-" + strconv.FormatInt(numbers[last], 10)
		}
		parts = append(parts, part)
		i = last + 1
	}
	return strings.Join(parts, ", ")
}

func (p replayReport) printRedrive(r *replaying) error {
	if p.DryRun {
		_, err := fmt.Fprintf(r.out, "%d messages of queue %s would go back into the queue; %d more are with somebody else\n",
			p.Redrive.Waiting, p.Redrive.Queue, p.Redrive.Received)
		return err
	}
	_, err := fmt.Fprintf(r.out, "%d messages of queue %s went back into the queue; %d are left there, %d more are with somebody else\n",
		p.Redrive.Moved, p.Redrive.Queue, p.Redrive.Waiting, p.Redrive.Received)
	return err
}

func (p replayReport) printArchive(r *replaying) error {
	a := p.Archive
	fmt.Fprintf(r.out, "archive %s, events from %s to %s, to the rules:\n", a.Archive, a.From.Format(time.RFC3339), a.To.Format(time.RFC3339))
	for _, rule := range a.Rules {
		_, name, _ := strings.Cut(rule, ":rule/")
		fmt.Fprintln(r.out, "  "+name)
	}
	state := "it would be started"
	if !p.DryRun {
		state = fmt.Sprintf("replay %s: %s", a.Replay.Name, a.Replay.State)
		if a.Replay.Reason != "" {
			state += ": " + a.Replay.Reason
		}
	}
	_, err := fmt.Fprintln(r.out, state+"\nan event that never reached the bus is not in it: the schedule finds those changes")
	return err
}
