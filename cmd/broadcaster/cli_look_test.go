//go:build !lambdaartifact

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/history/historytest"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

func TestLookingInTheWrongWay(t *testing.T) {
	for command, want := range map[string]string{
		"status one two" + here:                              "broadcaster status takes one secret at most",
		"status neon/password --service payments-api" + here: "ask for a secret or for a --service, not for both",
		"status --at 30m" + here:                             "--at is about a secret: name it",
		"status neon/password --at yesterday" + here:         "must be how long ago, as 30m or 7d, or a time, as 2026-11-23 or 2026-11-23T10:00:00Z",
		"status neon/password --watch --at 30m" + here:       "--watch does not go with --at",
		"status":                   "name the broadcaster with --env and --domain",
		"status --service=" + here: "--service must be a service's name",
		"status neon/password --at 2300-01-01" + here: "--at must not be in the future",
		"changes --since 1m --until 2h" + here:        "--since must be before --until, and before now",
		"changes --since 2300-01-01" + here:           "--since must be before --until, and before now",
		"missed --since 2300-01-01" + here:            "--since must be before now",
		"changes now" + here:                          "broadcaster changes takes no argument",
		"changes --since -5m" + here:                  "must be how long ago, as 30m or 7d, or a time",
		"missed now" + here:                           "broadcaster missed takes no argument",
		"wait" + here:                                 "broadcaster wait takes one secret: its name, what follows /bank/{env}/{domain}/, or its ARN",
		"wait neon/password --within -1s" + here:      "--within must not be negative",
		"tail --last -1" + here:                       "--last must not be negative",
	} {
		if code, stdout, stderr := cli(t, strings.Fields(command)...); code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", command, code, stdout, stderr)
		}
	}
}

func TestLookingForWhatIsNotThere(t *testing.T) {
	p := payments(t)
	for command, want := range map[string]string{
		"status neon/another": "broadcaster: the secret /bank/prod/payments/neon/another is not known to the broadcaster: broadcaster doctor finds out why nothing arrives\n",
		"status --service another": "broadcaster: the service another is not known to the broadcaster: no environment has reported that name in the last day, and nothing was delivered to it: " +
			"broadcaster doctor finds out why nothing arrives\n",
		"missed --function another": "broadcaster: looking at the broadcaster another: ",
	} {
		if stdout, stderr := p.show(t, example{command: command, code: exitFailed}); stdout != "" || !strings.HasPrefix(stderr, want) {
			t.Errorf("%s: stdout %q, stderr %q", command, stdout, stderr)
		}
	}
}

// TestASecretIsNamedInOneWay: whoever names another domain's, or none, is told the same by every command.
func TestASecretIsNamedInOneWay(t *testing.T) {
	const arn = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:"
	p := payments(t)
	for id, want := range map[string]string{
		"/bank/prod/kyc/neon/password":              "broadcaster: not a secret of prod/payments: their names begin with /bank/prod/payments/\n",
		"/bank/prod/payments-archive/neon/password": "broadcaster: not a secret of prod/payments: their names begin with /bank/prod/payments/\n",
		arn + "/bank/prod/kyc/neon/password-a1b2c3": "broadcaster: not a secret of prod/payments: their names begin with /bank/prod/payments/\n",
		"nope":                   "broadcaster: the secret's name is outside /bank/{env}/{domain}/{service}/{name}\n",
		"arn:aws:secretsmanager": "broadcaster: the secret must be the ARN of a secret\n",
	} {
		for _, command := range []string{
			"status " + id, "wait " + id, "subscriptions show " + id, "invalidate " + id + " --reason x", "replay --reason x --secret " + id,
		} {
			if command == "subscriptions show nope" {
				continue // which is about a service
			}
			if code, stdout, stderr := cli(t, strings.Fields(command+here)...); code != exitUsage || stdout != "" || stderr != want {
				t.Errorf("%s: exit code %d, stdout %q, stderr %q", command, code, stdout, stderr)
			}
		}
	}
	for _, place := range []string{"eu-west-2:444455556666", "us-east-1:111122223333"} {
		id := "arn:aws:secretsmanager:" + place + ":secret:/bank/prod/payments/" + neonLogin
		for _, command := range []string{"status " + id, "wait " + id} {
			stdout, stderr := p.show(t, example{command: command, code: exitFailed})
			if want := "broadcaster: " + invalidation.ErrElsewhere.Error() + "\n"; stdout != "" || stderr != want {
				t.Errorf("%s: stdout %q, stderr %q", command, stdout, stderr)
			}
		}
	}
}

