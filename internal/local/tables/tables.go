// Package tables is a local stand-in for Amazon DynamoDB: the operations that
// this project uses, over the DynamoDB JSON 1.0 protocol, kept in memory or in
// a journal file. It is for the demo, the fleet model and tests; it is never
// linked into what is deployed.
//
// What belongs here is DynamoDB's behaviour as AWS documents it. What may not
// be here is anything about this project's own rows: those belong to the code
// that uses a DynamoDB client. What AWS has and this package has not
// (indexes, streams, filters, nested paths in an update and so on) is refused
// with a ValidationException that says so, never ignored.
package tables

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where tables live and what time it is.
type Config struct {
	// Dir is the directory of the journal; it is made if it is not there.
	// Empty: memory only.
	Dir string
	// Now is the clock: the Date header of every answer, creation times and
	// the ten minutes of a ClientRequestToken. Nil: time.Now.
	Now func() time.Time
	// Conflict is asked once per well-formed TransactWriteItems call, with the
	// distinct names of its tables in the order of its actions; true cancels the
	// transaction with the reason TransactionConflict for every action, as AWS
	// does when another request holds an item. It is called without a lock
	// held and must be safe for concurrent use. Nil: never.
	Conflict func(tables []string) bool
}

// Tables is a set of DynamoDB tables. It is an http.Handler; RoundTripper
// serves the same in process. All methods may be called concurrently.
//
// Signatures are not checked, so any credentials do. A request without an
// Authorization header is refused as AWS refuses it, so that a client that
// forgot to sign is noticed. Reads are always strongly consistent, whatever
// ConsistentRead says; it counts only for the consumed capacity. Items are
// never removed by their time to live.
type Tables struct {
	now      func() time.Time
	conflict func([]string) bool
	requests atomic.Uint64

	mu      sync.Mutex
	tables  map[string]*table
	tokens  tokens
	journal *journal // nil in memory mode
	closed  bool
}

// Open starts a set of tables: an empty one in memory mode, else what the
// journal in Config.Dir holds. A last line without its end, left by a crash
// during a write that was never acknowledged, is dropped. Open fails on any
// other damage, and if another process has the directory open.
func Open(cfg Config) (*Tables, error) {
	t := &Tables{now: cfg.Now, conflict: cfg.Conflict, tables: make(map[string]*table)}
	if t.now == nil {
		t.now = time.Now
	}
	if cfg.Dir == "" {
		return t, nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the tables: %w", err)
	}
	j, err := openJournal(filepath.Join(cfg.Dir, journalName), t.apply)
	if err != nil {
		return nil, fmt.Errorf("opening the tables in %s: %w", cfg.Dir, err)
	}
	t.journal = j
	return t, nil
}

// Close releases the journal. Every later request is answered with
// InternalServerError. Closing twice is harmless.
func (t *Tables) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	if t.journal == nil {
		return nil
	}
	if err := t.journal.close(); err != nil {
		return fmt.Errorf("closing the journal of the tables: %w", err)
	}
	return nil
}

// errClosed answers what comes after Close.
var errClosed = errors.New("the tables are closed")

// commit makes an entry durable and then visible. The caller holds the lock.
func (t *Tables) commit(e entry) error {
	if t.journal != nil {
		if err := t.journal.append(e); err != nil {
			return internalError(err)
		}
	}
	return t.apply(e)
}

// apply makes an entry visible: a committed one, or one read back at Open. It
// fails only on an entry that this package did not write.
func (t *Tables) apply(e entry) error {
	if e.Create != nil {
		t.tables[e.Create.Name] = newTable(*e.Create)
	}
	if e.Drop != "" {
		delete(t.tables, e.Drop)
	}
	if e.TTL != nil {
		tbl, ok := t.tables[e.TTL.Table]
		if !ok {
			return fmt.Errorf("setting the time to live of %q: %w", e.TTL.Table, ErrUnknownTable)
		}
		tbl.ttl = e.TTL.Attribute
	}
	for _, c := range e.Changes {
		if err := t.change(c); err != nil {
			return err
		}
	}
	for _, d := range e.Restore {
		if err := t.restore(d); err != nil {
			return err
		}
	}
	if e.Token != nil {
		t.tokens.add(*e.Token)
	}
	return nil
}

func (t *Tables) change(c change) error {
	tbl, ok := t.tables[c.Table]
	if !ok {
		return fmt.Errorf("writing to %q: %w", c.Table, ErrUnknownTable)
	}
	if c.Put != nil {
		k, err := tbl.keyOf(c.Put)
		if err != nil {
			return err
		}
		tbl.put(k, c.Put)
		return nil
	}
	k, err := tbl.exactKey(c.Delete)
	if err != nil {
		return err
	}
	tbl.remove(k)
	return nil
}

// table finds a table by name; the caller holds the lock.
func (t *Tables) table(name string) (*table, error) {
	if t.closed {
		return nil, internalError(errClosed)
	}
	if tbl, ok := t.tables[name]; ok {
		return tbl, nil
	}
	if err := checkTableName(name); err != nil {
		return nil, err
	}
	return nil, tableNotFound(name)
}
