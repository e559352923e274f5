package endpoint

import (
	"log/slog"
	"sync"
	"time"
)

// A rarely logs what may come without end: the first time, then once a minute at the most, with how often it came.
type rarely struct {
	mu    sync.Mutex
	last  time.Time
	times int // since then
}

func (r *rarely) warn(logger *slog.Logger, message string, attributes ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times++; time.Since(r.last) >= time.Minute {
		logger.Warn(message, append(attributes, "times", r.times)...)
		r.last, r.times = time.Now(), 0
	}
}