// TestWhatIsNextIsACommand that there is, with all that it needs.
func TestWhatIsNextIsACommand(t *testing.T) {
	p := newPast(t)
	for n, reason := range []invalidation.Reason{
		invalidation.NoFunction, invalidation.NoAck, invalidation.NotApplied, invalidation.Invalid, invalidation.NotPermitted, invalidation.Throttled,
	} {
		row := p.Moved(neonLogin, n, day("10:00:00"))
		p.Deliver(row, historytest.Owed(row, string(reason), 0, invalidation.Undelivered, reason))
	}
	p.Found("redis/password", 1, day("10:00:00"), day("10:05:00"))
	row := p.Moved(neonLogin, 9, day("10:06:00"))
	p.Record(row, historytest.Owed(row, "held", 0, invalidation.Pending, invalidation.Paused), historytest.Owed(row, "slow", 0, invalidation.Pending, invalidation.TimedOut))
	stdout, _ := p.show(t, example{command: "missed"})
	commands := regexp.MustCompile(`(?m)^  next: +broadcaster (.*)$`).FindAllStringSubmatch(stdout, -1)
	if len(commands) != 11 { // the parked ones, and an untried one
		t.Errorf("%d commands\n%s", len(commands), stdout)
	}
	for _, c := range commands {
		is, args, err := newRoot(stdio{now: time.Now}).Find(strings.Fields(c[1]))
		if err == nil {
			err = is.ParseFlags(args)
		}
		if err != nil || !is.Runnable() {
			t.Errorf("%s: %v", c[1], err)
		}
	}
}

// TestAServiceThatIsNotSubscribedAnyMore is neither missed nor waited for, and both say so.
func TestAServiceThatIsNotSubscribedAnyMore(t *testing.T) {
	p := newPast(t)
	row := p.Moved(neonLogin, 1, day("10:00:00"))
	p.Deliver(row, historytest.Acked(row, "payments-api", "7f3c01", time.Second, wire.Applied), historytest.Owed(row, "ghost", 0, invalidation.Undelivered, invalidation.NoFunction))
	p.Holds(invalidation.Holding{At: day("10:10:00")}, "payments-api")
	for command, want := range map[string]string{
		"missed":                      "1 delivery to services that are no longer subscribed, so nothing is missing: revision 1\n  services:  ghost\n",
		"wait neon/connection-string": "ghost: no longer subscribed\n",
	} {
		if stdout, stderr := p.show(t, example{command: command}); !strings.Contains(stdout, want) || strings.Count(stdout, "ghost") != 1 || stderr != "" {
			t.Errorf("%s: stdout %q, stderr %q", command, stdout, stderr)
		}
	}
}

// TestAFunctionThatThereIsNot is explained, and has no log lines.
func TestAFunctionThatThereIsNot(t *testing.T) {
	p := newPast(t)
	row := p.Moved(neonLogin, 1, day("10:00:00"))
	p.Deliver(row, historytest.Owed(row, "ghost", 0, invalidation.Undelivered, invalidation.NoFunction))
	stdout, _ := p.show(t, example{command: "status --service ghost"})
	if !strings.Contains(stdout, "neon/connection-string: no-function: there is no such function; correct the manifest, ") || strings.Contains(stdout, "aws logs") {
		t.Errorf("got\n%s", stdout)
	}
}

