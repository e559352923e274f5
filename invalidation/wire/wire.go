// Package wire holds the contracts between the broadcaster and its clients: the row of the change log, the
// Invalidation that a push carries, the Ack that answers it and the Report of an execution environment.
//
// It is a leaf: it imports the standard library only, and both the broadcaster and every client import it. The JSON
// Schemas beside it (schema/) and the golden files (testdata/) are the contract for clients in other languages.
// Two rules hold for all of it: readers ignore fields they do not know, and Schema grows only when an old reader would
// misunderstand a new message. No type here can hold a secret value: names and version ids only.
package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Schema is the version of the contracts in this package.
const Schema = 1

// MaxRowBytes bounds an encoded Row, so that a check that finds one new row costs one DynamoDB read unit
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html: 4 KB). It leaves room
// for the item's keys and attribute names.
const MaxRowBytes = 3800

// Source and DetailType name an Invalidation among all the events a function may receive.
const (
	Source     = "secret-broadcaster"
	DetailType = "Secret Changed"
)

// Kind says what happened to a secret's AWSCURRENT.
type Kind string

// The kinds of a Change.
const (
	Moved    Kind = "moved"    // AWSCURRENT names another version: rotation, update or rollback
	Deleted  Kind = "deleted"  // the secret cannot be read any more
	Restored Kind = "restored" // a deleted secret can be read again, or its name was created anew
	Refresh  Kind = "refresh"  // the same version, fetch it again: announced by hand, or AWSCURRENT was elsewhere in between
)

// Change is one confirmed change of one secret.
type Change struct {
	// Name is the secret's name, never an ARN: the ARN of a recreated secret differs.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// VersionID is the version that AWSCURRENT names after the change; empty for Deleted. It is opaque and never ordered.
	VersionID string `json:"versionId,omitempty"`
	// At is Secrets Manager's LastChangedDate as the broadcaster read it, or, for a secret that was not found any more,
	// when the first such answer came.
	At time.Time `json:"at"`
}

// Row is one row of the change log of an (env, domain), and the detail of an Invalidation.
type Row struct {
	Schema   int    `json:"schema"`
	Env      string `json:"env"`
	Domain   string `json:"domain"`
	Revision int64  `json:"revision"`
	// Time is when the broadcaster appended the row, by its own clock.
	Time time.Time `json:"time"`
	// PreviousHash is the Hash of the row before; empty for revision 1.
	PreviousHash string `json:"previousHash,omitempty"`
	// AuditHash is the Hash of the revision's audit record, which says what made it, so that the chain covers that too. Clients
	// have no use for it.
	AuditHash string   `json:"auditHash,omitempty"`
	Changes   []Change `json:"changes"`
	// Hash is the hexadecimal SHA-256 of the row's body: see Seal.
	Hash string `json:"hash,omitempty"`
}

// ErrHash reports a row whose body is not what its hash was made of.
var ErrHash = errors.New("row does not match its hash")

// Seal encodes the row without its hash, sets Hash to the body's SHA-256 and returns the body. The body's bytes are
// what a store keeps beside the hash, so that a chain written by a newer broadcaster can still be verified.
func (r *Row) Seal() (body []byte, err error) {
	unsealed := *r
	unsealed.Hash = ""
	body, err = json.Marshal(unsealed)
	if err != nil {
		return nil, fmt.Errorf("encoding row %d: %w", r.Revision, err)
	}
	r.Hash = Hash(body)
	return body, nil
}

// OpenRow decodes a row's body as kept by a store and gives it its hash. It does not verify the hash: clients trust
// who may write the log, auditors call Verify. Of a row with a newer schema, which may write its changes in another way, it
// returns at least where it stands in the log: a reader that could not pass it would never see what follows.
func OpenRow(body []byte, hash string) (Row, error) {
	var r Row
	if err := json.Unmarshal(body, &r); err != nil && !r.openNewer(body) {
		return Row{}, fmt.Errorf("decoding row: %w", err)
	}
	r.Hash = hash
	return r, nil
}

// openNewer decodes a row with a newer schema without its changes, and returns false if that is not what it is.
func (r *Row) openNewer(body []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return false
	}
	members["changes"] = json.RawMessage("[]")
	text, err := json.Marshal(members)
	*r = Row{}
	return err == nil && json.Unmarshal(text, r) == nil && r.Schema > Schema
}

// Verify returns ErrHash if body is not what hash was made of.
func Verify(body []byte, hash string) error {
	if Hash(body) != hash {
		return ErrHash
	}
	return nil
}

// Hash is the hexadecimal SHA-256 of a text.
func Hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
