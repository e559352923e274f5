package secrets_test

import (
	"errors"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

func TestLaggedReadSeesThePast(t *testing.T) {
	c := newClock()
	var lag time.Duration
	var asked []secrets.Read
	m := secrets.New(secrets.Config{Now: c.Now, Lag: func(r secrets.Read) time.Duration {
		asked = append(asked, r)
		return lag
	}})
	value := func(in secrets.GetSecretValueInput) string {
		in.SecretID = name
		out, err := m.GetSecretValue(in)
		if err != nil {
			var code secrets.Code
			errors.As(err, &code)
			return string(code)
		}
		return out.SecretString
	}
	first := create(m, "v1")
	c.advance(time.Minute)
	second := put(m, "v2")
	c.advance(time.Minute)
	must(m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name}))
	c.advance(time.Minute)
	must(m.RestoreSecret(name))

	for _, step := range []struct {
		lag              time.Duration
		byLabel, byFirst string
		bySecond         string
		listed           int
	}{
		{0, "v2", "v1", "v2", 1},
		{-time.Hour, "v2", "v1", "v2", 1},
		{time.Nanosecond, "InvalidRequestException", "InvalidRequestException", "InvalidRequestException", 0},
		{time.Minute, "InvalidRequestException", "InvalidRequestException", "InvalidRequestException", 0},
		{time.Minute + time.Nanosecond, "v2", "v1", "v2", 1},
		{2*time.Minute + time.Nanosecond, "v1", "v1", "ResourceNotFoundException", 1},
		{3 * time.Minute, "v1", "v1", "ResourceNotFoundException", 1},
		{3*time.Minute + time.Nanosecond, "ResourceNotFoundException", "ResourceNotFoundException", "ResourceNotFoundException", 0},
	} {
		lag = step.lag
		equal(t, value(secrets.GetSecretValueInput{}), step.byLabel)
		equal(t, value(secrets.GetSecretValueInput{VersionID: first}), step.byFirst)
		equal(t, value(secrets.GetSecretValueInput{VersionID: second}), step.bySecond)
		equal(t, len(must(m.ListSecrets(secrets.ListSecretsInput{})).Secrets), step.listed)
	}
	equal(t, asked[:4], []secrets.Read{{Kind: secrets.Label, Name: name}, {Kind: secrets.Version, Name: name}, {Kind: secrets.Version, Name: name}, {Kind: secrets.List}})
}

func TestReadByARNNamesTheSecretToLag(t *testing.T) {
	var asked []secrets.Read
	m := secrets.New(secrets.Config{Lag: func(r secrets.Read) time.Duration { asked = append(asked, r); return 0 }})
	arn := must(m.CreateSecret(secrets.CreateSecretInput{Name: name})).ARN
	for _, id := range []string{name, arn, arn[:len(arn)-7]} {
		must(m.DescribeSecret(id))
	}
	want := secrets.Read{Kind: secrets.Describe, Name: name}
	equal(t, asked, []secrets.Read{want, want, want})
}

func TestLagSeesASecretThatWasDeletedByForce(t *testing.T) {
	c := newClock()
	lag := time.Duration(0)
	m := secrets.New(secrets.Config{Now: c.Now, Lag: func(secrets.Read) time.Duration { return lag }})
	create(m, "old")
	oldARN := must(m.DescribeSecret(name)).ARN
	c.advance(time.Minute)
	must(m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name, ForceDeleteWithoutRecovery: true}))
	c.advance(time.Minute)
	create(m, "new")
	newARN := must(m.DescribeSecret(name)).ARN

	read := func(id string) string {
		out, err := m.GetSecretValue(secrets.GetSecretValueInput{SecretID: id})
		if errors.Is(err, secrets.ResourceNotFound) {
			return "none"
		}
		return must(out, err).SecretString
	}
	for _, step := range []struct {
		lag                    time.Duration
		byName, byOld, byFresh string
	}{
		{0, "new", "none", "new"},
		{time.Second, "none", "none", "none"},
		{2 * time.Minute, "old", "old", "none"},
	} {
		lag = step.lag
		equal(t, []string{read(name), read(oldARN), read(newARN)}, []string{step.byName, step.byOld, step.byFresh})
	}
}

func TestPruneKeepsWhatLaterReadsCanSee(t *testing.T) {
	c := newClock()
	lag := time.Duration(0)
	m := secrets.New(secrets.Config{Now: c.Now, Lag: func(secrets.Read) time.Duration { return lag }})
	create(m, "v1")
	oldARN := must(m.DescribeSecret(name)).ARN
	c.advance(time.Minute)
	must(m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name, ForceDeleteWithoutRecovery: true}))
	c.advance(time.Minute)
	create(m, "v2")
	c.advance(time.Minute)
	put(m, "v3")
	c.advance(time.Minute)

	m.Prune(c.Now().Add(-90 * time.Second))
	for behind, want := range map[time.Duration]string{0: "v3", 30 * time.Second: "v3", 90 * time.Second: "v2"} {
		lag = behind
		equal(t, must(m.GetSecretValue(secrets.GetSecretValueInput{SecretID: name})).SecretString, want)
	}
	lag = 3*time.Minute + time.Second
	if _, err := m.GetSecretValue(secrets.GetSecretValueInput{SecretID: oldARN}); !errors.Is(err, secrets.ResourceNotFound) {
		t.Errorf("pruned, but answers %v", err)
	}
}

