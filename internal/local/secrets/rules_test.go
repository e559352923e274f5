package secrets_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

// machine draws operations on two secrets and checks the label rules after
// each; it writes down every state that there was.
type machine struct {
	*rapid.T
	clock   *clock
	lag     time.Duration
	manager *secrets.Manager
	seen    map[string][]snapshot
	puts    map[string]map[string]string // version id to value, per ARN
	told    []secrets.LabelUpdated
}

// snapshot is a description, or nothing, as it was from a time on.
type snapshot struct {
	since time.Time
	state *secrets.DescribeSecretOutput
}

func TestLabelRulesHoldAfterAnyHistory(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := &machine{T: r, clock: newClock(), seen: map[string][]snapshot{}, puts: map[string]map[string]string{}}
		ids := 0
		m.manager = secrets.New(secrets.Config{
			Now: m.clock.Now,
			Lag: func(secrets.Read) time.Duration { return m.lag },
			OnLabel: func(e secrets.LabelUpdated) {
				m.told = append(m.told, e)
			},
			VersionID: func() string { ids++; return fmt.Sprintf("version-%d", ids) },
		})
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			m.clock.advance(time.Duration(rapid.IntRange(0, 2000).Draw(r, "microseconds")) * time.Microsecond)
			name := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "name")
			before := m.describe(name)
			m.told = nil
			m.step(name, before)
			m.check(name, before, m.describe(name))
		}
	})
}

func (m *machine) describe(name string) *secrets.DescribeSecretOutput {
	m.lag = 0
	out, err := m.manager.DescribeSecret(name)
	if errors.Is(err, secrets.ResourceNotFound) {
		return nil
	}
	out = must(out, err)
	return &out
}

// step does one operation, right or wrong.
func (m *machine) step(name string, before *secrets.DescribeSecretOutput) {
	value := rapid.SampledFrom([]string{"x", "y", ""}).Draw(m.T, "value")
	token := rapid.SampledFrom([]string{"", "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"}).Draw(m.T, "token")
	label := rapid.SampledFrom([]string{secrets.Current, secrets.Previous, secrets.Pending, "GREEN"})
	var err error
	switch rapid.IntRange(0, 8).Draw(m.T, "operation") {
	case 0:
		_, err = m.manager.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: value, ClientRequestToken: token})
	case 1, 2:
		labels := rapid.SliceOfNDistinct(label, 0, 3, rapid.ID[string]).Draw(m.T, "labels")
		if len(labels) == 0 {
			labels = nil
		}
		_, err = m.manager.PutSecretValue(secrets.PutSecretValueInput{SecretID: name, SecretString: value, VersionStages: labels, ClientRequestToken: token})
	case 3:
		_, err = m.manager.UpdateSecret(secrets.UpdateSecretInput{SecretID: name, SecretString: value, ClientRequestToken: token})
	case 4, 5, 6:
		versions := []string{"", "nothing"}
		if before != nil {
			versions = append(versions, slices.Sorted(maps.Keys(before.VersionIDsToStages))...)
		}
		_, err = m.manager.UpdateSecretVersionStage(secrets.UpdateSecretVersionStageInput{
			SecretID: name, VersionStage: label.Draw(m.T, "label"),
			MoveToVersionID:     rapid.SampledFrom(versions).Draw(m.T, "to"),
			RemoveFromVersionID: rapid.SampledFrom(versions).Draw(m.T, "from"),
		})
	case 7:
		_, err = m.manager.DeleteSecret(secrets.DeleteSecretInput{SecretID: name, ForceDeleteWithoutRecovery: rapid.Bool().Draw(m.T, "force")})
	case 8:
		_, err = m.manager.RestoreSecret(name)
	}
	var known *secrets.Error
	if err != nil && !errors.As(err, &known) {
		m.Fatalf("untyped error %v", err)
	}
	if after := m.describe(name); err != nil && !cmp.Equal(before, after) {
		m.Fatalf("a refused call (%v) changed the secret:\n%s", err, cmp.Diff(before, after))
	}
}

