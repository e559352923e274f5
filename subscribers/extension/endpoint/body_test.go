package endpoint_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// pipes are connections in memory, to which a test's clock applies. It implements net.Listener.
type pipes struct {
	dialed chan net.Conn
	closed chan struct{}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialed:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// listen serves the endpoint, and returns what makes callers.
func (w *world) listen() (dial func() *caller) {
	p := &pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: w.endpoint, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(p) }()
	w.t.Cleanup(func() {
		_ = server.Close()
		time.Sleep(time.Second) // it is later that net/http gives up the last of them
	})
	return func() *caller {
		ours, theirs := net.Pipe()
		p.dialed <- theirs
		w.t.Cleanup(func() { _ = ours.Close() })
		return &caller{w.t, ours, bufio.NewReader(ours)}
	}
}

// A caller has a connection to the endpoint.
type caller struct {
	t   testing.TB
	net net.Conn
	in  *bufio.Reader
}

// send sends a request with so much of its body, whose length it says.
func (c *caller) send(method, path, body string, length int, headers ...string) {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n", method, path, length)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] != "Content-Length" {
			fmt.Fprintf(&out, "%s: %s\r\n", headers[i], headers[i+1])
		}
	}
	fmt.Fprintf(&out, "\r\n%s", body)
	if _, err := io.WriteString(c.net, out.String()); err != nil {
		c.t.Error(err)
	}
}

// answer waits for an answer; the status is 0 if none comes.
func (c *caller) answer() (status int, body string) {
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Error(err)
	}
	return response.StatusCode, string(content)
}

// strangers are more than are answered at once.
const strangers = 840

// TestStrangersBodiesAreNotAwaited: however many they are, the function is answered.
func TestStrangersBodiesAreNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(password, "first")
		stranger := ownCredentials()
		stranger.AccessKeyID = "AKIDSTRANGER"
		put := func(c aws.Credentials, at time.Time) []string {
			return signedBy(t, c, at, "PutSecretValue", "{}", "secretsmanager", region)
		}
		kinds := []struct {
			method, path string
			headers      []string
			want         string
		}{
			{"POST", "/", []string{"X-Amz-Target", "secretsmanager.ListSecrets"}, "MissingAuthenticationTokenException"},
			{"POST", "/", put(stranger, time.Now()), "UnrecognizedClientException"},
			{"POST", "/", put(ownCredentials(), time.Now().Add(-time.Hour)), "Signature expired"},
			{"GET", "/v1/" + password, nil, "Bad Token"},
		}
		answers := make([]string, strangers)
		dial := w.listen()
		for i := range answers {
			kind, other := kinds[i%len(kinds)], dial()
			go func() {
				// net/http awaits what is left of the shorter ones.
				other.send(kind.method, kind.path, "{", []int{1 << 20, 100_000}[i/len(kinds)%2], kind.headers...)
				_, answers[i] = other.answer()
			}()
		}
		synctest.Wait()
		w.wantText("/v1/"+password, "first")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for i, answer := range answers {
			if want := kinds[i%len(kinds)].want; !strings.Contains(answer, want) {
				t.Fatalf("a stranger got %q, want %s", answer, want)
			}
		}
	})
}

// TestBodiesThatDoNotCome: whoever knows the id of the function's key, but not the key, may send so much and for so long,
// and the function is answered.
func TestBodiesThatDoNotCome(t *testing.T) {
	for _, c := range []struct{ callers, length, awaited int }{{20, 1 << 20, 8}, {20, 4 << 20, 8}, {strangers, 100, 400}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.put(password, "first")
			dial := w.listen()
			forger := ownCredentials()
			forger.SecretAccessKey = "another-key"
			read := `{"SecretId":"` + password + `"}`
			answered := make(chan string, c.callers)
			for range c.callers {
				other := dial()
				go func() {
					other.send("POST", "/", "{", c.length, signedBy(t, forger, time.Now(), "PutSecretValue", "{}", "secretsmanager", region)...)
					status, body := other.answer()
					answered <- fmt.Sprint(status, " ", body)
				}()
			}
			synctest.Wait()
			if awaited := c.callers - len(answered); awaited != c.awaited {
				t.Errorf("%d bodies of %d bytes are awaited at once, want %d", awaited, c.length, c.awaited)
			}
			own := dial()
			for range 2 {
				own.send("POST", "/", read, len(read), w.signed("GetSecretValue", read)...)
				if status, body := own.answer(); status != 200 || !strings.Contains(body, `"first"`) {
					t.Errorf("the function got %d %s", status, body)
				}
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			for range c.callers {
				select {
				case got := <-answered:
					if got != `503 {"__type":"ServiceUnavailable","message":"the request's body did not come in time"}` {
						t.Fatalf("got %s", got)
					}
				default:
					t.Fatal("a body is still waited for")
				}
			}
		})
	}
}

// TestTimeIsLimitedForBodiesOnly: not for what is asked for, nor between two requests.
func TestTimeIsLimitedForBodiesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.behind(func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(time.Minute):
				return w.vault.RoundTripper().RoundTrip(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		own := w.listen()()
		body := `{"MaxResults":1}`
		for range 2 {
			go func() {
				own.send("POST", "/", body[:1], len(body), signedBy(t, ownCredentials(), time.Now(), "ListSecrets", body, "secretsmanager", region)...)
				time.Sleep(4 * time.Second)
				if _, err := io.WriteString(own.net, body[1:]); err != nil {
					t.Error(err)
				}
			}()
			if status, answer := own.answer(); status != 200 {
				t.Errorf("got %d %s", status, answer)
			}
			time.Sleep(time.Hour)
		}
	})
}
