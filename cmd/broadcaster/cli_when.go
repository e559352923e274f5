//go:build !lambdaartifact

package main

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var errWhen = errors.New("must be how long ago, as 30m, 12h or 7d, or a time, as 2026-11-23 or 2026-11-23T10:00:00Z")

// when is a flag's point in time: how long ago, or a time. The zero when is not set.
type when struct{ time.Time }

// Set implements pflag.Value.
func (w *when) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return errWhen
		}
		w.Time = time.Now().Add(-time.Duration(n) * 24 * time.Hour)
		return nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		w.Time = time.Now().Add(-ago)
		return nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(form, text); err == nil {
			w.Time = at.UTC()
			return nil
		}
	}
	return errWhen
}

// String implements pflag.Value.
func (w *when) String() string {
	if w.IsZero() {
		return ""
	}
	return w.UTC().Format(time.RFC3339)
}

// Type implements pflag.Value.
func (w *when) Type() string { return "when" }
