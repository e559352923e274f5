//go:build !linux

package functions

import (
	"errors"
	"os/exec"
	"time"
)

var errPlatform = errors.New("freezing needs Linux's /proc")

// On other systems the package compiles, so that programs which offer it there still build, and New refuses.

type processSignal int

const (
	stop processSignal = iota
	thaw
	kill
)

func checkPlatform() error { return errPlatform }

type spawner struct{}

func newSpawner() *spawner             { return &spawner{} }
func (*spawner) start(*exec.Cmd) error { return errPlatform }
func (*spawner) close()                {}
func sendSignal(int, processSignal)    {}
func allStopped(pid int) (bool, error) { return false, errPlatform }
func exiting(int) bool                 { return true }
func nap(time.Duration)                {}