// TestAnEmptyDomain: nothing is a finding too.
func TestAnEmptyDomain(t *testing.T) {
	p := newPast(t)
	for command, want := range map[string]string{
		"changes":        "Nothing changed.\n",
		"changes --json": "{\n  \"changes\": [\n  ]\n}\n",
		"status":         "log       empty: neither an event nor a tick has arrived\n",
		"missed":         "2 messages parked in the dead-letter queue\n",
	} {
		if stdout, stderr := p.show(t, example{command: command}); !strings.HasPrefix(stdout, want) || stderr != "" {
			t.Errorf("%s: stdout %q, stderr %q", command, stdout, stderr)
		}
	}
}

// TestASecretWithoutNews and one that was deleted.
func TestASecretWithoutNews(t *testing.T) {
	p := newPast(t)
	row := p.Deleted("old/password", day("10:00:00"))
	p.Deliver(row)
	stdout, _ := p.show(t, example{command: "status old/password"})
	if !strings.Contains(stdout, "none: the secret is deleted") || !strings.Contains(stdout, "Nobody is subscribed to it") {
		t.Errorf("got\n%s", stdout)
	}
	stdout, _ = p.show(t, example{command: "status old/password --at 10m"})
	if !strings.Contains(stdout, "version  none: deleted") || !strings.Contains(stdout, "nobody had acknowledged it") {
		t.Errorf("got\n%s", stdout)
	}
	stdout, _ = p.show(t, example{command: "status old/password --at 50m"})
	if !strings.Contains(stdout, "not known: the log tells of no change of it until then") {
		t.Errorf("got\n%s", stdout)
	}
}

// TestTheCanaryTellsOfAChangeWithItsNextRun: that it has not yet is no news.
func TestTheCanaryTellsOfAChangeWithItsNextRun(t *testing.T) {
	p := newPast(t)
	p.Deliver(p.Moved("secret-broadcaster/canary", 1, day("10:00:00")))
	for _, c := range []struct {
		revision int64
		want     string
	}{
		{0, "canary    changed its secret 29m59s ago, and has not reported that it can use it\n"},
		{1, "canary    changed its secret 29m59s ago, and serves the change\n"},
	} {
		if c.revision > 0 {
			p.Report(historytest.Report("secret-broadcaster-canary", "ca4a01", day("10:00:05"), c.revision, historytest.Holding("secret-broadcaster/canary", 1)))
		}
		if stdout, _ := p.show(t, example{command: "status"}); !strings.Contains(stdout, c.want) {
			t.Errorf("at revision %d:\n%s", c.revision, stdout)
		}
	}
	p.Deliver(p.Moved("secret-broadcaster/canary", 2, day("10:15:00")))
	if stdout, _ := p.show(t, example{command: "status"}); !strings.Contains(stdout, "canary    changed its secret 14m59s ago, and reported 29m55s ago that it serves revision 1\n") {
		t.Errorf("got\n%s", stdout)
	}
}

func TestAServiceThatIsWell(t *testing.T) {
	p := payments(t)
	stdout, _ := p.show(t, example{command: "status --service secret-broadcaster-canary"})
	if !strings.Contains(stdout, "Nothing says that secret-broadcaster-canary fails because of a secret.") {
		t.Errorf("got\n%s", stdout)
	}
}

// TestAnEventThatCameTwiceIsToldOnce.
func TestAnEventThatCameTwiceIsToldOnce(t *testing.T) {
	p := payments(t)
	var out strings.Builder
	cause := invalidation.Cause{EventID: "e1", DetailType: "Secret Label Updated"}
	other := invalidation.Cause{EventID: "e2", DetailType: "Secret Label Updated"}
	printSecret(&out, place{}, history.Secret{Revision: 1, Causes: []invalidation.Cause{cause, other, cause}}, p.now)
	if n := strings.Count(out.String(), "\n  by "); n != 2 {
		t.Errorf("%d lines\n%s", n, &out)
	}
}

