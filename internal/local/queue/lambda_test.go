//go:build linux

package queue_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
)

// A real process takes a batch and is killed: nothing was deleted, so the next environment gets the same messages.
func TestAKilledFunctionGetsItsMessagesAgain(t *testing.T) {
	host, err := functions.New(functions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close() }()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Deploy(functions.Function{Name: "broadcaster", Command: []string{path}, Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	results := make(chan functions.Result, 10)
	q := queue.New(queue.Config{
		Invoke: func(ctx context.Context, payload []byte) ([]byte, string, error) {
			result, err := host.Invoke(ctx, "broadcaster", payload)
			results <- result
			return result.Payload, result.FunctionError, err
		},
		VisibilityTimeout: 20 * time.Millisecond,
		Concurrency:       1, // while the batch is with the function it does not come again
	})
	id := q.Send(listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go q.Run(ctx)

	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != id {
		t.Fatalf("the function has %q (%v), sent was %s", line, err, id)
	}
	if err := host.Kill("broadcaster#1"); err != nil {
		t.Fatal(err)
	}
	if err := q.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 2 {
		r := <-results
		got = append(got, fmt.Sprintf("%s %s", r.Environment, r.FunctionError))
	}
	if diff := cmp.Diff([]string{"broadcaster#1 Unhandled", "broadcaster#2 "}, got); diff != "" {
		t.Error(diff)
	}
	if dead := q.Dead(); len(dead) != 0 {
		t.Errorf("dead: %+v", dead)
	}
}
