//go:build !lambdaartifact

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// printHealth prints five lines.
func printHealth(out io.Writer, h history.Health, now time.Time) {
	log := "empty: neither an event nor a tick has arrived"
	if h.Revision > 0 {
		log = fmt.Sprintf("revision %d, %s; event to append %.1fs, in the last hour at most %.1fs; tick %s",
			h.Revision, since(h.Appended, now), h.Lag, h.LongestLag, ticked(h.Reconciled, now))
	}
	queue := fmt.Sprintf("%d waiting, %d in flight, %d delayed; dead letters: %d", h.Queue.Waiting, h.Queue.InFlight, h.Queue.Delayed, h.Queue.DeadLetters)
	if h.QueueProblem != "" {
		queue = "not known: " + h.QueueProblem
	}
	fanouts := "none open"
	if h.OpenFanouts > 0 {
		fanouts = fmt.Sprintf("%d open, the oldest since %s", h.OpenFanouts, when(h.OldestOpen, now))
	}
	canary := "there is none, or it has not changed its secret yet"
	if h.Canary.Revision > 0 {
		canary = fmt.Sprintf("changed its secret %s, ", since(h.Canary.Appended, now))
		switch c := h.Canary; {
		case c.Served == 0:
			canary += "and has not reported that it can use it"
		case c.Served < c.Revision:
			canary += fmt.Sprintf("and reported %s that it serves revision %d", since(c.Reported, now), c.Served)
		default:
			canary += "and serves the change"
		}
	}
	t := table{out, []int{8}}
	t.print("log", log)
	t.print("queue", queue)
	t.print("fan-outs", fanouts)
	t.print("pushes", pauseText(h.Pause))
	t.print("canary", canary)
}

func ticked(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return since(t, now)
}

func printSecret(out io.Writer, where place, s history.Secret, now time.Time) {
	fmt.Fprintln(out, s.Name)
	t := table{out, []int{9}}
	version := cmp.Or(s.Version, "none: the secret is "+string(s.State))
	if s.Previous != "" {
		version += ", before it " + s.Previous
	}
	t.print("  version", version)
	if s.Revision == 0 {
		t.print("  changed", when(s.Changed, now)+"; not since the broadcaster knows it, so there is no revision")
	} else {
		t.print("  changed", when(s.Changed, now))
		t.print("  log", appendedText(s))
		var by []string
		for _, c := range s.Causes { // an event may come twice
			if text := causeText(c); !slices.Contains(by, text) {
				by = append(by, text)
				t.print("  by", text)
			}
		}
		t.print("  fan-out", map[bool]string{true: "open", false: "closed"}[s.Open])
	}
	if len(s.Services) == 0 {
		fmt.Fprintln(out, "\nNobody is subscribed to it, and no environment reports that it holds it.")
		return
	}
	fmt.Fprintln(out)
	t = table{out, []int{26, 25, 9, 9, 7, 6}}
	t.print("SERVICE", "DELIVERY", "FIRST ACK", "LAST ACK", "CURRENT", "BEHIND", "SILENT")
	for _, is := range s.Services {
		t.print(is.Service, deliveryText(is.Outcome, is.Reason, is.Subscribed), ackText(is.FirstAck, s.Appended), ackText(is.LastAck, s.Appended),
			strconv.Itoa(is.Current), strconv.Itoa(is.Behind), strconv.Itoa(is.Silent))
	}
	var (
		silent, failing []string
		first           string // of those that fail
	)
	for _, is := range s.Services {
		if is.Silent > 0 {
			silent = append(silent, fmt.Sprintf("%s: silent since %s", is.Service, when(is.SilentSince, now)))
		}
		if f := is.LastFailure; f != nil {
			failing = append(failing, fmt.Sprintf("%s: %s, %s", is.Service, f.Reason, when(f.Time, now)))
			first = cmp.Or(first, is.Service)
		}
	}
	printFew(out, silent, "silent")
	printFew(out, failing, "failing")
	if first != "" {
		fmt.Fprintf(out, "next: broadcaster status --service %s --env %s --domain %s\n", first, where.env, where.domain)
	}
}

// maxListed is how many texts of a kind are printed.
const maxListed = 10

// printFew prints the first of some texts, and how many more there are.
func printFew(out io.Writer, texts []string, what string) {
	for _, text := range texts[:min(len(texts), maxListed)] {
		fmt.Fprintln(out, strings.Join(wrap(text, columns-2), "\n  "))
	}
	if more := len(texts) - maxListed; more > 0 {
		fmt.Fprintf(out, "and %d more %s: --json has them all\n", more, what)
	}
}

