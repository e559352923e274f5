// Package replaced tells a pool which of its connections log in with a version of the secret that is not current any more.
package replaced

import "sync"

// Versions are those that have become current since a pool was made. The zero value is for a new pool. It is safe for
// concurrent use.
type Versions struct {
	mu      sync.Mutex
	changes int
	current string // the last one's id; empty before the first change
}

// Changed notes that another version has become current.
func (v *Versions) Changed(versionID string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changes++
	v.current = versionID
}

// SoFar returns how often that has happened. It is asked before a value is read, so that a change in between counts.
func (v *Versions) SoFar() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changes
}

// Since reports whether a version that was read after so many changes has been replaced. AWSPENDING's has not: it has been
// read after the last change, or it is what has become current.
func (v *Versions) Since(soFar int, versionID string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return soFar != v.changes && versionID != v.current
}
