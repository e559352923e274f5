// Package secretcache keeps secrets of AWS Secrets Manager in memory and never serves one that the change log says has
// changed. It is the Go client of the secret-change broadcaster.
//
//	cfg, err := secretcacheaws.Config(ctx) // from the SECRET_BROADCAST_* variables
//	cache, err := secretcache.New(cfg)
//	password := cache.Secret("/bank/prod/payments/neon/password")
//	lambda.Start(cache.Wrap(lambda.NewHandler(func(ctx context.Context, order Order) error {
//		value, err := password.Get(ctx) // at every use: a value kept elsewhere is never invalidated
//		…
//	})))
//
// What a read of AWSCURRENT returns was current at most CheckEvery ago, counted from when the change was appended to the
// log, in every execution environment, whether it was busy, frozen or not yet born when the change happened. Lambda
// freezes whatever runs in the background, so no timer and no goroutine carries that guarantee: the log is checked at
// use. The TTL always applies besides. While the log cannot be read the TTL alone applies, and no read fails for it.
//
// The package imports the standard library and the wire contracts only; the AWS SDK is in secretcacheaws.
package secretcache

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// ClientName is what acks and reports call this client if Config.Client is empty.
const ClientName = "go/1.0.0"

// A Cache holds the secrets one process has read. It is safe for concurrent use.
type Cache struct {
	cfg  Config
	base time.Time // what the monotonic clock counts from

	// checked is the moment before the newest successful check was sent. A read loads it before the entry's value:
	// a check stores it after its marks, so whoever sees the check sees the marks.
	checked atomic.Pointer[instant]

	invocations atomic.Int64 // under way, as far as the wrapped handler sees them
	rests       atomic.Int64 // how often there began or ceased to be any: between the two the environment may have been frozen

	mu       sync.Mutex // guards all below, and what entry says it guards
	account  string     // that names are looked up in; empty until an answer has told it
	entries  map[string]*entry
	changing map[string]int         // how often the caller is changing what is called so
	known    map[string]knownChange // the newest change of each name, for as long as late answers are to be expected
	cursor   cursor
	recent   []cursor // the last rows seen, to tell a true push from a forged one
	marks    uint64   // how often anything was marked, or would have been
	check    *check   // the one on its way, or nil
	reads    uint64   // of the log that have begun
	breaker  breaker
	counts   wire.Counts
	report   reporting
}

// A cursor names the newest row of the log that has been applied; the zero cursor none.
type cursor struct {
	revision int64
	hash     string
}

func cursorOf(r wire.Row) cursor { return cursor{r.Revision, r.Hash} }

// An entry is what is known of one secret's AWSCURRENT.
type entry struct {
	// key is what Cache.entries has it under, until it is forgotten.
	key string
	// name is the secret's name; empty for an entry that was asked for by an ARN: its name is not known yet, or it is of
	// another account's secret.
	name string
	// tracked: the log speaks of this secret. Any other has the TTL only.
	tracked bool
	// follows: and what it says is acted upon, not only counted.
	follows bool
	// fresh is what may be served; nil while there is nothing or it is marked for refetch.
	fresh atomic.Pointer[version]
	// alias is the entry that has taken this one's place: the one by name, once the first answer to an ARN has told it.
	alias atomic.Pointer[entry]
	// ttl is the longest that a read which looked further than fresh has accepted; in observe mode any read.
	ttl longest

	// Guarded by Cache.mu:

	held       *version // what was fetched last, also while marked; nil once evicted
	generation uint64   // grows when the entry is marked: a fetch sent before must not refill it
	fetch      *fetch   // the one on its way for this generation, or nil
	failed     *instant // when a refetch of what is held failed last
	pushed     *instant // when a push last caused a refetch without the log
	again      *asking  // the newest that a rejection caused, of AWSCURRENT
	pending    *asking  // and of AWSPENDING
	rejected   *version // the last that a Try reported; nil once replaced
	lastID     string   // the version fetched last: OnChange has been told of it, or is being, or will be
	verified   string   // the version that every OnChange accepted
	refused    string   // why an OnChange did not accept lastID
	told       bool     // it was logged that a newer version cannot be fetched
	onChange   []OnChange
	telling    chan struct{} // closed when OnChange has been told of all there is to tell; nil unless it is being told
	next       *version      // what it is to be told of then, if anything
}

// longest is the longest of some durations.
type longest struct{ nanoseconds atomic.Int64 }

func (l *longest) get() time.Duration { return time.Duration(l.nanoseconds.Load()) }

func (l *longest) raise(to time.Duration) {
	for {
		now := l.nanoseconds.Load()
		if int64(to) <= now || l.nanoseconds.CompareAndSwap(now, int64(to)) {
			return
		}
	}
}

// A version is one fetched version. It is immutable.
type version struct {
	id, arn, text string
	name          string
	labels        []string
	binary        bool
	created       time.Time
	sent          instant // before the fetch was sent: its age counts from here
}

// New returns a cache, or an error that tells all that is wrong with the configuration. It reads nothing yet.
func New(cfg Config) (*Cache, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cache{cfg: cfg, base: time.Now(), entries: map[string]*entry{}, changing: map[string]int{}, known: map[string]knownChange{}}
	c.report.started, c.report.function = time.Now(), cfg.Function.ARN
	if cfg.Mode == Off {
		cfg.Logger.Info("secretcache is off: secrets are cached for their TTL, changes are not followed")
	}
	return c, nil
}

// Secret returns a handle to the secret with this name, ARN or partial ARN. It reads nothing yet. All handles to one
// secret share what is cached. Keep the handle and call Get at every use.
func (c *Cache) Secret(id string) *Secret {
	s := &Secret{cache: c, id: id, ttl: c.cfg.TTL, arn: isARN(id)}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.entry.Store(c.entryFor(id))
	return s
}

// Position returns the revision and hash of the newest row of the log that this cache has applied; zero before the
// first successful check.
func (c *Cache) Position() (revision int64, hash string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursor.revision, c.cursor.hash
}

// Counts returns the totals since the cache was made.
func (c *Cache) Counts() wire.Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// entryFor returns the entry of a name or an ARN, made if absent. The caller holds mu.
func (c *Cache) entryFor(id string) *entry {
	e := c.entries[id]
	if e == nil {
		e = &entry{key: id, tracked: c.tracks(id)}
		e.follows = e.tracked && c.cfg.Mode == On
		if !isARN(id) {
			e.name = id
		}
		c.entries[id] = e
	}
	return e
}

// tracks reports whether the log speaks of the secret with this name or ARN. The caller holds mu.
func (c *Cache) tracks(id string) bool {
	name := nameIn(id)
	if c.cfg.Mode == Off || name != id && c.account != "" && !c.isOwn(id) {
		return false
	}
	return strings.HasPrefix(name, wire.NamePrefix(c.cfg.Env, c.cfg.Domain))
}

// mark makes an entry be refetched before it is served again. The caller holds mu.
func (c *Cache) mark(e *entry) {
	e.fresh.Store(nil)
	e.failed = nil
	c.supersedeFetch(e)
}

// supersedeFetch keeps a fetch that is on its way from filling the entry. The caller holds mu.
func (c *Cache) supersedeFetch(e *entry) {
	e.generation++
	e.fetch = nil
	c.marks++
}

// newID returns a random id. crypto/rand never fails (https://pkg.go.dev/crypto/rand#Read).
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
