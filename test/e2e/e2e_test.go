package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	hints "github.com/bank-platform/secret-broadcaster/invalidation/eventbridge"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// The secrets. Who uses ledger has no subscription: the log alone tells.
const (
	neon          = "/bank/prod/payments/neon/connection-string"
	ledger        = "/bank/prod/payments/ledger/connection-string"
	archiveNeon   = "/bank/prod/payments-archive/neon/connection-string"
	archiveLedger = "/bank/prod/payments-archive/ledger/connection-string"
)

// TestEndToEnd is one story: each step goes on where the one before ended.
func TestEndToEnd(t *testing.T) {
	w := newWorld(t)
	for _, step := range []struct {
		name string
		does func(*world)
	}{
		{"a hint begins the log", aHintBeginsTheLog},
		{"an update is served, acknowledged, recorded and measured", anUpdateIsFollowed},
		{"a rotation is served when it ends, and rolled back", aRotationIsFollowedAndRolledBack},
		{"an event is lost", anEventIsLost},
		{"pushes are paused and resumed", pushesArePausedAndResumed},
		{"a domain of a similar name is not touched", anotherDomainIsNotTouched},
		{"environments report what they use", environmentsReport},
		{"a deleted secret is not served, and a restored one is", aDeletionIsFollowedAndUndone},
		{"the canary is served what it changes", theCanaryIsServed},
		{"the schedule finds what was lost", theScheduleFindsWhatWasLost},
		{"the doctor names what is broken, and what mends it", theDoctorNamesWhatIsBroken},
		{"no value is anywhere", noValueIsAnywhere},
		{"a domain that was removed goes on", aRemovedDomainGoesOn},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.does(w.in(t)) }) {
			return
		}
	}
}

func aHintBeginsTheLog(w *world) {
	w.deployBroadcasters()
	w.deployServices()
	for _, name := range []string{neon, ledger, archiveNeon, archiveLedger} {
		_, err := w.vault.CreateSecret(w.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: as("app_a")})
		w.must(err)
	}
	hinter := hints.New(w.bus, "default")
	w.must(hinter.Hint(w.Context(), ledger))
	w.must(hinter.Hint(w.Context(), archiveLedger))
	w.appended(w.payments, ledger, wire.Moved, w.current(ledger))
	w.appended(w.archive, archiveLedger, wire.Moved, w.current(archiveLedger))

	w.wantServed(neon, "app_a", "payments-go", "payments-node")
	w.wantServed(ledger, "app_a", "payments-go")
	w.wantServed(archiveNeon, "app_a", "archive-go")
	until(w, "every service to report that it takes invalidations", func() bool {
		var who []string
		for _, d := range []domain{w.payments, w.archive} {
			all, err := d.reports.All(w.Context())
			w.must(err)
			for _, r := range all {
				if r.TakesInvalidations {
					who = append(who, r.Service)
				}
			}
		}
		return len(who) == len(w.services)
	})
}

func anUpdateIsFollowed(w *world) {
	version := w.put(neon, "app_b")
	revision := w.appended(w.payments, neon, wire.Moved, version)
	all := w.acknowledged(w.payments, revision)
	for _, d := range all {
		applied := slices.ContainsFunc(d.Ack.Secrets, func(s wire.SecretOutcome) bool {
			return s.Name == neon && s.VersionID == version && s.Outcome == wire.Applied && s.Verified
		})
		if !applied || d.Ack.Revision != revision || d.Ack.LogStream == "" {
			w.Errorf("%s's ack is %+v", d.Subscription, d.Ack)
		}
	}
	w.wantServed(neon, "app_b", "payments-go", "payments-node")

	causes := w.causes(w.payments, revision)
	if len(causes) != 1 || causes[0].DetailType != "Secret Label Updated" || causes[0].EventID == "" || causes[0].Received.IsZero() {
		w.Fatalf("recorded is %+v", causes)
	}
	event := causes[0].EventID
	want := []string{"a push was acknowledged " + all[0].Ack.LogStream, "a push was acknowledged " + all[1].Ack.LogStream, "appended ", "event "}
	slices.Sort(want)
	var got []string
	for _, line := range w.about(event, len(want)) {
		var is struct{ Msg, LogStream string }
		w.must(json.Unmarshal([]byte(line), &is))
		got = append(got, is.Msg+" "+is.LogStream)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.Errorf("event %s is told of by %q, want %q", event, got, want)
	}
	w.wantMeasured()
}

