//go:build unix

package tables

import (
	"os"
	"syscall"
)

// lock takes the file for this process; the system gives it back when the
// process ends, however it ends.
func lock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
