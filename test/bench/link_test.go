package bench

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// oneWay is how long anything takes from one end of a link to the other.
const oneWay = 2500 * time.Microsecond

// A link is a way to a server that takes time: what either end sends arrives oneWay later. Connecting takes a round trip.
type link struct {
	listener net.Listener
	server   string

	mu   sync.Mutex
	open map[net.Conn]bool // both ends of each connection
	wg   sync.WaitGroup
}

func newLink(b *testing.B, server string) *link {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	l := &link{listener: listener, server: server, open: map[net.Conn]bool{}}
	l.wg.Go(l.accept)
	b.Cleanup(func() {
		listener.Close() // nobody connects any more
		l.drop()
		l.wg.Wait()
	})
	return l
}

func (l *link) address() string { return l.listener.Addr().String() }

// drop ends every connection, as a long freeze does.
func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for end := range l.open {
		end.Close() // it may have ended by itself
	}
	clear(l.open)
}

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.server)
		if err != nil {
			client.Close() // the client sees it
			continue
		}
		l.mu.Lock()
		l.open[client], l.open[server] = true, true
		l.mu.Unlock()
		l.carry(server, client, 2*oneWay) // the client may have sent before its connection would have been there
		l.carry(client, server, 0)
	}
}

// carry brings what src sends to dst. The first of it is later by owed.
func (l *link) carry(dst, src net.Conn, owed time.Duration) {
	type flight struct {
		due  time.Time
		sent []byte
	}
	flights := make(chan flight, 1024)
	l.wg.Go(func() {
		defer close(flights)
		for buffer := make([]byte, 64<<10); ; owed = 0 {
			n, err := src.Read(buffer)
			if err != nil {
				return
			}
			flights <- flight{time.Now().Add(oneWay + owed), append([]byte(nil), buffer[:n]...)}
		}
	})
	l.wg.Go(func() {
		for f := range flights {
			time.Sleep(time.Until(f.due))
			dst.Write(f.sent) //nolint:errcheck // whoever waits for it sees it
		}
		dst.Close() // as src is
	})
}

// roundTrips returns what a round trip over a link takes here and now: more than two ways, for timers are late.
func roundTrips(b *testing.B) func() time.Duration {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		defer listener.Close() // one connection only
		c, err := listener.Accept()
		if err == nil {
			io.Copy(c, c) //nolint:errcheck // ends with the link
		}
	}()
	c, err := net.Dial("tcp", newLink(b, listener.Addr().String()).address())
	if err != nil {
		b.Fatal(err)
	}
	trip := func() time.Duration {
		return timed(func() {
			if _, err := c.Write([]byte{1}); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				b.Fatal(err)
			}
		})
	}
	trip() // it pays for connecting
	return trip
}
