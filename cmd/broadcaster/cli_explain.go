//go:build !lambdaartifact

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// maxExplained is more than Lambda, SQS or EventBridge carry in one payload.
const maxExplained = 10 << 20

func newExplain() *cobra.Command {
	var (
		dir    string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "explain FILE|-",
		Short: "Say what the broadcaster would make of an event, without AWS",
		Long: `Say what the broadcaster would make of an event, without AWS.

FILE holds what a Lambda function would be invoked with: one event as EventBridge sends it, a list of them, or either
in SQS or SNS; - is standard input. Each event ends as a signal (the broadcaster asks Secrets Manager what is current),
as ignored, malformed or unknown, or as the schedule's tick. With --subscriptions it is also said who would be pushed
to.

Exit codes: 0 done, 1 something is malformed, no JSON or no event, 2 the command line cannot be understood.`,
		Example: `  broadcaster explain event.json
  broadcaster explain --subscriptions manifests event.json
  broadcaster explain --json event.json
  aws sqs receive-message --queue-url "$QUEUE" --query 'Messages[0].Body' --output text | broadcaster explain -`,
		Args: oneFile,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var manifests manifests
			if cmd.Flags().Changed("subscriptions") {
				var err error
				if manifests, err = loadManifests(dir, cmd.ErrOrStderr()); err != nil {
					return err
				}
			}
			payload, err := readEvent(cmd, args[0])
			if err != nil {
				return err
			}
			if err := explain(cmd.OutOrStdout(), events.Parse(payload), manifests, asJSON); err != nil {
				return fmt.Errorf("%s: %w", nameOf(args[0]), err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "subscriptions", "", "a directory with the domains' manifests, *.yaml")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	_ = cmd.MarkFlagDirname("subscriptions")
	return cmd
}

// oneFile is for commands that take one file.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Sprintf("%s takes one file, or - for standard input, not %d", cmd.CommandPath(), len(args))}
	}
	return nil
}

func readEvent(cmd *cobra.Command, file string) ([]byte, error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file) //nolint:gosec // the file is the user's choice
		if err != nil {
			return nil, fmt.Errorf("reading the event: %w", err)
		}
		defer f.Close()
		in = f
	} else if f, ok := in.(*os.File); ok && isTerminal(f) {
		fmt.Fprintln(cmd.ErrOrStderr(), "broadcaster: reading an event from the terminal; end it with Ctrl-D")
	}
	payload, err := io.ReadAll(io.LimitReader(in, maxExplained+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the event: %w", err)
	case len(payload) > maxExplained:
		return nil, fmt.Errorf("reading the event: %s is larger than %d MB, which no event is", nameOf(file), maxExplained>>20)
	case len(bytes.TrimSpace(payload)) == 0:
		return nil, fmt.Errorf("reading the event: %s is empty", nameOf(file))
	}
	return payload, nil
}

// nameOf says what an argument means.
func nameOf(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// explain prints what became of each event. Its error says that one was malformed.
func explain(out io.Writer, results []events.Result, m manifests, asJSON bool) error {
	bad := 0
	all := explained{Results: []explanation{}}
	for _, r := range results {
		if r.Outcome == events.Malformed {
			bad++
		}
		all.Results = append(all.Results, explanationOf(r, m))
	}
	if err := all.print(out, asJSON); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("malformed: %d of %d", bad, len(results))
	}
	return nil
}

// explained is what --json prints. Every field is always there.
type explained struct {
	Results []explanation `json:"results"`
}

type explanation struct {
	Outcome    events.Outcome `json:"outcome"`
	Reason     string         `json:"reason"`
	EventID    string         `json:"eventId"`
	DetailType string         `json:"detailType"`
	Signal     shownSignal    `json:"signal"` // its fields are empty without one
	Deliveries []delivery     `json:"deliveries"`

	result    events.Result
	manifests manifests
}

type shownSignal struct {
	Kind      events.Kind `json:"kind"`
	Name      string      `json:"name"` // empty if only DescribeSecret, asked by ARN, can tell it
	ARN       string      `json:"arn"`
	Env       string      `json:"env"`
	Domain    string      `json:"domain"`
	Service   string      `json:"service"`
	Key       string      `json:"key"`
	VersionID string      `json:"versionId"`
	Label     string      `json:"label"`
	Replay    string      `json:"replay"`
	Actor     string      `json:"actor"`
}

type delivery struct {
	Subscription string `json:"subscription"`
	Function     string `json:"function"`
	Deliver      string `json:"deliver"`
	Why          string `json:"why"`
}

func explanationOf(r events.Result, m manifests) explanation {
	s := r.Signal
	return explanation{
		Outcome: r.Outcome, Reason: r.Reason, EventID: r.EventID, DetailType: r.DetailType,
		Signal: shownSignal{
			Kind: s.Kind, Name: s.Name, ARN: s.ARN, Env: s.Env, Domain: s.Domain, Service: s.Service, Key: s.Key,
			VersionID: s.VersionID, Label: s.Label, Replay: s.Replay, Actor: s.Actor,
		},
		Deliveries: m.deliveries(s),
		result:     r, manifests: m,
	}
}

func (e explained) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(out, e)
	}
	for i, one := range e.Results {
		if _, err := fmt.Fprintf(out, "%d. %s\n", i+1, one); err != nil {
			return err
		}
	}
	return nil
}

// manifests are those of a directory, by domain. Nil says that none were asked for.
type manifests subscribers.Domains

// files are those of this machine by their paths, so that an error names a file as people do.
type files struct{}

// Open implements fs.FS, but for any path.
func (files) Open(name string) (fs.File, error) { return os.Open(name) } //nolint:gosec // the user's choice

// loadManifests reads every manifest of a directory, each for the domain that it says it is of. It prints each problem on a
// line of its own that begins with the file, where an editor finds it.
func loadManifests(dir string, problems io.Writer) (manifests, error) {
	switch is, err := os.Stat(dir); {
	case err != nil:
		return nil, fmt.Errorf("reading subscriptions: %w", err)
	case !is.IsDir():
		return nil, fmt.Errorf("reading subscriptions: %s is a file: name the directory that it is in, %s", dir, filepath.Dir(dir))
	}
	all, err := subscribers.LoadDir(files{}, dir)
	if unreadable := new(fs.PathError); errors.As(err, &unreadable) && unreadable.Path == dir {
		return nil, err
	}
	if err != nil {
		lines := err.Error()
		if _, err := fmt.Fprintln(problems, lines); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("reading subscriptions: %s has manifests that the broadcaster would refuse (problems: %d)", dir, 1+strings.Count(lines, "\n"))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("reading subscriptions: %s has no manifest, *.yaml", dir)
	}
	return manifests(all), nil
}

// deliveries are those that a signal would have once it is confirmed: an empty list if there are none.
func (m manifests) deliveries(s events.Signal) []delivery {
	all := []delivery{}
	of, ok := m[subscribers.Domain{Env: s.Env, Name: s.Domain}]
	if !ok || s.Kind == events.Deleted && of.IgnoreDeletions {
		return all
	}
	for _, sub := range of.Match([]string{s.Name}) {
		d := delivery{Subscription: sub.Service, Function: sub.Function, Deliver: "push", Why: "its pattern " + sub.Pattern + " matches"}
		switch {
		case !sub.Push:
			d.Deliver = "pull"
			d.Why += ", but it wants no push: it finds out from the change log at its next read"
		case sub.ByReport:
			d.Why += "; it names no function, so those that report this service name are meant"
		}
		all = append(all, d)
	}
	return all
}