// wantMeasured: what was written for CloudWatch says what happened up to here.
func (w *world) wantMeasured() {
	w.Helper()
	values := map[string][]float64{}
	for _, line := range w.about(`"Namespace":"SecretBroadcaster"`, 2) {
		var document map[string]any
		w.must(json.Unmarshal([]byte(line), &document))
		if document["env"] != "prod" || document["domain"] != "payments" {
			w.Errorf("whose metrics are these? %s", line)
		}
		for name, value := range document {
			switch value := value.(type) {
			case float64:
				values[name] = append(values[name], value)
			case []any:
				for _, one := range value {
					values[name] = append(values[name], one.(float64))
				}
			}
		}
	}
	sum := func(name string) (is float64) {
		for _, value := range values[name] {
			is += value
		}
		return is
	}
	for name, want := range map[string]float64{"Appended": 2, "DeliveriesAcknowledged": 2, "DeliveriesFailed": 0, "Misrouted": 0, "Malformed": 0, "Unknown": 0, "Warnings": 0} {
		if got := sum(name); got != want || values[name] == nil {
			w.Errorf("%s is %v, want %v", name, values[name], want)
		}
	}
	if len(values["EventToAppend"]) != 2 || len(values["AppendToAck"]) != 2 {
		w.Errorf("times from event to append are %v, from append to ack %v, want 2 of each", values["EventToAppend"], values["AppendToAck"])
	}
}

// aRotationIsFollowedAndRolledBack: the emulator runs no rotation function, so the steps of one are taken here.
func aRotationIsFollowedAndRolledBack(w *world) {
	before := w.current(neon)
	pending, err := w.vault.PutSecretValue(w.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(neon), SecretString: as("app_c"), VersionStages: []string{"AWSPENDING"}})
	w.must(err)
	w.move(neon, before, *pending.VersionId)
	w.acknowledged(w.payments, w.appended(w.payments, neon, wire.Moved, *pending.VersionId)) // one row: AWSPENDING is nobody's business
	w.wantServed(neon, "app_c", "payments-go", "payments-node")

	w.move(neon, *pending.VersionId, before)
	w.acknowledged(w.payments, w.appended(w.payments, neon, wire.Moved, before))
	w.wantServed(neon, "app_b", "payments-go", "payments-node")
}

// anEventIsLost because its rule is off for a moment. The step that looks for it is the last but two.
func anEventIsLost(w *world) {
	rule := aws.String("prod-payments-secret-label")
	_, err := w.bus.DisableRule(w.Context(), &eventbridge.DisableRuleInput{Name: rule})
	w.must(err)
	w.put(ledger, "app_b")
	_, err = w.bus.EnableRule(w.Context(), &eventbridge.EnableRuleInput{Name: rule})
	w.must(err)
}

func pushesArePausedAndResumed(w *world) {
	order := func(name, reason string) {
		w.Helper()
		out, code := w.command(name, "--env", "prod", "--domain", "payments", "--reason", reason, "--json")
		var is struct {
			By string
			Is invalidation.Pause
		}
		if err := json.Unmarshal([]byte(out), &is); err != nil || code != 0 || is.Is.Reason != reason || !strings.Contains(is.By, account) {
			w.Fatalf("%s: exit code %d, %v\n%s", name, code, err, out)
		}
	}
	order("pause", "INC-4711: try it")
	revision := w.appended(w.payments, neon, wire.Moved, w.put(neon, "app_d"))
	until(w, "the deliveries to wait", func() bool {
		all, err := w.payments.Deliveries(w.Context(), revision)
		w.must(err)
		return len(all) == 2 && !slices.ContainsFunc(all, func(d invalidation.Delivery) bool {
			return d.Outcome != invalidation.Pending || d.Reason != invalidation.Paused
		})
	})
	until(w, "the log alone to tell", func() bool {
		native, _ := w.served("payments-go", neon)
		script, _ := w.served("payments-node", neon)
		return native == "app_d" && script == "app_d"
	})
	order("resume", "INC-4711: done")
	w.acknowledged(w.payments, revision)
	records, err := w.payments.Commands(w.Context())
	if err != nil || len(records) != 2 || records[0].Name != "pause" || records[1].Name != "resume" {
		w.Errorf("recorded are %+v, %v", records, err)
	}
}

// anotherDomainIsNotTouched: its own secrets are all that it hears of, although all before was of a domain of a similar name.
func anotherDomainIsNotTouched(w *world) {
	version := w.put(archiveNeon, "app_b")
	all := w.acknowledged(w.archive, w.appended(w.archive, archiveNeon, wire.Moved, version))
	if len(all) != 1 || all[0].Subscription != "archive-go" {
		w.Errorf("delivered to %+v", all)
	}
	w.wantServed(archiveNeon, "app_b", "archive-go")
	for _, d := range []domain{w.payments, w.archive} {
		for _, row := range w.rows(d) {
			for _, change := range row.Changes {
				if !strings.HasPrefix(change.Name, "/bank/prod/"+d.name+"/") {
					w.Errorf("%s's log tells of %s", d.name, change.Name)
				}
			}
		}
	}
}

