package fleet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// secretsManager drives the local Secrets Manager and tells the history what really happened.
type secretsManager struct {
	w *world
	m *secrets.Manager

	mu    sync.Mutex
	lag   time.Duration // of the call under way
	made  int           // ids
	known []string      // names, in the order in which they were made
}

func newSecretsManager(w *world) *secretsManager {
	s := &secretsManager{w: w}
	s.m = secrets.New(secrets.Config{
		Account: "111122223333", Region: "eu-west-2",
		Lag:       func(secrets.Read) time.Duration { return s.lag },
		Suffix:    func() string { return fmt.Sprintf("%06d", s.id()) },
		VersionID: func() string { return fmt.Sprintf("EXAMPLE1-90ab-cdef-fedc-%012d", s.id()) },
	})
	return s
}

func (s *secretsManager) id() int {
	s.made++
	return s.made
}

// happened runs one operation and notes what is current after it. It returns whether the operation was allowed.
func (s *secretsManager) happened(name string, operation func() error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.known, name) {
		s.known = append(s.known, name)
	}
	if operation() != nil {
		return false
	}
	is := moment{at: time.Now()}
	if d, err := s.m.DescribeSecret(name); err == nil {
		is.at = d.LastChangedDate
		current, previous := labels(d)
		if is.previous = previous; d.DeletedDate.IsZero() {
			is.version = current
		}
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.history.happened(name, is)
	return true
}

func labels(d secrets.DescribeSecretOutput) (current, previous string) {
	for version, stages := range d.VersionIDsToStages {
		if slices.Contains(stages, secrets.Current) {
			current = version
		}
		if slices.Contains(stages, secrets.Previous) {
			previous = version
		}
	}
	return current, previous
}

// value is what a secret holds: long enough to be found wherever it leaks.
func value(name string) string { return canary + strings.Repeat("*", 8) + name }

// putQuietly makes a new version current, or the secret; no event comes.
func (s *secretsManager) putQuietly(name string) bool {
	return s.happened(name, func() error {
		if _, err := s.m.DescribeSecret(name); err != nil {
			_, err := s.m.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: value(name)})
			return err
		}
		_, err := s.m.PutSecretValue(secrets.PutSecretValueInput{SecretID: name, SecretString: value(name)})
		return err
	})
}

func (s *secretsManager) put(name string) {
	if s.putQuietly(name) {
		s.w.announce(name, events.Moved)
	}
}

// rotate makes a new version as rotations do: first AWSPENDING, later AWSCURRENT.
func (s *secretsManager) rotate(name string, takes time.Duration) {
	pending := ""
	ok := s.happened(name, func() error {
		out, err := s.m.PutSecretValue(secrets.PutSecretValueInput{SecretID: name, SecretString: value(name), VersionStages: []string{secrets.Pending}})
		pending = out.VersionID
		return err
	})
	if !ok {
		return
	}
	time.Sleep(takes)
	if s.moveCurrent(name, func(string) string { return pending }) {
		s.w.announce(name, events.Moved)
	}
}

// rollback moves AWSCURRENT back to AWSPREVIOUS.
func (s *secretsManager) rollback(name string) {
	if !s.moveCurrent(name, func(previous string) string { return previous }) {
		return
	}
	s.w.count(rolledBack)
	if !s.w.announce(name, events.Moved) {
		s.w.count(rolledBackMute)
	}
}

func (s *secretsManager) moveCurrent(name string, to func(previous string) string) bool {
	return s.happened(name, func() error {
		d, err := s.m.DescribeSecret(name)
		if err != nil {
			return err
		}
		current, previous := labels(d)
		if to(previous) == "" {
			return errors.New("there is no version to move to")
		}
		_, err = s.m.UpdateSecretVersionStage(secrets.UpdateSecretVersionStageInput{
			SecretID: name, VersionStage: secrets.Current, MoveToVersionID: to(previous), RemoveFromVersionID: current,
		})
		return err
	})
}

func (s *secretsManager) delete(name string, force bool) {
	if s.deleteQuietly(name, force) {
		s.w.count(deleted)
		s.w.announce(name, events.Deleted)
	}
}

func (s *secretsManager) deleteQuietly(name string, force bool) bool {
	return s.happened(name, func() error {
		if d, err := s.m.DescribeSecret(name); err != nil || !d.DeletedDate.IsZero() {
			return errors.Join(err, errors.New("it is deleted already"))
		}
		_, err := s.m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name, ForceDeleteWithoutRecovery: force})
		return err
	})
}

// recreate deletes a secret for good and makes another one of the same name.
func (s *secretsManager) recreate(name string) {
	if s.deleteQuietly(name, true) {
		s.w.count(recreated)
	}
	s.put(name)
}

func (s *secretsManager) restore(name string) {
	ok := s.happened(name, func() error {
		if d, err := s.m.DescribeSecret(name); err != nil || d.DeletedDate.IsZero() {
			return errors.Join(err, errors.New("it is not deleted"))
		}
		_, err := s.m.RestoreSecret(name)
		return err
	})
	if ok {
		s.w.count(restored)
		s.w.announce(name, events.Restored)
	}
}

func (s *secretsManager) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known)
}

// describe answers with the state of a while ago.
func (s *secretsManager) describe(name string, lag time.Duration) (invalidation.Description, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = lag
	d, err := s.m.DescribeSecret(name)
	s.lag = 0
	if err != nil {
		return invalidation.Description{}, fmt.Errorf("%w: %w", invalidation.ErrNotFound, err)
	}
	current, previous := labels(d)
	return invalidation.Description{
		ARN: d.ARN, Current: current, Previous: previous, LastChanged: d.LastChangedDate, Deleted: !d.DeletedDate.IsZero(),
	}, nil
}

// Another account has a secret of each name too, which never changes.
const (
	theirs       = "arn:aws:secretsmanager:eu-west-2:999988887777:secret:" // and a name, without its suffix
	theirVersion = "EXAMPLE9-90ab-cdef-fedc-999988887777"
)

// get answers an environment with the state of a while ago.
func (s *secretsManager) get(e *environment, id, version string) (secretcache.Fetched, error) {
	if name, ok := strings.CutPrefix(id, theirs); ok {
		if version != "" && version != theirVersion {
			return secretcache.Fetched{}, secretcache.ErrNotFound
		}
		return secretcache.Fetched{Name: name, ARN: id + "-999999", VersionID: theirVersion, Created: e.w.started, Text: value(name)}, nil
	}
	kind := "label"
	if version != "" {
		kind = "version"
	}
	lag := time.Duration(0)
	if most := e.w.faults.lagOf(kind); most > 0 && e.roll(4) > 0 {
		lag = e.upTo(most)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = lag
	got, err := s.m.GetSecretValue(secrets.GetSecretValueInput{SecretID: id, VersionID: version})
	s.lag = 0
	switch {
	case kind == "version" && lag > 0 && err != nil:
		e.w.count(versionLate)
	case kind == "label" && lag > 0 && (err != nil || !e.w.isCurrent(got.Name, got.VersionID)):
		e.w.count(labelLate)
	}
	switch {
	case err == nil:
		return secretcache.Fetched{Name: got.Name, ARN: got.ARN, VersionID: got.VersionID, Created: got.CreatedDate, Text: got.SecretString}, nil
	case errors.Is(err, secrets.InvalidRequest):
		return secretcache.Fetched{}, fmt.Errorf("%w: %w", secretcache.ErrDeleted, err)
	default:
		return secretcache.Fetched{}, fmt.Errorf("%w: %w", secretcache.ErrNotFound, err)
	}
}
