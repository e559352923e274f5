// Package secrets is a local stand-in for AWS Secrets Manager: the calls that
// this project and its tests use, AWS's written rules for staging labels, and,
// if wanted, its eventual consistency. It is for the demo, the fleet model and
// tests; it is never linked into what is deployed.
//
// What belongs here is Secrets Manager's behaviour as AWS documents it. What
// may not be here is a caller of it. What AWS has and this package has not
// (tags, keys, replicas, rotation, policies, BatchGetSecretValue) is refused,
// never ignored. A secret's LastAccessedDate is not kept.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/Welcome.html
package secrets

import (
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The staging labels that Secrets Manager itself knows.
const (
	Current  = "AWSCURRENT"
	Previous = "AWSPREVIOUS"
	Pending  = "AWSPENDING"
)

// Config says where the secrets are said to be, and how they behave in time.
type Config struct {
	// Account is the twelve digits in every ARN. Empty: 111122223333.
	Account string
	// Region is the Region in every ARN. Empty: eu-west-2.
	Region string
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Lag is asked once per read how far behind that read is: it is answered
	// from the state as it was so long ago. Zero or less, the newest state. It
	// is called without a lock held and must be safe for concurrent use. Nil:
	// never behind, and no history is kept.
	Lag func(Read) time.Duration
	// OnLabel is called after each move of AWSCURRENT or of a custom label to
	// another version, never for AWSPENDING or AWSPREVIOUS, as the native event
	// 'Secret Label Updated' is sent. As no document says that creating a secret
	// or taking a label off sends one, neither does. It is called by the
	// goroutine that made the change, after the change is visible, without a
	// lock held; concurrent changes may call it in another order than they were
	// made in. Nil: nobody listens.
	// https://docs.aws.amazon.com/secretsmanager/latest/userguide/secret-event-notifications.html
	OnLabel func(LabelUpdated)
	// Suffix makes the part of an ARN after the name's hyphen. It is asked again
	// if a secret of that name has just had that suffix, and after ten times a
	// random one is taken. Nil: six random characters.
	Suffix func() string
	// VersionID makes the id of a version whose request brought no token. Nil:
	// a random UUID.
	VersionID func() string
}

// ReadKind is what a read asks for.
type ReadKind int

// The kinds of Read.
const (
	Describe ReadKind = iota + 1 // DescribeSecret
	Label                        // GetSecretValue by staging label
	Version                      // GetSecretValue by version id
	List                         // ListSecrets, a whole page at one moment
)

// Read is one read that may lag.
type Read struct {
	Kind ReadKind
	// Name is the secret's name, also if it was asked for by ARN. Empty for
	// List.
	Name string
}

// LabelUpdated is what the native event says: the label now is on that version.
type LabelUpdated struct {
	ARN       string
	Name      string
	Label     string
	VersionID string
	Time      time.Time // the secret's LastChangedDate
}

// Manager is a Secrets Manager of one account and Region. It is an
// http.Handler; RoundTripper serves the same in process. All methods may be
// called concurrently. Their errors are *Error.
type Manager struct {
	cfg      Config
	prefix   string // of every ARN, up to the name
	requests atomic.Uint64

	mu     sync.RWMutex
	tracks map[string]*track // by name
	names  map[string]string // by full ARN, of every state that is kept
}

// New makes a manager without secrets.
func New(cfg Config) *Manager {
	if cfg.Account == "" {
		cfg.Account = "111122223333"
	}
	if cfg.Region == "" {
		cfg.Region = "eu-west-2"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Suffix == nil {
		cfg.Suffix = randomSuffix
	}
	if cfg.VersionID == nil {
		cfg.VersionID = randomVersionID
	}
	return &Manager{
		cfg:    cfg,
		prefix: "arn:aws:secretsmanager:" + cfg.Region + ":" + cfg.Account + ":secret:",
		tracks: make(map[string]*track),
		names:  make(map[string]string),
	}
}

func randomSuffix() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	out := randomBytes(6)
	for i, b := range out {
		out[i] = letters[int(b)%len(letters)]
	}
	return string(out)
}

func randomVersionID() string {
	b := randomBytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // documented never to fail
	return b
}