func TestScheduledDeletionIsCarriedOutAfterItsWindow(t *testing.T) {
	c := newClock()
	m := secrets.New(secrets.Config{Now: c.Now})
	create(m, "v1")
	arn := must(m.DescribeSecret(name)).ARN
	out := must(m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name, RecoveryWindowInDays: 7}))
	equal(t, out.DeletionDate, c.Now().Add(time.Millisecond).AddDate(0, 0, 7))
	equal(t, must(m.DescribeSecret(name)).DeletedDate, c.Now().Add(time.Millisecond))
	c.advance(7 * 24 * time.Hour)
	must(m.DescribeSecret(name))
	c.advance(time.Millisecond)
	if _, err := m.DescribeSecret(name); !errors.Is(err, secrets.ResourceNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := m.RestoreSecret(name); !errors.Is(err, secrets.ResourceNotFound) {
		t.Errorf("got %v", err)
	}
	create(m, "v2")
	if again := must(m.DescribeSecret(name)).ARN; again == arn {
		t.Errorf("the ARN is again %s", again)
	}
}

func TestLastChangedDateNeverStandsStill(t *testing.T) {
	c := newClock()
	m := secrets.New(secrets.Config{Now: c.Now})
	create(m, "v1")
	at := func() time.Time { return must(m.DescribeSecret(name)).LastChangedDate }
	start := c.Now()
	equal(t, at(), start)
	put(m, "v2") // the same millisecond
	equal(t, at(), start.Add(time.Millisecond))
	c.advance(5*time.Millisecond + 999*time.Microsecond)
	put(m, "v3") // milliseconds only
	equal(t, at(), start.Add(5*time.Millisecond))
	c.advance(-time.Hour) // a clock that is set back
	put(m, "v4")
	equal(t, at(), start.Add(6*time.Millisecond))
	must(m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name, ForceDeleteWithoutRecovery: true}))
	create(m, "v5") // another secret of that name
	equal(t, at(), start.Add(8*time.Millisecond))
}

func TestConstantSuffixStillGivesANewARN(t *testing.T) {
	m := secrets.New(secrets.Config{Account: "999988887777", Region: "eu-central-1", Suffix: func() string { return "abcdef" }})
	first := must(m.CreateSecret(secrets.CreateSecretInput{Name: name})).ARN
	equal(t, first, "arn:aws:secretsmanager:eu-central-1:999988887777:secret:"+name+"-abcdef")
	must(m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name, ForceDeleteWithoutRecovery: true}))
	second := must(m.CreateSecret(secrets.CreateSecretInput{Name: name})).ARN
	if second == first || len(second) != len(first) {
		t.Errorf("got %s after %s", second, first)
	}
}

// TestExactARNWins has a secret whose full ARN is another's ARN without suffix.
func TestExactARNWins(t *testing.T) {
	m := secrets.New(secrets.Config{Suffix: func() string { return "abcdef" }})
	short := must(m.CreateSecret(secrets.CreateSecretInput{Name: "a", SecretString: "short"})).ARN
	must(m.CreateSecret(secrets.CreateSecretInput{Name: "a-abcdef", SecretString: "long"}))
	read := func(id string) string {
		return must(m.GetSecretValue(secrets.GetSecretValueInput{SecretID: id})).SecretString
	}
	equal(t, read(short), "short")
	equal(t, read("a-abcdef"), "long")
	must(m.DeleteSecret(secrets.DeleteSecretInput{SecretID: "a", ForceDeleteWithoutRecovery: true}))
	equal(t, read(short), "long") // now it is only the other's, without suffix
}

func TestClockThatIsSetBackDoesNotReorderThePast(t *testing.T) {
	c := newClock()
	lag := time.Duration(0)
	m := secrets.New(secrets.Config{Now: c.Now, Lag: func(secrets.Read) time.Duration { return lag }})
	create(m, "v1")
	c.advance(time.Minute)
	put(m, "v2")
	c.advance(-30 * time.Second)
	put(m, "v3")
	c.advance(time.Minute)
	for behind, want := range map[time.Duration]string{0: "v3", 20 * time.Second: "v3", 40 * time.Second: "v1"} {
		lag = behind
		equal(t, must(m.GetSecretValue(secrets.GetSecretValueInput{SecretID: name})).SecretString, want)
	}
}
