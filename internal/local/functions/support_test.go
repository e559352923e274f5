//go:build linux

package functions_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
)

// patience bounds every wait for something that will come; a test that needs it has failed.
const patience = 30 * time.Second

func newHost(t testing.TB, config functions.Config) *functions.Host {
	t.Helper()
	h, err := functions.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// deploy deploys this test binary as a function.
func deploy(t testing.TB, h *functions.Host, fn functions.Function) {
	t.Helper()
	if fn.Command == nil {
		fn.Command = []string{self(t)}
	}
	if err := h.Deploy(fn); err != nil {
		t.Fatal(err)
	}
}

func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func invoke(t testing.TB, h *functions.Host, name string, e event) functions.Result {
	t.Helper()
	result, err := h.Invoke(t.Context(), name, payload(t, e))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func payload(t testing.TB, e event) []byte {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, r functions.Result) report {
	t.Helper()
	if r.FunctionError != "" {
		t.Fatalf("function error %s: %s", r.FunctionError, r.Payload)
	}
	var got report
	if err := json.Unmarshal(r.Payload, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// client is AWS's own, told nothing but the endpoint.
func client(h *functions.Host) *lambda.Client {
	return lambda.New(lambda.Options{
		Region:           "eu-west-2",
		BaseEndpoint:     aws.String(h.Endpoint()),
		RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "placeholder", SecretAccessKey: "placeholder"}, nil
		}),
	})
}

func environmentOf(t testing.TB, h *functions.Host, id string) functions.Environment {
	t.Helper()
	for _, e := range h.Environments() {
		if e.ID == id {
			return e
		}
	}
	t.Fatalf("no environment %q", id)
	return functions.Environment{}
}

// meeting is where functions report and wait until the test lets them go on: so a test knows that they run at once.
type meeting struct {
	t        testing.TB
	listener net.Listener
}

type guest struct {
	pid  int
	conn net.Conn
}

func newMeeting(t testing.TB) *meeting {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return &meeting{t, listener}
}

func (m *meeting) address() string { return m.listener.Addr().String() }

// await waits until n functions are here.
func (m *meeting) await(n int) []guest {
	m.t.Helper()
	if err := m.listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	guests := make([]guest, 0, n)
	for range n {
		conn, err := m.listener.Accept()
		if err != nil {
			m.t.Fatal(err)
		}
		m.t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			m.t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			m.t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			m.t.Fatal(err)
		}
		guests = append(guests, guest{pid, conn})
	}
	return guests
}

// letGo lets a function go on.
func (m *meeting) letGo(guests ...guest) {
	m.t.Helper()
	for _, g := range guests {
		if _, err := fmt.Fprintln(g.conn); err != nil {
			m.t.Fatal(err)
		}
	}
}

// cpuTicks is the CPU time that a process has used, in clock ticks.
func cpuTicks(t testing.TB, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// utime and stime are the 14th and 15th fields; the second, the name, is in parentheses.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return ticks
}

// threadStates is one letter per thread of a process.
func threadStates(t testing.TB, pid int) string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var states strings.Builder
	for _, task := range tasks {
		stat, err := os.ReadFile(dir + "/" + task.Name() + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		states.WriteByte(stat[strings.LastIndexByte(string(stat), ')')+2])
	}
	return states.String()
}