// TestWhatCannotBeCompletedIsExplained where the shell shows it: what a secret or a service may be is the place's.
func TestWhatCannotBeCompletedIsExplained(t *testing.T) {
	for _, command := range []string{"wait", "status --service", "subscriptions show"} {
		_, stdout, _ := cli(t, append([]string{"__complete"}, append(strings.Fields(command), "")...)...)
		if want := "_activeHelp_ name the broadcaster with --env and --domain\n:4\n"; stdout != want {
			t.Errorf("%s: %q", command, stdout)
		}
	}
}

// TestWatching looks again, and ends with Ctrl-C as a command that is done.
func TestWatching(t *testing.T) {
	p := payments(t)
	stdout, stderr := p.show(t, example{command: "status --watch", lines: 6}) // five lines, and a second look
	if strings.Count(stdout, "log       revision 8") < 2 || stderr != "" {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("what is no terminal is not cleared")
	}
}

// TestWatchingAsJSON prints an object a line.
func TestWatchingAsJSON(t *testing.T) {
	p := payments(t)
	stdout, stderr := p.show(t, example{command: "status --watch --json", lines: 2})
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) != 2 || stderr != "" {
		t.Fatalf("stdout %q, stderr %q", stdout, stderr)
	}
	for _, line := range lines {
		var is history.Health
		if err := json.Unmarshal([]byte(line), &is); err != nil || is.Revision != 8 {
			t.Errorf("%v: %s", err, line)
		}
	}
}

// TestWatchingGoesOn when a look fails, unless it is the first one.
func TestWatchingGoesOn(t *testing.T) {
	p := payments(t)
	p.show(t, example{command: "status neon/another --watch", code: exitFailed})
	p.answer = func(out http.ResponseWriter, action string, n int) bool {
		if action != "dynamodb:BatchGetItem" || n != 3 {
			return false
		}
		out.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(out, `{"__type":"AccessDeniedException","message":"refused by the test"}`)
		return true
	}
	stdout, stderr := p.show(t, example{command: "status --watch", lines: 10})
	if !strings.HasPrefix(stderr, "broadcaster: reading secrets' rows: ") || strings.Count(stdout, "log       revision 8") != 2 {
		t.Errorf("got\n%s%s", stdout, stderr)
	}
}

