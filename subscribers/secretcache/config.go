package secretcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Mode says what a Cache does with the change log.
type Mode string

// The modes of a Cache.
const (
	On      Mode = "on"      // the log is checked at use: the guarantees hold
	Observe Mode = "observe" // what would have been invalidated is counted and reported, nothing changes: the TTL alone applies
	Off     Mode = "off"     // the log is never read: the TTL alone applies
)

// Defaults of Config.
const (
	DefaultTTL          = 5 * time.Minute
	DefaultCheckEvery   = 2 * time.Second
	DefaultCheckTimeout = 250 * time.Millisecond
	DefaultFetchTimeout = 10 * time.Second
)

// Config says what a Cache reads from and how. secretcacheaws.Config fills it from the Lambda environment.
type Config struct {
	// Env and Domain name the secrets the log speaks of: /bank/{Env}/{Domain}/… Any other secret has the TTL only.
	// Required unless Mode is Off.
	Env, Domain string
	// Service is what reports and acks call this function; POWERTOOLS_SERVICE_NAME on Lambda.
	Service string
	// Client is what reports and acks call the client, as name/version. ClientName if empty.
	Client string
	// Mode is On if empty.
	Mode Mode
	// TTL always applies: no value cached longer ago is served. Zero means DefaultTTL. Secret.WithTTL sets another one for a handle.
	TTL time.Duration
	// CheckEvery is how old the newest check of the log may be when a value is served. Zero means DefaultCheckEvery;
	// it must be at least twice CheckTimeout.
	CheckEvery time.Duration
	// CheckTimeout bounds one read of the log; it is tried twice. Zero means DefaultCheckTimeout.
	CheckTimeout time.Duration
	// FetchTimeout bounds one call to Secrets Manager, the client's own retries included. Zero means DefaultFetchTimeout.
	FetchTimeout time.Duration

	// Secrets is required.
	Secrets Secrets
	// Log is required unless Mode is Off.
	Log Log
	// Reports may be nil: then nothing is reported.
	Reports Reports

	// Function says where this runs; it goes into acks and reports as it is.
	Function Function
	// InvokedARN returns the ARN under which the invocation of ctx called this function, or "". Lambda tells it with each
	// invocation only; the last one told takes the place of Function.ARN. Nil: Function.ARN stays.
	InvokedARN func(ctx context.Context) string
	// Logger is slog.Default() if nil. No secret value ever reaches it.
	Logger *slog.Logger
	// Clock is the machine's own if nil. Tests set it.
	Clock Clock
}

// Function identifies the Lambda function an environment belongs to.
type Function struct {
	ARN, Version, LogStream string
}

// Log reads the change log of one (env, domain). Implementations are safe for concurrent use, read strongly
// consistently, and after an error use a fresh connection for the next call: a thawed environment's connection is dead.
type Log interface {
	// Since returns the row of the given revision, if it is there, and what follows, oldest first, at most limit rows.
	Since(ctx context.Context, revision int64, limit int) (Page, error)
	// Tail returns the newest rows, oldest first, at most limit.
	Tail(ctx context.Context, limit int) (Page, error)
}

// Page is one answer of a Log.
type Page struct {
	Rows []wire.Row
	// Date is the log's own clock when it answered, truncated to any resolution; zero if it told none. It makes the age of
	// a row independent of this environment's clock, which may have stood still or jumped.
	Date time.Time
}

// Secrets reads secret values. Implementations are safe for concurrent use.
type Secrets interface {
	// Get returns the version that versionID names, or the one that AWSCURRENT names if versionID is empty. id is a name,
	// an ARN or a partial ARN. It returns ErrNotFound or ErrDeleted, wrapped, if Secrets Manager says so.
	Get(ctx context.Context, id, versionID string) (Fetched, error)
	// Pending returns the version that AWSPENDING names, or ErrNotFound, wrapped, if it names none. Only Try with the option
	// Pending asks for it.
	Pending(ctx context.Context, id string) (Fetched, error)
}

// Fetched is one answer of Secrets.
type Fetched struct {
	Name, ARN, VersionID string
	// Created is the version's CreatedDate.
	Created time.Time
	// Labels are the version's staging labels when it was fetched.
	Labels []string
	// Text is the SecretString, or the SecretBinary's bytes, which Binary tells apart.
	Text   string
	Binary bool
}

// Reports takes an environment's own word about itself.
type Reports interface {
	// Put stores the report in the place of the environment's report before.
	Put(ctx context.Context, r wire.Report) error
}

// Errors of Secrets and of Secret.Get.
var (
	ErrNotFound = errors.New("secret or its current value not found")
	ErrDeleted  = errors.New("secret is deleted")
)

// withDefaults returns the configuration with its zero values filled in, or all that is wrong with it.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Mode == "" {
		cfg.Mode = On
	}
	for _, d := range []struct {
		value   *time.Duration
		initial time.Duration
	}{
		{&cfg.TTL, DefaultTTL},
		{&cfg.CheckEvery, DefaultCheckEvery},
		{&cfg.CheckTimeout, DefaultCheckTimeout},
		{&cfg.FetchTimeout, DefaultFetchTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.initial
		}
	}
	if cfg.Client == "" {
		cfg.Client = ClientName
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	var problems []error
	if cfg.Secrets == nil {
		problems = append(problems, errors.New("Secrets is missing"))
	}
	switch cfg.Mode {
	case Off:
	case On, Observe:
		if cfg.Log == nil {
			problems = append(problems, errors.New("Log is missing"))
		}
		if cfg.Env == "" || cfg.Domain == "" {
			problems = append(problems, errors.New("both Env and Domain must be set"))
		}
	default:
		problems = append(problems, fmt.Errorf("Mode must be on, observe or off, not %q", cfg.Mode))
	}
	if cfg.TTL < 0 || cfg.CheckTimeout < 0 || cfg.FetchTimeout < 0 {
		problems = append(problems, errors.New("TTL, CheckTimeout and FetchTimeout must not be negative"))
	}
	if cfg.CheckEvery < 2*cfg.CheckTimeout {
		problems = append(problems, fmt.Errorf("CheckEvery (%v) must be at least twice CheckTimeout (%v)", cfg.CheckEvery, cfg.CheckTimeout))
	}
	return cfg, errors.Join(problems...)
}
