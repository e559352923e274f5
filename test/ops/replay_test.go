package ops_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// update is go test's flag; it is set once, before any test runs.
var update = flag.Bool("update", false, "write golden files anew") //nolint:gochecknoglobals // a flag of the test binary

// on is a command about the domain of the world.
func on(args ...string) []string { return append(args, "--env", "prod", "--domain", "payments") }

// succeed runs a command that must, and returns what it prints.
func (w *world) succeed(args ...string) string {
	w.Helper()
	code, stdout, stderr := w.command(args...)
	if code != 0 || stderr != "" {
		w.Fatalf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

// wantText compares what a command prints with a golden text, of which what differs each time is left out.
func (w *world) wantText(name, got string) {
	w.Helper()
	for _, variable := range []struct{ pattern, to string }{
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, "TIME"},
		{`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`, "VERSION"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z`, "TIME"},
		{`[0-9a-f]{64}`, "HASH"},
		{`\d{8}T\d{6}Z`, "TIME"},
		{`arn:aws:iam::\d+:root`, "WHO"},
	} {
		got = regexp.MustCompile(variable.pattern).ReplaceAllString(got, variable.to)
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			w.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		w.Errorf("%s differs (-want +got); if this is meant, go test -update writes it\n%s", path, diff)
	}
}

// wantRecorded: each command that wrote, what it was about, and why.
func (w *world) wantRecorded(want ...string) {
	w.Helper()
	records, err := w.store.Commands(w.Context())
	var got []string
	for _, r := range records {
		got = append(got, regexp.MustCompile(`\d{4}-?\d\d-?\d\dT[0-9:]+Z`).ReplaceAllString(r.Name+" "+r.About+": "+r.Reason, "TIME"))
		if !strings.HasPrefix(r.By, "arn:aws:") || r.RequestID == "" {
			w.Errorf("record %+v", r)
		}
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		w.Errorf("%v, records (-want +got)\n%s", err, diff)
	}
}

// aLeakedSecretIsAnnouncedByHand: it is rotated, and no event comes; whoever is on call does not wait for the schedule.
func aLeakedSecretIsAnnouncedByHand(w *world) {
	before := w.begin()
	if _, err := w.secrets.PutSecretValue(secrets.PutSecretValueInput{SecretID: neon, SecretString: "value 1"}); err != nil {
		w.Fatal(err)
	}
	invalidate := func(more ...string) string {
		w.Helper()
		return w.succeed(on(append([]string{"invalidate", "neon/connection-string", "--reason", "INC-4711: it was in a log"}, more...)...)...)
	}
	w.wantText("invalidate-dry-run", invalidate("--dry-run"))
	if head, err := w.store.Row(w.Context(), 0); err != nil || head.Revision != 1 {
		w.Fatalf("after a dry run: revision %d, %v", head.Revision, err)
	}
	announced := invalidate()
	w.wantText("invalidate-moved", announced)
	_, next, _ := strings.Cut(announced, "next: broadcaster ")
	if code, stdout, stderr := w.command(strings.Fields(next)...); code != 0 { // it waits until every service has the new version
		w.Fatalf("%s: exit code %d\n%s%s", next, code, stdout, stderr)
	}
	if d := w.delivery(2); d.Outcome != invalidation.Acknowledged || d.Ack == nil || d.Ack.Revision != 2 {
		w.Errorf("delivered %+v", d)
	}
	if w.read() == before {
		w.Error("the consumer uses the leaked value")
	}
	w.wantText("invalidate-refresh", invalidate())
	w.wantText("invalidate-json", invalidate("--json"))
	if _, err := w.secrets.DeleteSecret(secrets.DeleteSecretInput{SecretID: neon}); err != nil {
		w.Fatal(err)
	}
	invalidate()
	w.wantText("invalidate-deleted", invalidate())
	code, stdout, stderr := w.command(on("invalidate", "neon/none", "--reason", "x")...)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "/bank/prod/payments/neon/none: secret not found") {
		w.Errorf("an unknown secret: exit code %d\n%s%s", code, stdout, stderr)
	}
	record := "invalidate " + neon + ": INC-4711: it was in a log"
	w.wantRecorded(record, record, record, record, record, "invalidate /bank/prod/payments/neon/none: x")
}

// fail has the consumer miss a revision for good, as after an hour of being throttled.
func (w *world) fail(change int, revision int64) {
	w.Helper()
	w.throttled.Store(true)
	defer w.throttled.Store(false)
	w.change(change)
	d := w.delivery(revision)
	if d.Outcome != invalidation.Pending || d.Reason != invalidation.Throttled {
		w.Fatalf("throttled: %+v", d)
	}
	d.Attempts, d.NotBefore = 11, time.Time{} // of 12
	if err := w.store.Record(w.Context(), []invalidation.Delivery{d}); err != nil {
		w.Fatal(err)
	}
	w.tick()
	if d := w.delivery(revision); d.Outcome != invalidation.Undelivered {
		w.Fatalf("throttled for long: %+v", d)
	}
}

func whatAThrottledConsumerMissed(w *world) {
	w.begin()
	w.change(1)
	w.fail(2, 3)
	w.fail(3, 4)
	replay := func(more ...string) string {
		w.Helper()
		return w.succeed(on(append([]string{"replay", "--reason", "INC-4711: payments-api is back"}, more...)...)...)
	}
	for _, others := range [][]string{{"--since", "1ms"}, {"--until", "1h"}, {"--revision", "2"}} {
		w.wantText("replay-nothing", replay(others...))
	}
	w.wantText("replay-dry-run", replay("--dry-run"))
	if d := w.delivery(3); d.Outcome != invalidation.Undelivered {
		w.Errorf("after a dry run: %+v", d)
	}
	w.throttled.Store(true)
	code, stdout, stderr := w.command(on("replay", "--reason", "too early", "--revision", "3")...)
	if code != 0 || stderr != "" {
		w.Errorf("too early: exit code %d\n%s", code, stderr)
	}
	w.throttled.Store(false)
	w.wantText("replay-too-early", stdout)
	if d := w.delivery(3); d.Outcome != invalidation.Pending || d.Attempts != 3 {
		w.Errorf("attempts do not begin anew: %+v", d)
	}
	w.wantText("replay", replay("--secret", "neon/connection-string", "--revision", "4"))
	w.wantText("replay-again", replay())
	if d := w.delivery(4); d.Outcome != invalidation.Acknowledged || d.Ack.Revision != 4 {
		w.Errorf("replayed: %+v", d)
	}
	w.wantRecorded("replay payments-api: 3: too early", "replay payments-api: 4: INC-4711: payments-api is back")
	w.until("what was replayed too early", func() bool {
		w.tick()
		return w.delivery(3).Outcome == invalidation.Acknowledged
	})
	if open, err := w.store.Open(w.Context()); err != nil || len(open) > 0 {
		w.Errorf("open: %+v, %v", open, err)
	}
}

func twoPeopleReplayAtOnce(w *world) {
	w.begin()
	for n := 1; n <= 3; n++ {
		w.fail(n, int64(n+1))
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			code, stdout, stderr := w.command(on("replay", "--reason", "INC-4711", "--json")...)
			var report struct {
				By         string
				Deliveries []struct{ Outcome, Left string }
			}
			if err := json.Unmarshal([]byte(stdout), &report); code != 0 || stderr != "" || err != nil {
				w.Errorf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
			}
		})
	}
	wg.Wait()
	for revision := int64(2); revision <= 4; revision++ {
		if d := w.delivery(revision); d.Outcome != invalidation.Acknowledged || d.Ack.Revision != 4 {
			w.Errorf("revision %d: %+v", revision, d)
		}
	}
	if open, err := w.store.Open(w.Context()); err != nil || len(open) > 0 {
		w.Errorf("open: %+v, %v", open, err)
	}
	if records, err := w.store.Commands(w.Context()); err != nil || len(records) == 0 || len(records) > 2 {
		w.Errorf("records %+v, %v", records, err) // one, if the other came when all was done
	}
}

func replaysThatCannotBeUnderstood(w *world) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no reason":                {on("replay"), 2, "broadcaster: say why, with --reason: it is recorded\n"},
		"from nowhere":             {on("replay", "--reason", "x", "--from", "s3"), 2, `broadcaster: --from must be store, dlq or archive, not "s3"` + "\n"},
		"a useless flag":           {on("replay", "--reason", "x", "--from", "dlq", "--secret", "neon/key"), 2, "broadcaster: --secret does not go with --from dlq\n"},
		"no queue":                 {on("replay", "--reason", "x", "--from", "dlq"), 1, "broadcaster: the broadcaster has no queue: BROADCASTER_QUEUE_URL is not set\n"},
		"no secret":                {on("invalidate", "--reason", "x"), 2, "broadcaster: broadcaster invalidate takes one secret: its name, what follows /bank/{env}/{domain}/, or its ARN\n"},
		"nowhere":                  {[]string{"invalidate", "neon/key", "--reason", "x"}, 2, "broadcaster: name the broadcaster with --env and --domain\n"},
		"another account's secret": {on("invalidate", "arn:aws:secretsmanager:eu-west-2:444455556666:secret:/bank/prod/payments/neon/key", "--reason", "x"), 1, "broadcaster: the broadcaster refuses or fails: the secret is of another domain, account or Region\n"},
	} {
		code, stdout, stderr := w.command(c.args...)
		if code != c.code || stdout != "" || stderr != c.want {
			w.Errorf("%s: exit code %d, stdout %q, stderr %q", name, code, stdout, stderr)
		}
	}
	w.wantRecorded()
}
