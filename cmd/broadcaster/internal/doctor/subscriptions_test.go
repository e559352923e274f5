package doctor_test

import (
	"slices"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/doctor"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// subscribe applies a manifest with one service.
func (d *domain) subscribe(function string) {
	d.Helper()
	text := []byte("apiVersion: secret-broadcaster/v1\nenv: prod\ndomain: payments\nowner: o\nservices:\n  - {name: payments-api, function: \"" + function + "\", secrets: [\"neon/*\"]}\n")
	d.must(d.store.Keep(d.Context(), text))
	d.hold(invalidation.Holding{Digest: subscribers.Digest(text), By: "arn:aws:iam::1:user/ci", Reason: "INC-4711", At: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)})
}

// hold has another manifest hold than does.
func (d *domain) hold(h invalidation.Holding) {
	d.Helper()
	held, err := d.store.Holding(d.Context())
	d.must(err)
	h.Sequence = held.Sequence
	d.must(d.store.Hold(d.Context(), h, nil))
}

// TestItIsSaidWhichManifestHolds.
func TestItIsSaidWhichManifestHolds(t *testing.T) {
	d := deployed(t)
	applied, err := d.store.Holding(t.Context())
	d.must(err)
	for _, c := range []struct {
		does func()
		want string
	}{
		{func() {}, "subscriptions, applied 2026-11-23T10:00:00Z by arn:aws:iam::1:user/ci: INC-4711"},
		{func() { d.hold(invalidation.Holding{Digest: applied.Digest, Packaged: true, At: time.Now()}) }, "subscriptions, packaged with the deployment"},
		{func() { d.hold(invalidation.Holding{}) }, "subscriptions, none told of"},
	} {
		c.does()
		if findings := d.findings(); !slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.OK && f.Check == c.want }) {
			t.Errorf("no finding is %q: %+v", c.want, findings)
		}
	}
}