// aDeletionIsFollowedAndUndone: both are told of by a trail, which the emulator has not.
func aDeletionIsFollowedAndUndone(w *world) {
	w.later(neon)
	_, err := w.vault.DeleteSecret(w.Context(), &secretsmanager.DeleteSecretInput{SecretId: aws.String(neon), RecoveryWindowInDays: aws.Int64(30)})
	w.must(err)
	w.trailTells("delete")
	w.acknowledged(w.payments, w.appended(w.payments, neon, wire.Deleted, ""))
	for _, by := range []string{"payments-go", "payments-node"} {
		if role, failure := w.served(by, neon); failure == "" || strings.Contains(failure, password) {
			w.Errorf("%s pays as %s with what was deleted; it says %s", by, role, failure)
		}
	}
	if lines := w.about(`"RecentlyReadDeleted":1`, 1); len(lines) != 1 { // which pages
		w.Errorf("it pages by %q", lines)
	}

	w.later(neon)
	_, err = w.vault.RestoreSecret(w.Context(), &secretsmanager.RestoreSecretInput{SecretId: aws.String(neon)})
	w.must(err)
	w.trailTells("restore")
	w.acknowledged(w.payments, w.appended(w.payments, neon, wire.Restored, w.current(neon)))
	w.wantServed(neon, "app_d", "payments-go", "payments-node")
}

// trailTells puts the event that a trail would send of a call, as package events' testdata has it.
func (w *world) trailTells(call string) {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(root, "events/testdata/api-call", call+".json"))
	w.must(err)
	var event struct {
		Source     string
		DetailType string `json:"detail-type"`
		Detail     json.RawMessage
	}
	w.must(json.Unmarshal(text, &event))
	out, err := w.bus.PutEvents(w.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		Source: &event.Source, DetailType: &event.DetailType, Detail: aws.String(string(event.Detail)),
	}}})
	w.must(err)
	if out.FailedEntryCount > 0 {
		w.Fatalf("the event of %s: %+v", call, out.Entries)
	}
}

// theCanaryIsServed: its schedule is of a quarter of an hour at least, so it is invoked as that would.
func theCanaryIsServed(w *world) {
	served := map[string]bool{}
	for range 3 { // the first run makes the second version, the others move AWSCURRENT between the two
		w.later("/bank/prod/payments/secret-broadcaster/canary")
		out, err := w.functions.Invoke(w.Context(), &lambda.InvokeInput{FunctionName: aws.String("prod-payments-canary"), Payload: []byte(`{"detail-type":"Scheduled Event"}`)})
		w.must(err)
		var ran struct{ Secret, VersionID string }
		if err := json.Unmarshal(out.Payload, &ran); err != nil || out.FunctionError != nil || ran.Secret != "/bank/prod/payments/secret-broadcaster/canary" {
			w.Fatalf("it answers %s", out.Payload)
		}
		w.appended(w.payments, ran.Secret, wire.Moved, ran.VersionID)
		served[ran.VersionID] = true
	}
	measured := slices.DeleteFunc(w.logged("canary"), func(line string) bool {
		return !strings.Contains(line, `"CanarySucceeded":1`) || !strings.Contains(line, `"ChangeToServed":`)
	})
	if len(served) != 2 || len(measured) != 3 {
		w.Errorf("it was served %v and measured %q", served, measured)
	}
}

// theScheduleFindsWhatWasLost: nothing else tells of it, since who uses it has it cached for longer than this test takes.
func theScheduleFindsWhatWasLost(w *world) {
	revision := w.appended(w.payments, ledger, wire.Moved, w.current(ledger))
	if causes := w.causes(w.payments, revision); len(causes) != 1 || !strings.HasPrefix(causes[0].EventID, "reconcile-") {
		w.Errorf("recorded is %+v", causes)
	}
	w.about("a change whose event never came", 1)
	w.about(`"MissedFound":1`, 1)
	until(w, "the log alone to tell", func() bool {
		role, _ := w.served("payments-go", ledger)
		return role == "app_b"
	})
}

func environmentsReport(w *world) {
	head, current := int64(len(w.rows(w.payments))), w.current(neon)
	until(w, "both services to report the newest revision, and that they use the current version", func() bool {
		w.wantServed(neon, "app_d", "payments-go", "payments-node") // a report is written beside an invocation
		all, err := w.payments.reports.All(w.Context())
		w.must(err)
		told := map[string]bool{}
		for _, r := range all {
			if r.Revision >= head && r.Mode == "on" && slices.ContainsFunc(r.Secrets, func(s wire.SecretOutcome) bool {
				return s.Name == neon && s.VersionID == current && s.Outcome == wire.Applied
			}) {
				told[r.Service] = true
			}
		}
		return told["payments-go"] && told["payments-node"]
	})
}

// noValueIsAnywhere: neither in what the broadcasters and the clients have stored nor in what was logged.
func noValueIsAnywhere(w *world) {
	for _, d := range []domain{w.payments, w.archive} {
		for _, table := range []string{"changes", "operations", "reports"} {
			items := w.items(d, table)
			if len(items) == 0 {
				w.Errorf("%s of %s is empty", table, d.name)
			}
			for _, item := range items {
				for _, text := range item {
					if strings.Contains(text, password) {
						w.Errorf("%s of %s has a value: %s", table, d.name, text)
					}
				}
			}
		}
	}
	for _, line := range append(w.logged("broadcaster"), w.logged("canary")...) {
		if strings.Contains(line, password) {
			w.Errorf("logged is a value: %s", line)
		}
	}
}
