package infra

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// metrics are those that the two functions write, and who is told by which alarm. A metric without an alarm is for the dashboard.
func metrics() map[string]string {
	return map[string]string{
		"Heartbeat": "HeartbeatAlarm", "Unknown": "UnknownAlarm", "Misrouted": "MisroutedAlarm", "Warnings": "WarningsAlarm",
		"MissedFound": "MissedAlarm", "EventToAppend": "SlowAppendAlarm", "DeliveriesFailed": "FailedDeliveriesAlarm",
		"CheckFailures": "CheckFailuresAlarm", "RecentlyReadDeleted": "RecentlyReadDeletedAlarm", "Failed": "FailedAlarm",
		"OpenFanouts": "OpenFanoutsAlarm", "CanarySucceeded": "CanaryAlarm", "ChangeToServed": "",
		"Received": "", "Appended": "", "Duplicates": "", "Unchanged": "", "Ignored": "", "Malformed": "", "AppendToAck": "",
		"DeliveriesAcknowledged": "", "DeliveriesPending": "", "DeliveriesSkipped": "", "Behind": "", "Paused": "",
	}
}

// TestEveryAlarmHasARunbookAndEveryRunbookAnAlarm: by the alarm's name and in its description.
func TestEveryAlarmHasARunbookAndEveryRunbookAnAlarm(t *testing.T) {
	var named []string
	for id, alarm := range domain(t, "payments").of("AWS::CloudWatch::Alarm") {
		name, ours := strings.CutPrefix(alarm.Properties["AlarmName"].(string), "prod-payments-broadcaster-")
		if !ours {
			t.Errorf("%s is called %v", id, alarm.Properties["AlarmName"])
		}
		name, isNow := strings.CutSuffix(name, "-now") // beside the one that stays red, with the same runbook
		if !isNow {
			named = append(named, name+".md")
		}
		if description := alarm.Properties["AlarmDescription"].(string); !strings.HasSuffix(description, " Runbook: infra/runbooks/"+name+".md") {
			t.Errorf("%s does not name its runbook: %s", id, description)
		}
	}
	slices.Sort(named)
	if diff := cmp.Diff(named, runbooks(t)); diff != "" || len(named) < 10 {
		t.Errorf("runbooks (-alarms +files):\n%s", diff)
	}
}

