package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// appliedManifest takes the push away from payments-api and gives payments-batch one.
func appliedManifest() string {
	return strings.NewReplacer(`deliver: pull`, `deliver: push, function: payments-api`, `secrets: ["**"]`, `secrets: ["**"], deliver: pull`).Replace(packagedManifest)
}

// apply sends the order to apply a manifest in the place of another.
func (l *lab) apply(manifest, replaces string, dry bool) (applyAnswer, error) {
	l.Helper()
	return give[applyAnswer](l, "apply", dry, application{Replaces: subscribers.Digest([]byte(replaces)), Manifest: manifest})
}

// outcomesOf says how the deliveries of a revision ended.
func (l *lab) outcomesOf(revision int64) []string {
	l.Helper()
	all, _ := l.deliveries(l.T, revision)
	var lines []string
	for _, d := range all {
		lines = append(lines, strings.TrimSpace(d.Subscription+" "+string(d.Outcome)+" "+string(d.Reason)))
	}
	slices.Sort(lines)
	return lines
}

// TestApply: the manifest that came with the deployment is in the store once the process has begun; what is applied is what
// the next change is delivered by, in this process and in one that was deployed before.
func TestApply(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(tick))
		h, err := l.store().Holding(t.Context())
		text, problem := l.store().Manifest(t.Context(), h.Digest)
		if err != nil || problem != nil || !h.Packaged || string(text) != packagedManifest {
			t.Fatalf("packaged: %+v, %v, %v", h, err, problem)
		}
		a, err := l.apply(appliedManifest(), packagedManifest, true)
		if err != nil || !a.DryRun || a.Was.Digest != h.Digest || a.Is.Reason != "INC-4711" || a.Is.By != oncall {
			t.Errorf("dry run: %+v, %v", a, err)
		}
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		if got := l.outcomesOf(2); !slices.Equal(got, []string{"payments-api acknowledged", "payments-batch skipped pull"}) {
			t.Errorf("before the apply: %v", got)
		}
		a, err = l.apply(appliedManifest(), packagedManifest, false)
		if err != nil || a.DryRun || a.Is.Digest != subscribers.Digest([]byte(appliedManifest())) || a.Is.Previous != h.Digest {
			t.Errorf("apply: %+v, %v", a, err)
		}
		if again, err := l.apply(appliedManifest(), packagedManifest, false); err != nil || again.Is != again.Was || again.Is.At != a.Is.At {
			t.Errorf("apply again: %+v, %v", again, err)
		}
		l.restart() // deployed with what was packaged before
		l.report(t, wire.Report{
			Schema: wire.Schema, Service: "payments-batch", Function: functionARN, Version: "7", Environment: "environment-2",
			TakesInvalidations: true, Started: time.Now(),
		})
		l.receive(messages(moved(neon, l.put(t, neon, "two"))))
		if got := l.outcomesOf(3); !slices.Equal(got, []string{"payments-api skipped pull", "payments-batch acknowledged"}) {
			t.Errorf("after the apply: %v", got)
		}
		records, err := l.store().Commands(t.Context())
		if err != nil || len(records) != 1 || records[0].By != oncall || records[0].About != a.Is.Digest {
			t.Errorf("records %+v, %v", records, err)
		}
	})
}

// TestAnApplyThatIsRefusedChangesNothing.
func TestAnApplyThatIsRefusedChangesNothing(t *testing.T) {
	for name, c := range map[string]struct{ manifest, replaces, want string }{
		"planned against another manifest": {appliedManifest(), "another", "the subscriptions have moved on: a deployment brought another manifest: plan again"},
		"another domain's":                 {strings.Replace(packagedManifest, "domain: payments", "domain: kyc", 1), packagedManifest, "manifest:3:9: domain: must be payments: this broadcaster serves no other"},
		"no manifest":                      {"", packagedManifest, "manifest:1:1: the file is empty: a manifest begins with apiVersion: secret-broadcaster/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				if _, err := l.apply(c.manifest, c.replaces, false); err == nil || err.Error() != c.want {
					t.Errorf("got %v, want %s", err, c.want)
				}
				h, err := l.store().Holding(t.Context())
				if records, problem := l.store().Commands(t.Context()); err != nil || problem != nil || !h.Packaged && h != (invalidation.Holding{}) || len(records) > 0 {
					t.Errorf("holding %+v, records %+v, %v, %v", h, records, err, problem)
				}
			})
		})
	}
}
