// Package invalidation decides what changed and proves what became of it: it confirms signals, appends confirmed changes
// to the change log and delivers them to subscribers. It holds no AWS SDK: the packages below it are its edges.
//
// A signal is a hint, DescribeSecret is the truth, the revision is the order. Whatever the occasion, live event, replay
// or schedule, all of it ends in the same thing: making the log say what is current now.
package invalidation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Errors of the ports.
var (
	// ErrNotFound: Secrets Manager knows no secret of this name.
	ErrNotFound = errors.New("secret not found")
	// ErrConflict: what was read before the write is not so any more; nothing was written.
	ErrConflict = errors.New("the change log or a secret's row has moved on")
)

// Describer asks Secrets Manager about a secret, never for its value.
type Describer interface {
	// Describe returns what DescribeSecret says of the secret with this name or ARN, or ErrNotFound, wrapped.
	Describe(ctx context.Context, id string) (Description, error)
}

// Description is what confirming needs of DescribeSecret
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html).
type Description struct {
	Name, ARN string
	// Current and Previous are the versions that AWSCURRENT and AWSPREVIOUS name, or empty.
	Current, Previous string
	LastChanged       time.Time
	// Deleted: the secret is scheduled for deletion and cannot be read.
	Deleted bool
}

// Position names a row of the log. The zero Position is before the first row.
type Position struct {
	Revision int64  `json:"revision"`
	Hash     string `json:"hash"`
}

// State says how a secret stands.
type State string

// The states of a SecretRow.
const (
	Active  State = "active"
	Empty   State = "empty" // it has no AWSCURRENT yet
	Deleted State = "deleted"
)

// SecretRow is what the store keeps of a secret. The zero row is of a secret never seen.
type SecretRow struct {
	Name        string    `json:"name"`
	ARN         string    `json:"arn"`
	Current     string    `json:"current,omitempty"`
	Previous    string    `json:"previous,omitempty"`
	LastChanged time.Time `json:"lastChanged"`
	// Changed is LastChanged as of the newest change that was appended: an event that is dated later tells of another one.
	Changed time.Time `json:"changed"`
	State   State     `json:"state"`
	// Revision is of the secret's newest change; 0 without one.
	Revision int64 `json:"revision"`
	// MissingSince is when the first answer of "not found" came, or zero.
	MissingSince time.Time `json:"missingSince,omitzero"`
	// Sequence grows by one with each write; 0 means the row is absent. Every write is on condition of it, so it is kept
	// beside the rest.
	Sequence int64 `json:"-"`
}

// Snapshot is what one round of confirming starts from.
type Snapshot struct {
	Head    Position
	Secrets map[string]SecretRow
}

// Cause is what made a revision: the audit record's content.
type Cause struct {
	EventID    string    `json:"eventId"`
	DetailType string    `json:"detailType"`
	Actor      string    `json:"actor,omitempty"`
	Replay     string    `json:"replay,omitempty"`
	EventTime  time.Time `json:"eventTime"`
	Received   time.Time `json:"received"`
	// More is how many further events about the same secret are left out.
	More int `json:"more,omitempty"`
}

// Append is one transaction: the row if the log's head is still Head, the secrets' rows if they are as read, the audit
// record and the open fan-out; or nothing.
type Append struct {
	Head    Position
	Row     wire.Row // unsealed: the store seals it
	Secrets []SecretRow
	Causes  []Cause
}

// Log is the broadcaster's side of the change log. Implementations read strongly consistently.
type Log interface {
	// Load reads the head first and then the rows of the named secrets.
	Load(ctx context.Context, names []string) (Snapshot, error)
	// Append writes a and returns the sealed row, or ErrConflict, wrapped.
	Append(ctx context.Context, a Append) (wire.Row, error)
	// Note writes a secret's row that goes with no revision, or returns ErrConflict, wrapped.
	Note(ctx context.Context, row SecretRow) error
	// Row returns the row at a revision; the head's for 0. A missing row is the zero Row.
	Row(ctx context.Context, revision int64) (wire.Row, error)
}

// Config says what a Broadcaster works on and how.
type Config struct {
	// Account, Region, Env and Domain are required; the broadcaster acts on this domain's secrets only.
	Account, Region, Env, Domain string

	Secrets    Describer   // required
	Log        Log         // required
	Fanouts    Fanouts     // required
	Pusher     Pusher      // required
	Audience   *Audience   // required: who may be pushed to
	Lister     Lister      // required
	Sweeps     Sweeps      // required
	Control    Control     // required: whether pushes are paused
	Subscribed *Subscribed // required: who is subscribed

	// Resumer is asked for another invocation if a delivery is left pending. Nil: whatever invokes next resumes it.
	Resumer Resumer

	// ConfirmWithin bounds confirming and appending of one batch; what is not done by then comes back. Zero means 2 s.
	ConfirmWithin time.Duration
	// Late is how long Secrets Manager's answers may be of before a change. Zero means a minute.
	Late time.Duration
	// MaxPushes caps how many pushes are under way at once. Zero means 50.
	MaxPushes int
	// PushTimeout bounds one push, a cold start of the function included. Zero means 10 s.
	PushTimeout time.Duration
	// Retries are the pauses before the quick retries of a push. Nil means 100 ms and 400 ms.
	Retries []time.Duration
	// MaxAttempts is how often a delivery is tried, over all resumptions, until it is failed for good. Zero means 12.
	MaxAttempts int

	// Now is time.Now if nil.
	Now func() time.Time
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// A Broadcaster turns signals into revisions and delivers them. It is safe for concurrent use, and any number of
// processes may work on one domain's store.
type Broadcaster struct{ cfg Config }

// New returns a Broadcaster, or an error that tells all that is wrong with the configuration.
func New(cfg Config) (*Broadcaster, error) {
	var problems []error
	for _, required := range []struct {
		name string
		set  bool
	}{
		{"Account", cfg.Account != ""},
		{"Region", cfg.Region != ""},
		{"Env", cfg.Env != ""},
		{"Domain", cfg.Domain != ""},
		{"Secrets", cfg.Secrets != nil},
		{"Log", cfg.Log != nil},
		{"Fanouts", cfg.Fanouts != nil},
		{"Pusher", cfg.Pusher != nil},
		{"Audience", cfg.Audience != nil},
		{"Lister", cfg.Lister != nil},
		{"Sweeps", cfg.Sweeps != nil},
		{"Control", cfg.Control != nil},
		{"Subscribed", cfg.Subscribed != nil},
	} {
		if !required.set {
			problems = append(problems, fmt.Errorf("%s is missing", required.name))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	cfg.ConfirmWithin = orDefault(cfg.ConfirmWithin, 2*time.Second)
	cfg.Late = orDefault(cfg.Late, time.Minute)
	cfg.MaxPushes = orDefault(cfg.MaxPushes, 50)
	cfg.PushTimeout = orDefault(cfg.PushTimeout, 10*time.Second)
	cfg.MaxAttempts = orDefault(cfg.MaxAttempts, 12)
	if cfg.Retries == nil {
		cfg.Retries = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Broadcaster{cfg: cfg}, nil
}

func orDefault[T comparable](value, initial T) T {
	var zero T
	if value == zero {
		return initial
	}
	return value
}