func runbooks(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "infra", "runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}

func TestEveryRunbookSaysWhatToDo(t *testing.T) {
	for _, name := range runbooks(t) {
		text := string(fileIn(t, root, "infra/runbooks/"+name))
		at := 0
		for _, section := range []string{"# ", "## Meaning\n", "## Impact\n", "## First command\n\n```bash\naws ", "## Decisions\n\n| you see | do |\n|---|---|\n| ", "## Roll back\n", "## Escalate\n"} {
			found := strings.Index(text[at:], section)
			if found < 0 {
				t.Errorf("%s has no %q where it belongs", name, section)
				break
			}
			at += found
		}
		if !strings.Contains(text, "[on call](../../docs/on-call.md#") {
			t.Errorf("%s does not say where in docs/on-call.md it goes on", name)
		}
	}
}

// TestAlarmsStayRedUntilANumberSaysOtherwise: no data never turns one green, and where what is wrong is that there is no data, it is
// red. The heartbeat's and the canary's, which end by themselves when there is one again, tell that it is over; and those that
// page each time (TestEachOccurrencePages), beside each of which stands one that stays red.
func TestAlarmsStayRedUntilANumberSaysOtherwise(t *testing.T) {
	s := domain(t, "payments", "ReconcileMinutes", "15")
	for id, alarm := range s.of("AWS::CloudWatch::Alarm") {
		p := alarm.Properties
		want, over := "ignore", false
		if of, isNow := strings.CutSuffix(id, "NowAlarm"); isNow {
			want, over = "notBreaching", true
			if stays := s.resources[of+"Alarm"].Properties; stays["MetricName"] != p["MetricName"] || stays["TreatMissingData"] != "ignore" {
				t.Errorf("beside %s nothing stays red: %v", id, stays)
			}
		} else if id == "HeartbeatAlarm" || id == "CanaryAlarm" {
			want, over = "breaching", true
		}
		if p["TreatMissingData"] != want || (p["OKActions"] != nil) != over {
			t.Errorf("%s: missing data is %v, over is told by %v", id, p["TreatMissingData"], p["OKActions"])
		}
		actions := p["AlarmActions"].([]any)
		if len(actions) != 1 || actions[0] != arn("sns", "prod-secret-broadcaster-page") && actions[0] != arn("sns", "prod-secret-broadcaster-ticket") {
			t.Errorf("%s tells %v", id, actions)
		}
		if period, times := p["Period"].(float64), p["EvaluationPeriods"].(float64); period*times > 86400 { // CloudWatch's limit
			t.Errorf("%s looks back %v s", id, period*times)
		}
	}
	topics := platform(t).of("AWS::SNS::Topic")
	for _, name := range []string{"page", "ticket"} {
		if !slices.ContainsFunc(slices.Collect(maps.Values(topics)), func(r resource) bool { return r.Properties["TopicName"] == "prod-secret-broadcaster-"+name }) {
			t.Errorf("platform.yaml has no topic for a %s", name)
		}
	}
}

// TestEachOccurrencePages: CloudWatch tells of changes of an alarm's state only. What pages, and is counted when it happens, pages
// each time: at once, and what happens while the alarm is red is followed by another page within minutes.
func TestEachOccurrencePages(t *testing.T) {
	const atOnce, soon = 1, 10 // minutes
	happens := []int{7, 8, 30, 33, 60, 75, 700}
	counted := map[string]bool{}
	for id, alarm := range domain(t, "payments", "ReconcileMinutes", "15").of("AWS::CloudWatch::Alarm") {
		p := alarm.Properties
		page := any(arn("sns", "prod-secret-broadcaster-page"))
		if p["Namespace"] != "SecretBroadcaster" || p["ComparisonOperator"] != "GreaterThanThreshold" || p["AlarmActions"].([]any)[0] != page {
			continue
		}
		counted[p["MetricName"].(string)] = true
		pages := transitions(p, happens)
		for i, at := range happens {
			next := slices.IndexFunc(pages, func(paged int) bool { return paged >= at })
			quiet := i == 0 || at-happens[i-1] > soon
			if next < 0 || quiet && pages[next] > at+atOnce || pages[next] > at+soon {
				t.Errorf("%s: what happens in minute %d pages nobody: pages are in %v", id, at, pages)
			}
		}
	}
	if want := []string{"DeliveriesFailed", "RecentlyReadDeleted", "Warnings"}; !slices.Equal(want, slices.Sorted(maps.Keys(counted))) {
		t.Errorf("each time pages what %v count, want %v", counted, want)
	}
}

// transitions returns the minutes in which an alarm tells somebody, as CloudWatch evaluates it
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html): its metric is 1 in each minute in which
// something happens, and 0 at a tick each quarter of an hour.
func transitions(alarm tree, happens []int) []int {
	period, periods := int(alarm["Period"].(float64))/60, int(alarm["EvaluationPeriods"].(float64))
	var tells []int
	red := false
	for now := range slices.Max(happens) + 24*60 {
		breaching, hasData := 0, false
		for i := range periods {
			from, isBreaching := (now/period-i)*period, false
			for minute := max(0, from); minute < from+period && minute <= now; minute++ {
				isBreaching = isBreaching || slices.Contains(happens, minute)
				hasData = hasData || isBreaching || minute%15 == 0
			}
			if isBreaching {
				breaching++
			}
		}
		is := breaching >= int(alarm["DatapointsToAlarm"].(float64))
		if !hasData && alarm["TreatMissingData"] == "ignore" {
			is = red
		}
		if is != red && (is || alarm["OKActions"] != nil) {
			tells = append(tells, now)
		}
		red = is
	}
	return tells
}

// TestTheHeartbeatsPeriodHoldsATick: else the alarm is red between two ticks.
func TestTheHeartbeatsPeriodHoldsATick(t *testing.T) {
	for minutes, rate := range map[string]string{"1": "rate(1 minute)", "5": "rate(5 minutes)", "10": "rate(10 minutes)", "15": "rate(15 minutes)"} {
		s := domain(t, "payments", "ReconcileMinutes", minutes)
		var every float64
		if _, err := fmt.Sscan(minutes, &every); err != nil {
			t.Fatal(err)
		}
		if period := s.resources["HeartbeatAlarm"].Properties["Period"].(float64); period < every*60 {
			t.Errorf("every %s minutes: the period is %v s", minutes, period)
		}
		if got := s.resources["TickRule"].Properties["ScheduleExpression"]; got != rate {
			t.Errorf("every %s minutes: %v", minutes, got)
		}
	}
}

// TestTheCanaryRunsAsOftenAsItsAlarmExpects: a period of the alarm holds one run; without a canary there is nothing of it.
func TestTheCanaryRunsAsOftenAsItsAlarmExpects(t *testing.T) {
	for _, minutes := range []int{15, 30, 60} {
		s := domain(t, "payments", "CanaryMinutes", fmt.Sprint(minutes))
		if got, want := s.resources["CanaryRule"].Properties["ScheduleExpression"], fmt.Sprintf("rate(%d minutes)", minutes); got != want {
			t.Errorf("every %d minutes: %v", minutes, got)
		}
		if period := s.resources["CanaryAlarm"].Properties["Period"]; period != float64(minutes*60) {
			t.Errorf("every %d minutes: the alarm's period is %v s", minutes, period)
		}
	}
	for what, s := range map[string]stack{"no minutes": domain(t, "payments", "CanaryMinutes", "0"), "no artifact": domain(t, "payments", "CanaryArtifactKey", "")} {
		for id := range s.resources {
			if strings.HasPrefix(id, "Canary") {
				t.Errorf("%s: there is a %s", what, id)
			}
		}
	}
}

func TestAlarmsAreOnMetricsThatThereAre(t *testing.T) {
	s := domain(t, "payments")
	own := []any{tree{"Name": "env", "Value": "prod"}, tree{"Name": "domain", "Value": "payments"}}
	got := map[string]string{}
	for id, alarm := range s.of("AWS::CloudWatch::Alarm") {
		p := alarm.Properties
		if p["Namespace"] != "SecretBroadcaster" || strings.HasSuffix(id, "NowAlarm") {
			continue
		}
		got[p["MetricName"].(string)] = id
		if diff := cmp.Diff(own, p["Dimensions"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
	for metric, alarm := range metrics() {
		if got[metric] != alarm {
			t.Errorf("%s has the alarm %q, want %q", metric, got[metric], alarm)
		}
		delete(got, metric)
	}
	if len(got) > 0 {
		t.Errorf("nothing writes what these alarms are on: %v", got)
	}
	shown := map[string]bool{}
	body := platform(t).resources["Dashboard"].Properties["DashboardBody"].(string)
	for _, match := range regexp.MustCompile(`MetricName="(\w+)"`).FindAllStringSubmatch(strings.ReplaceAll(body, `\"`, `"`), -1) {
		if _, is := metrics()[match[1]]; !is {
			t.Errorf("the dashboard shows %s, which nothing writes", match[1])
		}
		shown[match[1]] = true
	}
	for _, level := range []string{"Behind", "Paused", "OpenFanouts", "DeliveriesPending", "Failed"} { // what somebody has to see who is asked how it stands
		if !shown[level] {
			t.Errorf("the dashboard does not show %s", level)
		}
	}
}

// commands returns the lines of the bash blocks of all documents: those for an AWS account.
func commands(t testing.TB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."), entry.Name() == "node_modules":
			return fs.SkipDir
		case !strings.HasSuffix(path, ".md"):
			return nil
		}
		for _, block := range regexp.MustCompile("(?ms)^```bash\n(.*?)^```$").FindAllStringSubmatch(string(fileIn(t, root, path)), -1) {
			for line := range strings.Lines(block[1]) {
				if line = strings.TrimSpace(line); line != "" {
					all[line] = append(all[line], path)
				}
			}
		}
		return nil
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("finding commands: %d, %v", len(all), err)
	}
	return all
}

// TestTheAWSCLITakesEveryCommand: it reads each one and checks its parameters against AWS's models; where it would send something it
// is stopped. make deploy is run dry.
func TestTheAWSCLITakesEveryCommand(t *testing.T) {
	all := commands(t)
	documented := slices.Sorted(maps.Keys(all))
	wrong := []string{"aws sqs receive-massage", "aws sqs receive-message --max-messages 3", "aws dynamodb query --table-name 1 --limit many", "aws sqs receive-message"}
	type question struct {
		Arguments []string `json:"arguments"`
	}
	var asked []question
	var about []string
	for _, command := range append(documented, wrong...) {
		// The shell says what the arguments are: they have quotes and $(date) in them.
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", `aws() { printf '%s\0' "$@"; }; `+command)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "DRY_RUN=1", "MAKEFLAGS=", "ARTIFACT_KEY=artifacts/1.zip")
		out, err := cmd.CombinedOutput()
		switch {
		case err != nil:
			t.Errorf("%v: %s: %v\n%s", all[command], command, err, out)
		case strings.HasPrefix(command, "aws "):
			about = append(about, command)
			asked = append(asked, question{strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")})
		case !strings.HasPrefix(command, "make deploy"):
			t.Errorf("%v: %s is neither of the AWS CLI nor a deployment", all[command], command)
		}
	}
	type answer struct{ Call, Error string }
	program := exec.CommandContext(t.Context(), variable(t, "AWS_PYTHON"), "test/tools/infra/aws_commands.py")
	program.Dir = root // files that commands name are looked for
	program.Env = append(os.Environ(), "AWS_DEFAULT_REGION="+region, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "AWS_CONFIG_FILE=/dev/null", "AWS_PAGER=")
	calls := map[string]string{}
	for i, a := range ask[answer](t, program, asked) {
		calls[about[i]] = a.Call
		if isWrong := slices.Contains(wrong, about[i]); (a.Call == "") != isWrong {
			t.Errorf("%v: %s: the AWS CLI says %q %s", all[about[i]], about[i], a.Call, a.Error)
		}
	}
	firstCommandsAreAllowed(t, calls)
}

// firstCommandsAreAllowed: who is called at night may run what the runbook begins with.
func firstCommandsAreAllowed(t *testing.T, calls map[string]string) {
	t.Helper()
	var may []string
	for _, statement := range document(domain(t, "payments"), "OnCallPolicy").(tree)["Statement"].([]any) {
		switch actions := statement.(tree)["Action"].(type) {
		case string:
			may = append(may, actions)
		case []any:
			for _, action := range actions {
				may = append(may, action.(string))
			}
		}
	}
	services := map[string]string{"monitoring": "cloudwatch"} // what IAM calls otherwise than the endpoint
	for _, name := range runbooks(t) {
		_, rest, _ := strings.Cut(string(fileIn(t, root, "infra/runbooks/"+name)), "## First command\n\n```bash\n")
		block, _, _ := strings.Cut(rest, "```")
		for command := range strings.Lines(block) {
			service, call, _ := strings.Cut(calls[strings.TrimSpace(command)], ":")
			if other, is := services[service]; is {
				service = other
			}
			if !slices.Contains(may, service+":"+call) {
				t.Errorf("%s begins with %s:%s, which the policy for people on call does not allow", name, service, call)
			}
		}
	}
}

// TestRunbooksSearchForWhatIsLogged: each msg and outcome that a filter names is in the code.
func TestRunbooksSearchForWhatIsLogged(t *testing.T) {
	var code strings.Builder
	for _, dir := range []string{"cmd/broadcaster", "cmd/canary", "invalidation", "events"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("finding code: %v", err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				code.Write(fileIn(t, "", file))
			}
		}
	}
	found := 0
	for command, at := range commands(t) {
		for _, match := range regexp.MustCompile(`\$\.(msg|outcome|eventName) = "([^"]+)"`).FindAllStringSubmatch(command, -1) {
			found++
			if !strings.Contains(code.String(), `"`+match[2]+`"`) {
				t.Errorf("%v search for %s %q, which nothing logs", at, match[1], match[2])
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d searches were found", found)
	}
}

// TestTheTestsThatDocumentsNameAreThere: a threat's answer is shown by a test that runs.
func TestTheTestsThatDocumentsNameAreThere(t *testing.T) {
	var all strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".") && path != root):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			all.Write(fileIn(t, "", path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllStringSubmatch(string(fileIn(t, root, "docs/security.md")), -1)
	for _, name := range named {
		if !strings.Contains(all.String(), "\nfunc "+name[1]+"(t *testing.T)") {
			t.Errorf("docs/security.md names %s, which is no test", name[1])
		}
	}
	if len(named) < 20 {
		t.Errorf("docs/security.md names %d tests", len(named))
	}
	for _, row := range regexp.MustCompile(`(?m)^\| .* \|$`).FindAllString(strings.Split(strings.Split(string(fileIn(t, root, "docs/security.md")), "## Threats and answers")[1], "## ")[0], -1)[2:] {
		if !strings.Contains(row, "`Test") {
			t.Errorf("no test shows: %s", row)
		}
	}
}
