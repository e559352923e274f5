package invalidation

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Pause says whether pushes are held back, and who said so, when and why. The zero Pause: they are not.
type Pause struct {
	Paused bool      `json:"paused"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// Command is the record of what somebody had the broadcaster do.
type Command struct {
	Name   string `json:"name"`
	By     string `json:"by"` // as AWS authenticated it
	Reason string `json:"reason"`
	// RequestID is of the invocation that brought it.
	RequestID string    `json:"requestId"`
	At        time.Time `json:"at"`
	// About is what it was done to, where the name does not say that, as a manifest's digest; at most maxAbout bytes.
	About string `json:"about,omitempty"`
}

// Control keeps what people on call have set.
type Control interface {
	// Pause returns the pause, read strongly consistently.
	Pause(ctx context.Context) (Pause, error)
	// SetPause writes the pause and the record of the command that set it, or neither.
	SetPause(ctx context.Context, p Pause, by Command) error
	// RecordCommand writes the record of a command that sets nothing.
	RecordCommand(ctx context.Context, by Command) error
	// Reopen writes the fan-out's marker, and the deliveries, pending, in the place of failed ones; or nothing, and ErrConflict,
	// wrapped, if one of them is not failed or the marker is another row's. The deliveries are of the fan-out's revision, at
	// most MaxReplayed of them. What Close is then given must have been read since.
	Reopen(ctx context.Context, f Fanout, deliveries []Delivery) error
}

// pauseFor is how long a look at the pause counts while a fan-out is under way: it may take minutes, and whoever pauses
// wants it to stop now.
const pauseFor = time.Second

// A hold is the pause as one Deliver sees it. It is safe for concurrent use.
type hold struct {
	control Control
	now     func() time.Time

	mu    sync.Mutex // guards what follows, and has one ask for all
	is    bool
	asked time.Time
}

// on reports whether pushes are held back, as of a while ago at the most.
func (h *hold) on(ctx context.Context, ago time.Duration) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if age := now.Sub(h.asked); !h.asked.IsZero() && age >= 0 && age < ago {
		return h.is, nil
	}
	p, err := h.control.Pause(ctx)
	if err != nil {
		return false, fmt.Errorf("reading whether pushes are paused: %w", err)
	}
	h.is, h.asked = p.Paused, now
	return h.is, nil
}

// heldBack returns those of a function's deliveries that are due and do not say yet that they are held back, saying so. That
// is no attempt, and they are due as soon as the pause ends.
func (d *debt) heldBack(now time.Time) []Delivery {
	var news []Delivery
	for i := range d.deliveries {
		is := &d.deliveries[i]
		if is.Reason == Paused {
			continue
		}
		is.Outcome, is.Reason, is.Error = Pending, Paused, ""
		is.Time, is.NotBefore = now, time.Time{}
		news = append(news, *is)
	}
	return news
}
