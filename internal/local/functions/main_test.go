//go:build linux

package functions_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// The test binary is also the function, when a host starts it as one, an extension of it, a host of its own that a test
// kills, and a process that a function starts.
const (
	extensionRole = "functions-test-extension" // an argument
	hostRole      = "FUNCTIONS_TEST_HOST"
	childRole     = "FUNCTIONS_TEST_CHILD"
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == extensionRole:
		runExtension(os.Args[2])
	case os.Getenv("AWS_LAMBDA_RUNTIME_API") != "":
		runFunction()
	case os.Getenv(hostRole) != "":
		runDoomedHost(os.Getenv(hostRole))
	case os.Getenv(childRole) != "":
		_ = (&function{}).meet(os.Getenv(childRole))
	default:
		os.Exit(m.Run())
	}
}

// event says what the function is to do.
type event struct {
	Do   string `json:"do,omitempty"`
	Dial string `json:"dial,omitempty"` // an address to call before anything else; see meeting
}

// report is what the function answers: what an environment knows of itself.
type report struct {
	PID       int      `json:"pid"`
	Count     int      `json:"count"` // invocations seen by this process: its global state
	LogStream string   `json:"logStream"`
	RequestID string   `json:"requestId"`
	ARN       string   `json:"arn"`
	Remaining int64    `json:"remainingMs"`
	Environ   []string `json:"environ,omitempty"`
}

func runFunction() {
	switch os.Getenv("START") {
	case "exit":
		os.Exit(3)
	case "init-error":
		body := strings.NewReader(`{"errorType":"Test.NoConfig","errorMessage":"nothing to start with"}`)
		reply, err := http.Post("http://"+os.Getenv("AWS_LAMBDA_RUNTIME_API")+"/2018-06-01/runtime/init/error", "application/json", body)
		if err == nil {
			_ = reply.Body.Close()
		}
		os.Exit(1)
	}
	f := &function{}
	lambda.Start(f.handle)
}

type function struct {
	count int
	kept  net.Conn
}

func (f *function) handle(ctx context.Context, e event) (*report, error) {
	f.count++
	if e.Do == "start a child" {
		child := exec.Command(os.Args[0])
		child.Env = []string{childRole + "=" + e.Dial}
		return nil, child.Start()
	}
	if e.Dial != "" {
		if err := f.meet(e.Dial); err != nil {
			return nil, err
		}
	}
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	r := &report{
		PID: os.Getpid(), Count: f.count, LogStream: lambdacontext.LogStreamName,
		RequestID: lc.AwsRequestID, ARN: lc.InvokedFunctionArn, Remaining: deadline.UnixMilli(),
	}
	switch e.Do {
	case "":
	case "environ":
		r.Environ = os.Environ()
	case "fail":
		return nil, errors.New("as asked")
	case "panic":
		panic("as asked")
	case "exit":
		os.Exit(7)
	case "exit 0":
		os.Exit(0)
	case "hang":
		select {}
	case "spin":
		var turns atomic.Int64
		go func() {
			for { // burns CPU, to show that a frozen process does not
				turns.Add(1)
			}
		}()
	case "answer at length":
		r.Environ = []string{strings.Repeat("x", 6<<20)}
	case "print":
		fmt.Println("a line on stdout")
		fmt.Fprintln(os.Stderr, "a line on stderr")
	}
	return r, nil
}

// meet reports to the test and waits to be let go on. The connection stays open, so its end is the process's end.
func (f *function) meet(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	f.kept = conn
	if _, err := fmt.Fprintln(conn, os.Getpid()); err != nil {
		return err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}