// TestTheSDKIsQuiet: of an answer that is cut off the command's own error says so, once.
func TestTheSDKIsQuiet(t *testing.T) {
	p := payments(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	was := os.Stderr
	os.Stderr = file // where the SDK logs to
	defer func() { os.Stderr = was }()
	p.answer = func(out http.ResponseWriter, action string, n int) bool {
		if action != "dynamodb:Query" || n != 1 {
			return false
		}
		out.Header().Set("X-Amz-Crc32", "4711")
		out.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(out, `{"Items":[`)
		_ = http.NewResponseController(out).Flush()
		panic(http.ErrAbortHandler)
	}
	stdout, stderr := p.show(t, example{command: "status", code: exitFailed})
	text, err := os.ReadFile(file.Name())
	if stdout != "" || !strings.HasSuffix(stderr, "unexpected EOF\n") || strings.Count(stderr, "\n") != 1 || err != nil || len(text) > 0 {
		t.Errorf("stdout %q, stderr %q, logged %q, %v", stdout, stderr, text, err)
	}
}

// TestWaitingForWhatComes: the command waits, and its default for certain has no end.
func TestWaitingForWhatComes(t *testing.T) {
	p := newPast(t)
	row := p.Moved(neonLogin, 1, time.Now().Add(-time.Second))
	p.Deliver(row, historytest.Acked(row, "payments-api", "7f3c01", time.Second, wire.Applied))
	began := time.Now()
	code, stdout, stderr := cliNow(t, "wait neon/connection-string"+here)
	if took := time.Since(began); code != exitDone || took < 2*time.Second || !strings.Contains(stdout, "payments-api: acknowledged, expected ") ||
		!regexp.MustCompile(`^waiting: expected \S+, in \S+; certain \S+, in \S+\n$`).MatchString(stderr) {
		t.Errorf("after %v: exit code %d\n%s%s", took, code, stdout, stderr)
	}
	code, stdout, stderr = cliNow(t, "wait neon/connection-string --certain --within 1s --json"+here)
	if code != exitNotYet || !strings.Contains(stdout, `"reached": false`) || stderr != "broadcaster: not yet: 1s were given\n" {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	code, _, stderr = cliNow(t, "wait redis/password --within 100ms"+here)
	if code != exitNotYet || stderr != "waiting: the broadcaster has never seen the secret\nbroadcaster: not yet: 100ms were given\n" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// TestWaitingIsInterrupted, after it has said what it waits for.
func TestWaitingIsInterrupted(t *testing.T) {
	p := newPast(t)
	p.Moved(neonLogin, 1, time.Now().Add(-time.Second))
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out, errs := &interrupting{}, &interrupting{lines: 1, stop: stop}
	code := run(ctx, strings.Fields("wait neon/connection-string --certain"+here), stdio{in: strings.NewReader(""), out: out, err: errs, now: time.Now})
	if code != exitNotYet || !strings.Contains(out.String(), "missing   its fan-out is under way") ||
		!regexp.MustCompile(`^waiting: expected not while something is missing; certain \S+, in \S+\nbroadcaster: not yet: interrupted\n$`).MatchString(errs.String()) {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// cliNow runs one command line by the clock.
func cliNow(t *testing.T, command string) (code int, stdout, stderr string) {
	t.Helper()
	out, errs := &interrupting{}, &interrupting{}
	code = run(t.Context(), strings.Fields(command), stdio{in: strings.NewReader(""), out: out, err: errs, now: time.Now})
	return code, out.String(), errs.String()
}

func TestSecretsAndServicesAreCompleted(t *testing.T) {
	payments(t)
	for command, want := range map[string]string{
		"__complete status" + here + " ":                       "datadog/api-key\nkafka/password\nneon/connection-string\nredis/password\nsecret-broadcaster/canary\nstripe/api-key\n:4",
		"__complete wait" + here + " ":                         "datadog/api-key\n",
		"__complete wait neon/connection-string" + here + " ":  ":4",
		"__complete status" + here + " --service ":             "ledger\npayments-api\npayments-batch\nsecret-broadcaster-canary\n:4",
		"__complete invalidate" + here + " ":                   "datadog/api-key\n",
		"__complete replay" + here + " --secret ":              "datadog/api-key\n",
		"__complete replay" + here + " --service ":             "ledger\n",
		"__complete status --env prod --domain kyc ":           ":4",
		"__complete status --env prod --domain kyc --service ": ":4",
	} {
		if _, stdout, _ := cli(t, append(strings.Fields(command), "")...); !strings.HasPrefix(stdout, want) {
			t.Errorf("%s: %q", command, stdout)
		}
	}
}

// TestCompletionDoesNotKeepAShell waiting for a domain that does not answer.
func TestCompletionDoesNotKeepAShell(t *testing.T) {
	hangs := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hangs:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(hangs)
	for name, value := range map[string]string{
		"AWS_REGION": "eu-west-2", "AWS_ACCESS_KEY_ID": "placeholder", "AWS_SECRET_ACCESS_KEY": "placeholder", "AWS_ENDPOINT_URL": server.URL,
	} {
		t.Setenv(name, value)
	}
	began := time.Now()
	if _, stdout, _ := cli(t, "__complete", "status", "--env", "prod", "--domain", "payments", ""); !strings.HasPrefix(stdout, ":4") || time.Since(began) > 10*time.Second {
		t.Errorf("after %v: %q", time.Since(began), stdout)
	}
}

func TestTimesAsPeopleReadThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		900 * time.Millisecond: "0.9s ago", 130 * time.Second: "2m10s ago", -90 * time.Second: "in 1m30s", 90 * time.Minute: "1h30m ago", 100 * time.Hour: "4d ago",
	} {
		if got := since(day("10:00:00").Add(-d), day("10:00:00")); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestATimeFlag(t *testing.T) {
	now := day("10:00:00")
	for text, want := range map[string]time.Time{"30m": day("09:30:00"), "2026-11-23T08:00:00Z": day("08:00:00"), "2026-11-23T09:00:00+01:00": day("08:00:00"), "2026-11-23": day("00:00:00"), "1d": now.Add(-24 * time.Hour)} {
		var f timeFlag
		if err := f.Set(text); err != nil || !f.time(now).Equal(want) || f.String() == "" || !f.set() {
			t.Errorf("%s: %v, %v", text, f.time(now), err)
		}
	}
}

// TestALargeDomainIsReadable: however many services fail, what is told of them is a page, and 100 columns wide.
func TestALargeDomainIsReadable(t *testing.T) {
	p := newPast(t)
	row := p.Moved(neonLogin, 1, day("10:00:00"))
	var deliveries []invalidation.Delivery
	for n := range 40 {
		deliveries = append(deliveries, historytest.Owed(row, fmt.Sprintf("a-service-whose-name-is-long-%02d", n), 0, invalidation.Undelivered, invalidation.Throttled))
	}
	p.Deliver(row, deliveries...)
	for command, want := range map[string]string{
		"missed":                        "\n             a-service-whose-name-is-long-02, ", // goes on below itself
		"status neon/connection-string": "and 30 more failing: --json has them all\n",
		"wait neon/connection-string":   "and 30 more missing: --json has them all\n",
	} {
		e := example{command: command}
		if strings.HasPrefix(command, "wait") {
			e.code = exitNotYet
		}
		stdout, _ := p.show(t, e)
		if !strings.Contains(stdout, want) || strings.Count(stdout, "\n") > 80 {
			t.Errorf("%s:\n%s", command, stdout)
		}
		for line := range strings.Lines(stdout) {
			if n := utf8.RuneCountInString(line); n > columns+1 && !strings.Contains(line, "next: ") {
				t.Errorf("%s: %d columns: %s", command, n-1, line)
			}
		}
	}
}

// TestWhatIsCut: a table is cut where it would be too wide; its last column goes on below itself.
func TestWhatIsCut(t *testing.T) {
	var out interrupting
	table{&out, []int{5, 3}}.print("abcdefgh", "é", "what is last")
	if want := "abcd…  é    what is last\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	out.Reset()
	long := strings.Repeat("x", 60)
	table{&out, []int{5}}.print("a", "what is last "+long+" "+long+long+" ends")
	if want := "a      what is last " + long + "\n       " + long + long + "\n       ends\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestWhereAFailuresLogLinesAre(t *testing.T) {
	f := history.Failure{Time: day("10:00:00"), LogStream: "2026/11/23/[7]1ed901"}
	for function, want := range map[string]string{
		"": "",
		historytest.FunctionARN("ledger") + ":live": "aws logs filter-log-events --log-group-name /aws/lambda/ledger --start-time 1795427700000 --log-stream-names '2026/11/23/[7]1ed901'",
		"ledger:live": "aws logs filter-log-events --log-group-name /aws/lambda/ledger --start-time 1795427700000 --log-stream-names '2026/11/23/[7]1ed901'",
	} {
		f.Function = function
		if got := logsCommand(f); got != want {
			t.Errorf("%s: %q, want %q", function, got, want)
		}
	}
}

// TestWhatCannotBePrinted ends a list with an error.
func TestWhatCannotBePrinted(t *testing.T) {
	failure := errors.New("unreachable")
	err := printArray(&interrupting{}, "changes", func(yield func(int, error) bool) { _ = yield(1, nil) && yield(0, failure) })
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}
