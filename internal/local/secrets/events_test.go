package secrets_test

import (
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

func TestLabelMovesAreTold(t *testing.T) {
	c := newClock()
	var got []secrets.LabelUpdated
	var m *secrets.Manager
	m = secrets.New(secrets.Config{Now: c.Now, OnLabel: func(e secrets.LabelUpdated) {
		// The change is visible, and no lock is held.
		equal(t, must(m.DescribeSecret(e.ARN)).LastChangedDate, e.Time)
		got = append(got, e)
	}})
	labels := func() []string {
		out := []string{}
		for _, e := range got {
			out = append(out, e.Label+" "+e.VersionID)
		}
		got = nil
		return out
	}
	first := create(m, "v1")
	equal(t, labels(), []string{}) // creation is not documented to send one
	c.advance(time.Second)
	second := put(m, "v2")
	equal(t, got, []secrets.LabelUpdated{{
		ARN: must(m.DescribeSecret(name)).ARN, Name: name, Label: secrets.Current, VersionID: second, Time: c.Now(),
	}})
	labels()
	third := put(m, "v3", secrets.Pending)
	equal(t, labels(), []string{})
	equal(t, move(m, secrets.Current, third, second), nil)
	equal(t, labels(), []string{"AWSCURRENT " + third})
	equal(t, move(m, secrets.Pending, "", third), nil)
	equal(t, labels(), []string{})
	equal(t, move(m, secrets.Current, second, third), nil) // a rollback
	equal(t, labels(), []string{"AWSCURRENT " + second})
	equal(t, move(m, secrets.Current, second, second), nil) // no move
	equal(t, labels(), []string{})
	equal(t, move(m, "GREEN", first, ""), nil)
	equal(t, labels(), []string{"GREEN " + first})
	fourth := put(m, "v4", secrets.Current, "GREEN")
	equal(t, labels(), []string{"AWSCURRENT " + fourth, "GREEN " + fourth})
	equal(t, move(m, "GREEN", "", fourth), nil)
	equal(t, labels(), []string{})
	must(m.UpdateSecret(secrets.UpdateSecretInput{SecretID: name, Description: new(string)}))
	must(m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name}))
	must(m.RestoreSecret(name))
	equal(t, labels(), []string{})
	updated := must(m.UpdateSecret(secrets.UpdateSecretInput{SecretID: name, SecretString: "v5"})).VersionID
	equal(t, labels(), []string{"AWSCURRENT " + updated})
	if err := move(m, secrets.Current, first, first); err == nil {
		t.Error("a wrong move was accepted")
	}
	equal(t, labels(), []string{})
}

func TestFirstValueOfAnEmptySecretIsTold(t *testing.T) {
	var got []string
	m := secrets.New(secrets.Config{OnLabel: func(e secrets.LabelUpdated) { got = append(got, e.Label) }})
	must(m.CreateSecret(secrets.CreateSecretInput{Name: name}))
	put(m, "v1")
	equal(t, got, []string{secrets.Current})
}
