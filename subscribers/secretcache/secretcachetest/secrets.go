package secretcachetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// A secret is one secret as Secrets Manager has it.
type secret struct {
	arn               string
	versions          map[string]version
	current, previous string // version ids: AWSCURRENT and AWSPREVIOUS
	pending           string // AWSPENDING's
	deleted           bool
}

type version struct {
	text    string
	created time.Time
}

// Put gives the secret a new version, makes it AWSCURRENT and appends the change to the log, so that a cache sees it at
// its next check. A secret that is not there is created; one that is deleted is created anew, with another ARN. It
// returns the version's id. What the log does not speak of, because the name is not in /bank/{env}/{domain}/, changes
// without a row, here and in all other methods.
func (f *Fake) Put(name, text string) (versionID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.secrets[name]
	versionID = f.put(name, text)
	kind := wire.Moved
	if before != nil && before.deleted {
		kind = wire.Restored
	}
	f.announce(name, kind, versionID)
	return versionID
}

// PutSilently is Put without the row in the log: the event was lost. A cache sees it when its TTL ends.
func (f *Fake) PutSilently(name, text string) (versionID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.put(name, text)
}

// PutPending gives the secret a new version and makes it AWSPENDING, as the first step of a rotation does. Nothing is
// announced. It returns the version's id.
func (f *Fake) PutPending(name, text string) (versionID string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.existing(name)
	s.pending = f.addVersion(s, text)
	return s.pending
}

// Promote makes AWSPENDING's version AWSCURRENT, as the last step of a rotation does, and appends the change to the log.
// AWSPENDING stays on it, which it may do at AWS.
func (f *Fake) Promote(name string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.existing(name)
	if s.pending == "" || s.pending == s.current {
		f.t.Fatalf("promoting the pending version of %s: it has none, PutPending makes one", name)
	}
	f.tick()
	s.current, s.previous = s.pending, s.current
	f.announce(name, wire.Moved, s.current)
}

// Rollback makes the version before AWSCURRENT again and appends the change to the log.
func (f *Fake) Rollback(name string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.existing(name)
	if s.previous == "" {
		f.t.Fatalf("rolling back %s: it has no version before", name)
	}
	f.tick()
	s.current, s.previous = s.previous, s.current
	f.announce(name, wire.Moved, s.current)
}

// Delete makes the secret unreadable and appends the change to the log.
func (f *Fake) Delete(name string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.existing(name)
	f.tick()
	s.deleted = true
	f.announce(name, wire.Deleted, "")
}

// Restore makes a deleted secret readable again and appends the change to the log.
func (f *Fake) Restore(name string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.secrets[name]
	if s == nil || !s.deleted {
		f.t.Fatalf("restoring %s: it is not deleted", name)
	}
	f.tick()
	s.deleted = false
	f.announce(name, wire.Restored, s.current)
}

// Refresh appends to the log that the secret is to be fetched again although AWSCURRENT is where it was: what somebody
// announced by hand.
func (f *Fake) Refresh(name string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.existing(name)
	f.tick()
	f.announce(name, wire.Refresh, s.current)
}

// ARN returns the secret's ARN.
func (f *Fake) ARN(name string) string {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.secrets[name]
	if s == nil {
		f.t.Fatalf("there is no secret %s: Put makes one", name)
	}
	return s.arn
}

// existing returns a secret that can be read. The caller holds mu.
func (f *Fake) existing(name string) *secret {
	f.t.Helper()
	s := f.secrets[name]
	if s == nil || s.deleted {
		f.t.Fatalf("there is no secret %s: Put makes one", name)
	}
	return s
}

// put makes a version AWSCURRENT. The caller holds mu.
func (f *Fake) put(name, text string) (versionID string) {
	s := f.secrets[name]
	if s == nil || s.deleted {
		sum := sha256.Sum256(fmt.Append([]byte(name), f.versions)) // as random as AWS's suffix, but the same in each run
		s = &secret{
			arn:      "arn:aws:secretsmanager:" + Region + ":" + Account + ":secret:" + name + "-" + hex.EncodeToString(sum[:3]),
			versions: map[string]version{},
		}
		f.secrets[name] = s
	}
	versionID = f.addVersion(s, text)
	s.current, s.previous = versionID, s.current
	return versionID
}

// addVersion gives a secret a version without a label. The caller holds mu.
func (f *Fake) addVersion(s *secret, text string) (versionID string) {
	f.tick()
	f.versions++
	versionID = fmt.Sprintf("EXAMPLE1-90ab-cdef-fedc-%012d", f.versions)
	s.versions[versionID] = version{text, f.now()}
	return versionID
}

type fakeSecrets struct{ fake *Fake }

// Get implements secretcache.Secrets.
func (s fakeSecrets) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	return s.read(ctx, id, func(found *secret) string {
		if versionID == "" {
			return found.current
		}
		return versionID
	})
}

// Pending implements secretcache.Secrets.
func (s fakeSecrets) Pending(ctx context.Context, id string) (secretcache.Fetched, error) {
	return s.read(ctx, id, func(found *secret) string { return found.pending })
}

// read answers with the version that which picks.
func (s fakeSecrets) read(ctx context.Context, id string, which func(*secret) string) (secretcache.Fetched, error) {
	f := s.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	name, found := f.find(id)
	f.fetches[name]++
	switch {
	case ctx.Err() != nil:
		return secretcache.Fetched{}, ctx.Err()
	case f.secretsErr != nil:
		return secretcache.Fetched{}, f.secretsErr
	case found == nil:
		return secretcache.Fetched{}, fmt.Errorf("%w: the fake has no secret %s", secretcache.ErrNotFound, id)
	case found.deleted:
		return secretcache.Fetched{}, fmt.Errorf("%w: %s", secretcache.ErrDeleted, id)
	}
	versionID := which(found)
	v, ok := found.versions[versionID]
	if !ok {
		return secretcache.Fetched{}, fmt.Errorf("%w: %s has no version %q", secretcache.ErrNotFound, id, versionID)
	}
	return secretcache.Fetched{
		Name: name, ARN: found.arn, VersionID: versionID, Labels: found.labels(versionID), Created: v.created, Text: v.text,
	}, nil
}

// labels returns the staging labels of a version.
func (s *secret) labels(versionID string) []string {
	var out []string
	for _, label := range []struct{ name, on string }{
		{"AWSCURRENT", s.current}, {"AWSPENDING", s.pending}, {"AWSPREVIOUS", s.previous},
	} {
		if label.on == versionID {
			out = append(out, label.name)
		}
	}
	return out
}

// find returns the secret with a name, an ARN or an ARN without the suffix, and its name; if there is none, the id. The
// caller holds mu.
func (f *Fake) find(id string) (name string, found *secret) {
	if s := f.secrets[id]; s != nil {
		return id, s
	}
	for name, s := range f.secrets {
		if s.arn == id || s.arn[:strings.LastIndexByte(s.arn, '-')] == id {
			return name, s
		}
	}
	return id, nil
}