func (m *machine) check(name string, before, after *secrets.DescribeSecretOutput) {
	if after != nil {
		m.checkLabels(name, after)
	}
	if before != nil && after != nil && !cmp.Equal(before, after) && !after.LastChangedDate.After(before.LastChangedDate) {
		m.Fatalf("changed, but LastChangedDate stays at %v", after.LastChangedDate)
	}
	m.checkEvents(before, after)
	if history := m.seen[name]; len(history) == 0 || !cmp.Equal(history[len(history)-1].state, after) {
		m.seen[name] = append(history, snapshot{m.clock.Now(), after})
	}
	m.checkLag(name)
}

// checkLabels holds a state to the rules.
func (m *machine) checkLabels(name string, s *secrets.DescribeSecretOutput) {
	at := map[string]string{}
	for id, labels := range s.VersionIDsToStages {
		for _, label := range labels {
			if other, twice := at[label]; twice {
				m.Fatalf("%s is on %s and on %s", label, other, id)
			}
			at[label] = id
		}
	}
	if at[secrets.Current] == "" && len(at) > 0 {
		m.Fatalf("no AWSCURRENT among %v", at)
	}
	if at[secrets.Current] != "" && at[secrets.Current] == at[secrets.Previous] {
		m.Fatalf("AWSCURRENT and AWSPREVIOUS are both on %s", at[secrets.Current])
	}
	if !s.DeletedDate.IsZero() {
		return
	}
	// A version's value never changes, and a label reads what it is on.
	if m.puts[s.ARN] == nil {
		m.puts[s.ARN] = map[string]string{}
	}
	for label, id := range at {
		byLabel := must(m.manager.GetSecretValue(secrets.GetSecretValueInput{SecretID: name, VersionStage: label}))
		byID := must(m.manager.GetSecretValue(secrets.GetSecretValueInput{SecretID: s.ARN, VersionID: id}))
		if byLabel.VersionID != id || !cmp.Equal(byLabel, byID) {
			m.Fatalf("%s is on %s, but reads %s", label, id, byLabel.VersionID)
		}
		if earlier, ok := m.puts[s.ARN][id]; ok && earlier != byID.SecretString {
			m.Fatalf("the value of version %s changed", id)
		}
		m.puts[s.ARN][id] = byID.SecretString
	}
}

// checkEvents wants one event for each label that moved, but for two.
func (m *machine) checkEvents(before, after *secrets.DescribeSecretOutput) {
	want := map[string]string{}
	if before != nil && after != nil && before.ARN == after.ARN {
		for id, labels := range after.VersionIDsToStages {
			for _, label := range labels {
				if label != secrets.Pending && label != secrets.Previous && !slices.Contains(before.VersionIDsToStages[id], label) {
					want[label] = id
				}
			}
		}
	}
	got := map[string]string{}
	for _, e := range m.told {
		got[e.Label] = e.VersionID
		if !e.Time.Equal(after.LastChangedDate) || e.ARN != after.ARN {
			m.Fatalf("event %v of %v", e, after)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) != len(m.told) {
		m.Fatalf("events (-want +got):\n%s", diff)
	}
}

// checkLag reads the past and wants exactly what there was.
func (m *machine) checkLag(name string) {
	lag := time.Duration(rapid.IntRange(1, 50_000).Draw(m.T, "lag")) * time.Microsecond
	at := m.clock.Now().Add(-lag)
	var want *secrets.DescribeSecretOutput
	for _, s := range m.seen[name] {
		if !s.since.After(at) {
			want = s.state
		}
	}
	m.lag = lag
	got, err := m.manager.DescribeSecret(name)
	m.lag = 0
	switch {
	case want == nil && !errors.Is(err, secrets.ResourceNotFound):
		m.Fatalf("%v ago there was no secret, but %v, %v", lag, got, err)
	case want != nil && (err != nil || !cmp.Equal(*want, got)):
		m.Fatalf("%v ago (error %v):\n%s", lag, err, cmp.Diff(*want, got))
	}
}
