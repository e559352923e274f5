package events_test

import (
	"testing"

	"github.com/bank-platform/secret-broadcaster/events"
)

func TestASecretThatSomebodyNames(t *testing.T) {
	const neon, arn = "/bank/prod/payments/neon/key", "arn:aws:secretsmanager:eu-west-2:111122223333:secret:"
	for name, c := range map[string]struct {
		id, want, problem string
	}{
		"a name":                       {neon, neon, ""},
		"a name that ends like an ARN": {neon + "-a1B2c3", neon + "-a1B2c3", ""},
		"an ARN":                       {arn + neon + "-a1B2c3", "", ""},
		"an ARN without its suffix":    {arn + neon, "", ""},
		"nothing":                      {"", "", "the secret must identify the secret"},
		"outside":                      {"mySecret", "", "the secret's name is outside /bank/{env}/{domain}/{service}/{name}"},
		"a wildcard":                   {"/bank/prod/payments/neon/*", "", "the secret must have only characters that a secret's name may have, at most 512"},
		"another ARN":                  {"arn:aws:ssm:eu-west-2:111122223333:parameter/x", "", "the secret must be the ARN of a secret"},
	} {
		s, err := events.Named(c.id)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.problem {
			t.Errorf("%s: %q, want %q", name, got, c.problem)
		}
		if err != nil {
			continue
		}
		if s.Kind != events.Check || s.Env != "prod" || s.Domain != "payments" || s.Name != c.want || (s.Name == "") != (s.ARN == c.id) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
