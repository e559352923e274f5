package functions

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type processSignal = syscall.Signal

const (
	stop = syscall.SIGSTOP
	thaw = syscall.SIGCONT
	kill = syscall.SIGKILL
)

func checkPlatform() error {
	if _, err := os.Stat("/proc/self/task"); err != nil {
		return fmt.Errorf("freezing needs Linux's /proc: %w", err)
	}
	return nil
}

// spawner starts every process from one thread that lives as long as the host. The kernel sends a process its
// parent-death signal when the thread that created it exits, and Go ends threads as it likes, but not this one.
type spawner struct {
	starts chan func()
	ended  chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{starts: make(chan func()), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for start := range s.starts {
			start()
		}
	}()
	return s
}

// start starts a process that the kernel kills when the host dies, also a stopped one, and that leads a process group of
// its own: an interrupt typed at the host's terminal does not reach it, and what it starts is signalled with it.
func (s *spawner) start(command *exec.Cmd) error {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	result := make(chan error, 1)
	s.starts <- func() { result <- command.Start() }
	return <-result
}

func (s *spawner) close() {
	close(s.starts)
	<-s.ended
}

// sendSignal signals a process and what it has started. That it has ended in the meantime is no error.
func sendSignal(pid int, s processSignal) { _ = syscall.Kill(-pid, s) }

// allStopped reports whether every thread of a process is stopped. It fails when the process has ended.
func allStopped(pid int) (bool, error) {
	threads, err := threadsOf(pid)
	if err != nil {
		return false, err
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, thread))
		if gone(err) {
			return false, nil // a thread that ended; if it was the last, listing the threads fails next time
		}
		if err != nil {
			return false, fmt.Errorf("reading a thread's state: %w", err)
		}
		if fields := statFields(stat); len(fields) == 0 || fields[0] != "T" {
			return false, nil
		}
	}
	// A thread may have been born of one that still ran when the list was read.
	again, err := threadsOf(pid)
	return err == nil && len(again) == len(threads), err
}

// nap blocks the thread: a Go timer of less than a millisecond fires late, for the poller it waits in counts those.
func nap(d time.Duration) {
	interval := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&interval, nil) // interrupted is early, which does no harm
}

// exiting reports whether a process is on its way out, or gone, although its parent may not have been told yet.
func exiting(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := statFields(stat)
	if err != nil || len(fields) < 7 {
		return true
	}
	const exitingFlag = 0x4 // PF_EXITING of the kernel's task flags, see proc_pid_stat(5)
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return err != nil || flags&exitingFlag != 0 || fields[0] == "Z" || fields[0] == "X"
}

// statFields returns what follows the name in a stat file, from the state on: the name is in parentheses and may hold
// any character.
func statFields(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

func threadsOf(pid int) ([]string, error) {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, fmt.Errorf("listing the threads of process %d: %w", pid, err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("listing the threads of process %d: %w", pid, err)
	}
	return names, nil
}

// gone reports whether a file of /proc vanished with its thread.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }
