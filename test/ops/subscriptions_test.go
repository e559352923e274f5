package ops_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const mail = "payments-mail"

// withMail is the world's manifest with another service.
func withMail() string {
	return manifest + "  - name: payments-mail\n    function: payments-mail\n    secrets: [\"neon/*\"]\n"
}

// beginWithMail has the secret read by both functions, of which one is subscribed.
func (w *world) beginWithMail() {
	w.Helper()
	w.begin()
	w.deployConsumer(mail)
	w.readIn(mail)
	w.until("the other consumer's report", func() bool {
		all, err := w.reports.All(w.Context())
		return err == nil && len(all) == 2
	})
}

// file writes a manifest.
func (w *world) file(name, text string) string {
	w.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// succeeds runs a command of subscriptions that must end well, and returns what it prints.
func (w *world) succeeds(args ...string) string {
	w.Helper()
	return w.succeed(append([]string{"subscriptions"}, args...)...)
}

// fails runs a command of subscriptions that must fail, and say why.
func (w *world) fails(want string, args ...string) (stdout string) {
	w.Helper()
	code, stdout, stderr := w.command(append([]string{"subscriptions"}, args...)...)
	if code != 1 || !strings.Contains(stderr, want) {
		w.Errorf("%v: exit code %d, want %q\n%s%s", args, code, want, stdout, stderr)
	}
	return stdout
}

// subscriptionsAreApplied: planned, applied, and the next change goes by them, without a deployment.
func subscriptionsAreApplied(w *world) {
	t := w.T
	w.beginWithMail()
	w.change(1)
	if got := w.outcomes(2); got != "payments-api acknowledged" {
		t.Errorf("before: %s", got)
	}
	path := w.file("prod/payments.yaml", withMail())
	w.who = w.account // in which functions are meant that have a name only
	w.succeeds("validate", path, "--aws")
	w.who = oncallAccount
	plan := filepath.Join(w.dir, "plan.json")
	w.shows("plan", w.succeeds("plan", path, "--out", plan))

	var dry struct{ Was, Is invalidation.Holding }
	if err := json.Unmarshal([]byte(w.succeeds("apply", path, "--reason", "try it", "--dry-run", "--json")), &dry); err != nil || !dry.Was.Packaged || dry.Is.Reason != "try it" {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	if h, err := w.store.Holding(t.Context()); err != nil || h.Digest != dry.Was.Digest {
		t.Errorf("after a dry run: %+v, %v", h, err)
	}
	w.shows("apply", w.succeeds("apply", "--plan", plan, "--reason", "PAY-12: mails name the account"))
	w.change(2)
	if got := w.outcomes(3); got != "payments-api acknowledged, payments-mail acknowledged" {
		t.Errorf("after: %s", got)
	}
	if out := w.succeeds("apply", "--plan", plan, "--reason", "again"); !strings.HasPrefix(out, "nothing to do: prod/payments holds manifest "+dry.Is.Digest[:12]+"\n") {
		t.Errorf("apply again says\n%s", out)
	}
	w.shows("list", w.succeeds("list", "--env", "prod", "--domain", "payments"))
	w.shows("show", w.succeeds("show", mail, "--env", "prod", "--domain", "payments"))
	var shows struct {
		Known         bool
		Subscriptions []struct {
			Name, Pattern string
			Functions     []invalidation.Target
		}
	}
	if err := json.Unmarshal([]byte(w.succeeds("show", neon, "--env", "prod", "--domain", "payments", "--json")), &shows); err != nil {
		t.Fatal(err)
	}
	if s := shows.Subscriptions; !shows.Known || len(s) != 2 || s[0].Pattern != "**" || s[1].Name != mail || len(s[1].Functions) != 1 || !s[1].Functions[0].Pushed {
		t.Errorf("show says %+v", shows)
	}
	w.until("both to report what they hold", func() bool { // at most once in ten seconds
		w.readIn(consumer)
		w.readIn(mail)
		code, _, _ := w.command("subscriptions", "drift", "--env", "prod", "--domain", "payments")
		return code == 0
	})
	w.succeeds("apply", w.file("before.yaml", manifest), "--reason", "INC-4711: back")
	w.shows("drift", w.fails("the manifest differs from what is reported (not subscribed: 1, not used: 0)", "drift", "--env", "prod", "--domain", "payments"))
	records, err := w.store.Commands(t.Context())
	if err != nil || len(records) != 2 || records[0].About != dry.Is.Digest || !strings.Contains(records[0].By, oncallAccount) || records[0].Reason != "PAY-12: mails name the account" {
		t.Errorf("records %+v, %v", records, err)
	}
}

// outcomes are those of a revision's deliveries.
func (w *world) outcomes(revision int64) string {
	w.Helper()
	all, err := w.store.Deliveries(w.Context(), revision)
	if err != nil {
		w.Fatal(err)
	}
	var lines []string
	for _, d := range all {
		lines = append(lines, d.Subscription+" "+string(d.Outcome))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// appliesThatWouldLoseAnothers are refused: what another applied, or a file that is not what was planned.
func appliesThatWouldLoseAnothers(w *world) {
	t := w.T
	w.beginWithMail()
	path, plan := w.file("new.yaml", withMail()), filepath.Join(w.dir, "plan.json")
	w.succeeds("plan", path, "--out", plan)
	w.file("new.yaml", withMail()+"onDelete: ttl\n")
	w.fails(path+": the file is not what was planned any more: plan again", "apply", "--plan", plan, "--reason", "x")
	w.file("new.yaml", withMail())

	others := w.file("others.yaml", strings.Replace(manifest, `"**"`, `"stripe/*"`, 1))
	w.succeeds("apply", others, "--reason", "PAY-13: another's")
	w.fails("the broadcaster refuses or fails: the subscriptions have moved on: arn:aws:", "apply", "--plan", plan, "--reason", "x")
	w.fails(" another manifest at ", "apply", "--plan", plan, "--reason", "x")
	w.fails("this is no plan of this version", "apply", "--plan", path, "--reason", "x")

	plans := []string{filepath.Join(w.dir, "a.json"), filepath.Join(w.dir, "b.json")}
	w.succeeds("plan", path, "--out", plans[0])
	w.succeeds("plan", w.file("b.yaml", manifest), "--out", plans[1])
	codes := make([]int, len(plans))
	var wg sync.WaitGroup
	for i, plan := range plans {
		wg.Go(func() { codes[i], _, _ = w.command("subscriptions", "apply", "--plan", plan, "--reason", "at once") })
	}
	wg.Wait()
	slices.Sort(codes)
	records, err := w.store.Commands(t.Context())
	if !slices.Equal(codes, []int{0, 1}) || err != nil || len(records) != 2 {
		t.Errorf("of two at once: exit codes %v, %d records, %v", codes, len(records), err)
	}

	h, err := w.store.Holding(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.lose("subscriptions#" + h.Digest)
	w.fails("manifest "+h.Digest+" is not kept as it was written: apply it again", "list", "--env", "prod", "--domain", "payments")
	if out := w.succeeds("apply", path, "--reason", "what held is lost"); !strings.Contains(out, "problem: what holds cannot be read, so all of the file seems to be new: ") {
		t.Errorf("apply says\n%s", out)
	}
	w.succeeds("list", "--env", "prod", "--domain", "payments")

	wrong := w.file("wrong.yaml", strings.Replace(manifest, "function: payments-api", "function: payments-apo", 1))
	out := w.fails("manifests are wrong (problems: 1)", "validate", wrong, "--aws", "--annotations", "github")
	if want := "::error file=" + wrong + ",line=7,col=15::services[0].function: there is no such function, or no such alias of it, in this account and Region\n"; out != want {
		t.Errorf("validate says %q, want %q", out, want)
	}
	w.fails("no service of this name is subscribed in prod/payments", "show", "payments-none", "--env", "prod", "--domain", "payments")
}

// lose takes the first item of a partition of the operations table away.
func (w *world) lose(partition string) {
	w.Helper()
	key := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: partition}, "sk": &types.AttributeValueMemberS{Value: "0000"}}
	if _, err := w.client.DeleteItem(w.Context(), &awsdynamodb.DeleteItemInput{TableName: aws.String(operationsTable), Key: key}); err != nil {
		w.Fatal(err)
	}
}

// tenThousandSubscriptions are planned, applied and listed like few: what it costs is written to the test's log.
func tenThousandSubscriptions(w *world) {
	t := w.T
	w.begin()
	text := strings.Builder{}
	text.WriteString(manifest)
	const services = 10_000
	for i := range services {
		fmt.Fprintf(&text, "  - name: payments-service-%d\n    function: payments-service-%d:live\n    secrets: [\"service-%d/*\", \"neon/key-%d\"]\n    deliver: pull\n", i, i, i, i)
	}
	path, plan := w.file("many.yaml", text.String()), filepath.Join(w.dir, "plan.json")
	for _, args := range [][]string{
		{"validate", path},
		{"plan", path, "--out", plan},
		{"apply", "--plan", plan, "--reason", "many"},
		{"list", "--env", "prod", "--domain", "payments"},
		{"drift", "--env", "prod", "--domain", "payments", "--json"},
	} {
		cmd := exec.CommandContext(t.Context(), w.program, append([]string{"subscriptions"}, args...)...)
		cmd.Env = w.oncall()
		began := time.Now()
		out, err := cmd.Output()
		// 10,000 and, until its next report names the secret, the consumer
		if failed := new(exec.ExitError); err != nil && (args[0] != "drift" || !errors.As(err, &failed) || !strings.Contains(string(failed.Stderr), "not used: 1000")) {
			t.Fatalf("%s: %v\n%.500s", args[0], err, out)
		}
		usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		t.Logf("%s of %d services, %d KB: %v, %d MB", args[0], services, text.Len()>>10, time.Since(began).Round(10*time.Millisecond), usage.Maxrss>>10)
		if usage.Maxrss>>10 > 512 {
			t.Errorf("%s takes %d MB", args[0], usage.Maxrss>>10)
		}
	}
	began := time.Now()
	w.change(1)
	t.Logf("the next change, whose delivery reads it: %v", time.Since(began).Round(time.Millisecond))
	if got := w.outcomes(2); got != "payments-api acknowledged" {
		t.Errorf("the next change: %s", got)
	}
}

// shows holds docs/subscriptions.md to what a command prints: the block that begins with the command. Times, digests
// and who it was are of the run.
func (w *world) shows(command, printed string) {
	w.Helper()
	document, err := os.ReadFile("../../docs/subscriptions.md")
	if err != nil {
		w.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```text\n\\$ broadcaster subscriptions " + command + " [^\n]*\n(.*?)^```$").FindSubmatch(document)
	if block == nil {
		w.Errorf("no block shows subscriptions %s, which prints\n%s", command, printed)
		return
	}
	ofTheRun := regexp.MustCompile(`\d{4}-\d{2}-\d{2}T[0-9:]+Z|, [0-9a-z.]+ ago|arn:aws:\S+|manifest [0-9a-f]{12}|, \S+/payments.yaml`)
	if diff := cmp.Diff(ofTheRun.ReplaceAllString(string(block[1]), "…"), ofTheRun.ReplaceAllString(printed, "…")); diff != "" {
		w.Errorf("subscriptions %s (-documented +printed)\n%s\nprinted:\n%s", command, diff, printed)
	}
}
