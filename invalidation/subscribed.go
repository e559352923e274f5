package invalidation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// Holding says which manifest holds, since when, and who said so, why. The zero Holding: none does yet.
type Holding struct {
	// Digest is of the manifest's text.
	Digest string `json:"digest,omitempty"`
	// Packaged: it came with a deployment, and the next one's takes its place. Else somebody applied it.
	Packaged bool      `json:"packaged,omitempty"`
	By       string    `json:"by,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at,omitzero"`
	// Previous is the digest of the manifest that held before.
	Previous string `json:"previous,omitempty"`
	// Sequence grows by one with each write, each of which is on condition of it, so it is kept beside the rest.
	Sequence int64 `json:"-"`
}

// Manifests keeps the texts of manifests and which of them holds.
type Manifests interface {
	// Holding returns which manifest holds, read strongly consistently.
	Holding(ctx context.Context) (Holding, error)
	// Manifest returns the text with a digest, complete and unaltered.
	Manifest(ctx context.Context, digest string) ([]byte, error)
	// Keep keeps a text.
	Keep(ctx context.Context, text []byte) error
	// Hold writes which manifest holds and the record of the command that said so, if there was one, or neither. It returns
	// ErrConflict, wrapped, if what is written is not at h.Sequence any more.
	Hold(ctx context.Context, h Holding, by *Command) error
}

// ErrMoved says that another manifest holds than the one that was to be replaced.
var ErrMoved = errors.New("the subscriptions have moved on")

// Subscribed knows who is subscribed: by the manifest that was applied last, or by the packaged one until one is. There is
// one for the life of a process, since it keeps what it has read. It is safe for concurrent use.
type Subscribed struct {
	env, domain string
	manifests   Manifests
	packaged    Packaged

	mu     sync.Mutex // guards what follows, and has one read for all
	digest string
	known  *subscribers.Subscriptions
}

// Packaged is the manifest that the process was deployed with.
type Packaged struct {
	Subscriptions *subscribers.Subscriptions
	Text          []byte // empty if there is none
}

// NewSubscribed returns the Subscribed of one domain.
func NewSubscribed(env, domain string, manifests Manifests, packaged Packaged) *Subscribed {
	return &Subscribed{env: env, domain: domain, manifests: manifests, packaged: packaged}
}

// Subscriptions returns those that hold now. An error means that this cannot be told; to go on with those of before would
// close a fan-out that owes somebody else a push.
func (s *Subscribed) Subscriptions(ctx context.Context) (*subscribers.Subscriptions, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.manifests.Holding(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which manifest holds: %w", err)
	}
	switch {
	case h.Digest == "" || h.Packaged:
		return s.packaged.Subscriptions, nil
	case h.Digest == s.digest:
		return s.known, nil
	}
	text, err := s.manifests.Manifest(ctx, h.Digest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest that holds: %w", err)
	}
	f, err := subscribers.Parse("manifest "+h.Digest, text, s.env, s.domain)
	if err != nil {
		return nil, fmt.Errorf("this version cannot read the manifest that holds: apply one that it can: %w", err)
	}
	s.digest, s.known = h.Digest, f.Subscriptions()
	return s.known, nil
}

// Publish writes the packaged manifest where people see it, unless one was applied.
func (s *Subscribed) Publish(ctx context.Context, now time.Time) error {
	was, err := s.manifests.Holding(ctx)
	if err != nil {
		return fmt.Errorf("reading which manifest holds: %w", err)
	}
	digest := subscribers.Digest(s.packaged.Text)
	if len(s.packaged.Text) == 0 || was.Digest != "" && !was.Packaged || was.Digest == digest {
		return nil
	}
	h := Holding{Digest: digest, Packaged: true, At: now, Previous: was.Digest, Sequence: was.Sequence}
	err = s.hold(ctx, h, s.packaged.Text, nil)
	if errors.Is(err, ErrConflict) {
		return nil // another process did, or somebody applies one just now
	}
	return err
}

// Application is a manifest that is to hold in the place of another.
type Application struct {
	Text []byte
	// Replaces is the digest of the manifest that it was compared with; empty for none.
	Replaces string
}

// Apply has a manifest hold from now on, or, if dry, says what would. It returns ErrMoved, wrapped, if another holds than the
// one that it replaces. Applying what was applied last changes nothing, so an answer that was lost is asked for again by
// applying again.
func (s *Subscribed) Apply(ctx context.Context, a Application, by Command, dry bool) (was, is Holding, err error) {
	f, err := subscribers.Parse("manifest", a.Text, s.env, s.domain)
	if err != nil {
		return was, is, err
	}
	if !dry {
		if err := s.Publish(ctx, by.At); err != nil { // else a first plan could have been made without knowing what it replaces
			return was, is, err
		}
	}
	if was, err = s.manifests.Holding(ctx); err != nil {
		return was, is, fmt.Errorf("reading which manifest holds: %w", err)
	}
	switch digest := f.Digest(); {
	case was.Digest == digest && !was.Packaged:
		if !dry {
			err = s.manifests.Keep(ctx, a.Text) // mends what is kept, if need be
		}
		return was, was, err
	case was.Digest != a.Replaces:
		return was, is, moved(was)
	default:
		is = Holding{Digest: digest, By: by.By, Reason: by.Reason, At: by.At, Previous: was.Digest, Sequence: was.Sequence}
	}
	if dry {
		return was, is, nil
	}
	by.About = is.Digest
	err = s.hold(ctx, is, a.Text, &by)
	if errors.Is(err, ErrConflict) {
		now, again := s.manifests.Holding(ctx)
		if again != nil {
			return was, is, errors.Join(err, again)
		}
		return was, is, moved(now)
	}
	return was, is, err
}

// hold keeps the text before anything says that it holds.
func (s *Subscribed) hold(ctx context.Context, h Holding, text []byte, by *Command) error {
	if err := s.manifests.Keep(ctx, text); err != nil {
		return fmt.Errorf("keeping the manifest: %w", err)
	}
	return s.manifests.Hold(ctx, h, by)
}

func moved(now Holding) error {
	if now.Packaged || now.Digest == "" {
		return fmt.Errorf("%w: a deployment brought another manifest: plan again", ErrMoved)
	}
	return fmt.Errorf("%w: %s applied another manifest at %s (%s): plan again", ErrMoved, now.By, now.At.Format(time.RFC3339), now.Reason)
}
