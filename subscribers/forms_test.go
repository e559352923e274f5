package subscribers_test

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// TestFormsAreThoseOfTheSchema: what has a form is taken, and what differs from it in a character is taken if it has it too.
func TestFormsAreThoseOfTheSchema(t *testing.T) {
	for name, form := range map[string]struct {
		expression string
		is         func(string) bool
	}{
		"place":    {subscribers.PlaceForm, subscribers.IsPlace},
		"service":  {subscribers.ServiceForm, subscribers.IsService},
		"function": {subscribers.FunctionForm, subscribers.IsFunction},
		"region":   {`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`, subscribers.IsRegion},
	} {
		t.Run(name, func(t *testing.T) {
			want := regexp.MustCompile(form.expression)
			rapid.Check(t, func(t *rapid.T) {
				text := rapid.StringMatching(form.expression).Draw(t, "text")
				at := rapid.IntRange(0, len(text)).Draw(t, "at")
				end := rapid.IntRange(at, min(at+1, len(text))).Draw(t, "end")
				other := rapid.SampledFrom([]string{"", "-", "--", ":", "$", "$LATEST", ".", "_", "A", "z", "7", " ", "\n", "é", "arn:"}).Draw(t, "other")
				for _, text := range []string{text, text[:at] + other + text[end:], text + text, ""} {
					if got := form.is(text); got != want.MatchString(text) {
						t.Fatalf("%q: %t", text, got)
					}
				}
			})
		})
	}
}
