package history

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// Manifests knows who is subscribed.
type Manifests interface {
	// Holding returns which manifest holds.
	Holding(ctx context.Context) (invalidation.Holding, error)
	// Manifest returns the text with a digest.
	Manifest(ctx context.Context, digest string) ([]byte, error)
}

// subscribed is the manifest that holds. It keeps what it has read, so one look after another costs little.
type subscribed struct {
	digest        string
	subscriptions *subscribers.Subscriptions // nil if no manifest is known to hold
	// packaged is when the manifest was written down if it came with a deployment; the next deployment's is written down with
	// a tick, so deliveries that are younger may be by that one. Zero of a manifest that was applied.
	packaged time.Time
}

// read reads which manifest holds now.
func (s *subscribed) read(ctx context.Context, r *Reader) error {
	h, err := r.cfg.Manifests.Holding(ctx)
	if err != nil {
		return err
	}
	s.packaged = time.Time{}
	if h.Packaged {
		s.packaged = h.At
	}
	if h.Digest == "" || h.Digest == s.digest {
		return nil
	}
	text, err := r.cfg.Manifests.Manifest(ctx, h.Digest)
	if err != nil {
		return err
	}
	f, err := subscribers.Parse("manifest "+h.Digest, text, r.cfg.Env, r.cfg.Domain)
	if err != nil {
		return fmt.Errorf("this version cannot read the manifest that holds: use the broadcaster's own: %w", err)
	}
	s.digest, s.subscriptions = h.Digest, f.Subscriptions()
	return nil
}

// unsubscribed reports whether the service that a delivery of a row was for has no subscription to it any more.
func (s *subscribed) unsubscribed(d invalidation.Delivery, row wire.Row) bool {
	if s.subscriptions == nil || !s.packaged.IsZero() && !d.Time.Before(s.packaged) {
		return false
	}
	names := make([]string, 0, len(row.Changes))
	for _, c := range row.Changes {
		names = append(names, c.Name)
	}
	return !slices.ContainsFunc(s.subscriptions.Match(names), func(is subscribers.Subscription) bool { return is.Service == d.Subscription })
}
