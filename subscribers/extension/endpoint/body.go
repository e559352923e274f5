package endpoint

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// Until its body has been read nobody knows for certain who has sent a request. So bodies are read for a short time, and only
// so many and so much of them at once: what is awaited longest makes room for what comes, which is never refused for it.
const (
	// maxBodyBytes bounds a body: a value of 64 KB grows when it is written as JSON.
	maxBodyBytes = 1 << 20
	// bodyTime bounds how long a body may take. Whoever sends it is on the same machine.
	bodyTime = 5 * time.Second
	// maxBodies leaves half of the requests that are answered at once to those whose body has come.
	maxBodies = maxRequests / 2
	// maxBodiesBytes bounds all bodies together.
	maxBodiesBytes = 8 << 20
)

// bodies are the bodies that are being read.
type bodies struct {
	mu      sync.Mutex
	awaited []*awaited // the longest first
	bytes   int64
}

type awaited struct {
	connection *http.ResponseController
	bytes      int64 // it may have as many
}

// read returns a request's body, or a refusal.
func (b *bodies) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	one := &awaited{http.NewResponseController(w), maxBodyBytes}
	if r.ContentLength >= 0 && r.ContentLength < maxBodyBytes {
		one.bytes = r.ContentLength
	}
	b.begin(one)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	b.end(one)
	var tooLong *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &tooLong):
		return nil, &refusal{http.StatusRequestEntityTooLarge, "SerializationException", "the request is longer than 1 MB"}
	case errors.Is(err, os.ErrDeadlineExceeded): // what any client tries again
		return nil, &refusal{http.StatusServiceUnavailable, unavailable, "the request's body did not come in time"}
	default:
		return nil, refuse("SerializationException", "the request cannot be read")
	}
}

func (b *bodies) begin(one *awaited) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.awaited) >= maxBodies || b.bytes+one.bytes > maxBodiesBytes {
		longest := b.awaited[0]
		_ = longest.connection.SetReadDeadline(time.Now())
		b.remove(longest)
	}
	b.awaited = append(b.awaited, one)
	b.bytes += one.bytes
}

func (b *bodies) end(one *awaited) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(one)
}

// remove removes a body, unless it has made room for another.
func (b *bodies) remove(one *awaited) {
	if i := slices.Index(b.awaited, one); i >= 0 {
		b.awaited = slices.Delete(b.awaited, i, i+1)
		b.bytes -= one.bytes
	}
}

// limitBody bounds how long a request's body is awaited, also by net/http, which reads what nobody else has read. When it has
// come net/http lifts the limit.
func limitBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	}
}