func appendedText(s history.Secret) string {
	if s.Appended.IsZero() {
		return fmt.Sprintf("lacks revision %d, since it was restored: the next tick announces it again", s.Revision)
	}
	return fmt.Sprintf("%s, revision %d, appended %s later", s.Kind, s.Revision, length(max(0, s.Appended.Sub(s.Changed))))
}

func causeText(c invalidation.Cause) string {
	text := c.DetailType
	if c.EventID != "" {
		text += ", event " + c.EventID
	}
	if c.Actor != "" {
		text += ", by " + c.Actor
	}
	if c.More > 0 {
		text += fmt.Sprintf(", and %d more", c.More)
	}
	return text
}

func deliveryText(outcome invalidation.Outcome, reason invalidation.Reason, subscribed bool) string {
	switch {
	case !subscribed:
		return "not subscribed"
	case reason != "":
		return fmt.Sprintf("%s: %s", outcome, reason)
	default:
		return string(outcome)
	}
}

// ackText is how long after the append an ack came.
func ackText(ack, appended time.Time) string {
	if ack.IsZero() {
		return "-"
	}
	return "+" + length(max(0, ack.Sub(appended)))
}

func printThen(out io.Writer, where place, then history.Then) {
	fmt.Fprintf(out, "%s at %s\n", then.Name, instant(then.At))
	t := table{out, []int{9}}
	switch {
	case then.Revision > 0:
		t.print("  version", cmp.Or(then.Version, "none: "+string(then.Kind)))
		t.print("  log", fmt.Sprintf("%s, revision %d, appended %s", then.Kind, then.Revision, instant(then.Appended)))
		t.print("  applied", cmp.Or(some(then.Applied, 0), "nobody had acknowledged it"))
		t.print("  not yet", cmp.Or(some(then.Others, 0), "nobody"))
		fmt.Fprintf(out, "Acks tell of one environment of each. How all of them stand now: broadcaster status %s --env %s --domain %s\n",
			where.short(then.Name), where.env, where.domain)
	case then.Version != "":
		t.print("  version", then.Version+", which has not changed since the broadcaster knows it")
	default:
		t.print("  version", "not known: the log tells of no change of it until then")
	}
}

func printConsumer(out io.Writer, where place, c history.Consumer, now time.Time) {
	reported := "no environment has reported in the last day"
	if len(c.Environments) > 0 {
		reported = counted(len(c.Environments), "environment") + ", the newest report of " + when(c.Environments[0].Reported, now)
	}
	fmt.Fprintf(out, "%s: %s\n\n", c.Service, reported)
	t := table{out, []int{34, 28, 7, 6, 6}}
	t.print("SECRET", "DELIVERY", "CURRENT", "BEHIND", "SILENT", "FAILURES")
	failures := 0
	for _, s := range c.Secrets {
		failures += len(s.Failures)
		t.print(where.short(s.Name), deliveryText(s.Outcome, s.Reason, s.Outcome != ""),
			strconv.Itoa(s.Current), strconv.Itoa(s.Behind), strconv.Itoa(s.Silent), strconv.Itoa(len(s.Failures)))
	}
	if failures == 0 {
		fmt.Fprintf(out, "\nNothing says that %s fails because of a secret.\n", c.Service)
		return
	}
	for _, s := range c.Secrets {
		for _, f := range s.Failures {
			fmt.Fprintf(out, "\n%s: %s, %s\n", where.short(s.Name), f.Reason, when(f.Time, now))
			if command := logsCommand(f); command != "" {
				fmt.Fprintf(out, "  %s\n", command)
			}
		}
	}
}

// logsBefore is how long before a failure its log lines begin.
const logsBefore = 5 * time.Minute

// logsCommand is the command that shows the log lines of whatever failed.
func logsCommand(f history.Failure) string {
	parts := strings.Split(f.Function, ":") // arn:partition:lambda:region:account:function:name, or name:alias
	name := parts[0]
	if len(parts) >= 7 {
		name = parts[6]
	}
	if name == "" {
		return ""
	}
	command := fmt.Sprintf("aws logs filter-log-events --log-group-name /aws/lambda/%s --start-time %d", name, f.Time.Add(-logsBefore).UnixMilli())
	if f.LogStream != "" {
		command += " --log-stream-names '" + f.LogStream + "'"
	}
	return command
}
