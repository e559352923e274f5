package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// A build says what this program was made of, as far as the Go tool recorded it.
type build struct {
	// Version is the module's version, "(devel)" outside of a released one.
	Version string `json:"version"`
	// Revision is the commit; empty if the program was not built from a checkout.
	Revision string `json:"revision,omitempty"`
	// Modified: the checkout was not as committed.
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build{Version: "unknown", Go: runtime.Version()}
	}
	is := build{Version: info.Main.Version, Go: info.GoVersion}
	if is.Version == "" { // a test's binary
		is.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			is.Revision = s.Value
		case "vcs.modified":
			is.Modified = s.Value == "true"
		}
	}
	return is
}

// String is the one line that people read.
func (b build) String() string {
	revision := b.Revision
	switch {
	case revision == "":
		revision = "unknown"
	case b.Modified:
		revision += " (modified)"
	}
	return fmt.Sprintf("broadcaster %s, revision %s, %s", b.Version, revision, b.Go)
}
