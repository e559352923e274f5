package ops_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	awseventbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// TestPeoplesCommands builds the programs once for all.
func TestPeoplesCommands(t *testing.T) {
	program, artifact := build(t, "broadcaster"), build(t, "artifact", "-tags", "lambda.norpc,lambdaartifact")
	wake(t)
	for name, test := range map[string]func(*world){
		"pushes are paused and resumed":      pushesArePausedAndResumed,
		"the documented commands run":        theDocumentedCommandsRun,
		"the documented doctor finds nobody": theDocumentedDoctorFindsNobody,
		"who looks sees what happened":       whoLooksSeesWhatHappened,
		"who waits hears when it is there":   whoWaitsHearsWhenItIsThere,
		"a lost event is found and told":     aLostEventIsFoundAndTold,
		"commands that fail say so":          commandsThatFailSaySo,
		"the evidence is whole":              theEvidenceIsWhole,

		"a leaked secret is announced by hand":     aLeakedSecretIsAnnouncedByHand,
		"what a throttled consumer missed":         whatAThrottledConsumerMissed,
		"two people replay at once":                twoPeopleReplayAtOnce,
		"what was parked is sent again":            whatWasParkedIsSentAgain,
		"what the archive has is sent again":       whatTheArchiveHasIsSentAgain,
		"replays that cannot be understood say so": replaysThatCannotBeUnderstood,
		"subscriptions are applied":                subscriptionsAreApplied,
		"applies that would lose another's":        appliesThatWouldLoseAnothers,
		"ten thousand subscriptions":               tenThousandSubscriptions,
		"the workflow plans and applies":           theWorkflowPlansAndApplies,
		"the hook refuses what is wrong":           theHookRefusesWhatIsWrong,
	} {
		t.Run(name, func(t *testing.T) { test(newWorld(t, program, artifact)) })
	}
}

func pushesArePausedAndResumed(w *world) {
	t := w.T
	before := w.begin()

	w.change(1)
	if d := w.delivery(2); d.Outcome != invalidation.Acknowledged {
		t.Fatalf("without a pause: %+v", d)
	}
	dry := w.order("pause", "--reason", "INC-4711", "--dry-run")
	if p, err := w.store.Pause(t.Context()); err != nil || p.Paused || !dry.DryRun || !dry.Is.Paused {
		t.Errorf("a dry run: %+v, %v", dry, err)
	}
	a := w.order("pause", "--reason", "INC-4711: every push fails")
	if !strings.HasPrefix(a.By, "arn:aws:") || !strings.Contains(a.By, oncallAccount) {
		t.Errorf("it was %q, want somebody of account %s", a.By, oncallAccount)
	}

	current := w.read()
	event := w.change(2)
	if d := w.delivery(3); d.Outcome != invalidation.Pending || d.Reason != invalidation.Paused {
		t.Errorf("with a pause: %+v", d)
	}
	w.until("the log to tell the consumer", func() bool { return w.read() != current })
	if current == before {
		t.Error("the consumer never followed")
	}

	if dry := w.order("resume", "--reason", "try it", "--dry-run"); dry.OpenFanouts != 1 || !dry.Was.Paused || w.delivery(3).Reason != invalidation.Paused {
		t.Errorf("a dry run: %+v", dry)
	}
	if a := w.order("resume", "--reason", "INC-4711: fixed"); a.OpenFanouts != 0 || a.Was.Reason != "INC-4711: every push fails" {
		t.Errorf("resumed: %+v", a)
	}
	d := w.delivery(3)
	if d.Outcome != invalidation.Acknowledged || len(d.EventIDs) != 1 || d.EventIDs[0] != event || d.Ack.LogStream == "" {
		t.Errorf("after the pause: %+v", d)
	}
	w.wantRecords(a.By)
	w.wantFollowed(event, d)
	for _, hidden := range []string{"X-Amz-Signature", "value 0", "value 1", "value 2"} {
		if strings.Contains(w.written(), hidden) {
			t.Errorf("the broadcaster writes %q", hidden)
		}
	}
}

// wantRecords: who had what done and why is kept, also of nobody else.
func (w *world) wantRecords(by string) {
	w.Helper()
	records, err := w.store.Commands(w.Context())
	var got []string
	for _, r := range records {
		got = append(got, r.Name+" "+r.Reason)
		if r.By != by || r.RequestID == "" || r.At.IsZero() {
			w.Errorf("record %+v", r)
		}
	}
	if want := "pause INC-4711: every push fails, resume INC-4711: fixed"; err != nil || strings.Join(got, ", ") != want {
		w.Errorf("recorded %v, %v", got, err)
	}
}

