//go:build !unix

package tables

import "os"

// lock does nothing where there is no flock: two processes on one directory
// are then the user's to avoid.
func lock(*os.File) error { return nil }
