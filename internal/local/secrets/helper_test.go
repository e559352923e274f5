package secrets_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

const name = "/bank/test/payments/neon/connection-string"

// clock is a time that only a test moves. It may be used concurrently.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// must returns the answer of a call that may not fail.
func must[T any](out T, err error) T {
	if err != nil {
		panic(err)
	}
	return out
}

func create(m *secrets.Manager, value string) string {
	return must(m.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: value})).VersionID
}

func put(m *secrets.Manager, value string, labels ...string) string {
	return must(m.PutSecretValue(secrets.PutSecretValueInput{SecretID: name, SecretString: value, VersionStages: labels})).VersionID
}

func move(m *secrets.Manager, label, to, from string) error {
	_, err := m.UpdateSecretVersionStage(secrets.UpdateSecretVersionStageInput{
		SecretID: name, VersionStage: label, MoveToVersionID: to, RemoveFromVersionID: from,
	})
	return err
}

func equal(t testing.TB, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