// wantFollowed: what was written has the event's way up to the ack, and metrics.
func (w *world) wantFollowed(event string, d invalidation.Delivery) {
	w.Helper()
	var lines []string
	metrics := 0
	for line := range strings.Lines(w.written()) {
		var is struct {
			Msg, Environment, LogStream string
			AWS                         any `json:"_aws"`
		}
		if err := json.Unmarshal([]byte(line), &is); err != nil {
			w.Errorf("no JSON: %s", line)
		}
		if is.AWS != nil {
			metrics++
		}
		if strings.Contains(line, event) {
			lines = append(lines, is.Msg+is.LogStream)
		}
	}
	if want := "appended, event, a push is pending, a push was acknowledged" + d.Ack.LogStream; strings.Join(lines, ", ") != want {
		w.Errorf("the event's lines: %v, want %s", lines, want)
	}
	if metrics < 6 { // two of each invocation, one of each command
		w.Errorf("%d lines of metrics", metrics)
	}
}

// theDocumentedCommandsRun, in their order, as they stand there.
func theDocumentedCommandsRun(w *world) {
	t := w.T
	w.begin()
	config, _, _ := w.emulated()
	w.archived(awseventbridge.NewFromConfig(config))
	w.runDocumented("pause|resume|invalidate|replay", 13, "README.md", "docs/operating.md", "infra/runbooks/failed-deliveries.md", "infra/runbooks/dead-letters.md")
	if records, err := w.store.Commands(t.Context()); err != nil || len(records) != 7 { // four are dry runs, and no delivery has failed
		t.Errorf("%d records, %v", len(records), err)
	}
}

// runDocumented runs the n commands of these names that documents show, in their order, as they stand there.
func (w *world) runDocumented(names string, n int, documents ...string) {
	w.Helper()
	shown := regexp.MustCompile(`(?m)^go run ./cmd/broadcaster ((?:` + names + `) .*)$`)
	ran := 0
	for _, name := range documents {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			w.Fatal(err)
		}
		for _, c := range shown.FindAllStringSubmatch(string(text), -1) {
			shell := exec.CommandContext(w.Context(), "bash", "-c", w.program+" "+c[1])
			shell.Env, shell.Dir = w.oncall(), w.dir
			if out, err := shell.CombinedOutput(); err != nil {
				w.Errorf("%s: %v\n%s", c[0], err, out)
			}
			ran++
		}
	}
	if ran != n {
		w.Errorf("%v show %d commands, want %d", documents, ran, n)
	}
}

// theDocumentedDoctorFindsNobody: in an account where nothing is deployed.
func theDocumentedDoctorFindsNobody(w *world) {
	t := w.T
	document, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^go run ./cmd/broadcaster (doctor .*)$`).FindStringSubmatch(string(document))
	if match == nil {
		t.Fatal("no document shows the command")
	}
	shell := exec.CommandContext(t.Context(), "bash", "-c", w.program+" "+match[1])
	shell.Env = append(w.oncall(), "AWS_ENDPOINT_URL_LAMBDA="+w.sts) // the third party's, where there is no function
	out, err := shell.CombinedOutput()
	want := "wrong function: there is no function prod-payments-broadcaster here\n" +
		"      name it with --function, or its account and Region with AWS_PROFILE and AWS_REGION\nbroadcaster: not well, or not looked at: 1 of 1\n"
	if failed := new(exec.ExitError); !errors.As(err, &failed) || failed.ExitCode() != 1 || string(out) != want {
		t.Errorf("%v, and it says\n%s", err, out)
	}
}

func commandsThatFailSaySo(w *world) {
	t := w.T
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no reason":           {[]string{"pause", "--env", "prod", "--domain", "payments"}, 2, "broadcaster: say why, with --reason: it is recorded\n"},
		"no domain":           {[]string{"pause", "--env", "prod", "--reason", "x"}, 2, "broadcaster: name the broadcaster with --env and --domain\n"},
		"no such broadcaster": {[]string{"pause", "--env", "prod", "--domain", "kyc", "--reason", "x"}, 1, "broadcaster: invoking prod-kyc-broadcaster:pause: "},
		"another's function": {
			[]string{"pause", "--env", "prod", "--domain", "kyc", "--reason", "x", "--function", broadcaster},
			1,
			"broadcaster: the broadcaster refuses or fails: this is the broadcaster of prod/payments, and the command is for prod/kyc\n",
		},
		"no broadcaster": {[]string{"resume", "--env", "prod", "--domain", "payments", "--reason", "x", "--function", consumer}, 1, "broadcaster: invoking payments-api:resume: "},
	} {
		code, stdout, stderr := w.command(c.args...)
		if code != c.code || stdout != "" || !strings.HasPrefix(stderr, c.want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", name, code, stdout, stderr)
		}
	}
	if answer, failed := w.invoke(broadcaster+":live", `{"secretBroadcasterCommand":{"order":{"name":"pause","env":"prod","domain":"payments","reason":"x"}}}`); !failed || !strings.Contains(answer, "through the alias pause only") {
		t.Errorf("through another alias: %s", answer)
	}
	if answer, failed := w.invoke(broadcaster+":pause", `{"secretBroadcasterCommand":{"order":{"name":"pause","env":"prod","domain":"payments","reason":"x"}}}`); !failed || !strings.Contains(answer, "does not prove who sends it") {
		t.Errorf("without a proof: %s", answer)
	}
	if p, err := w.store.Pause(t.Context()); err != nil || p.Paused {
		t.Errorf("pause %+v, %v", p, err)
	}
}
