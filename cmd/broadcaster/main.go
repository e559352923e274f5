// Program broadcaster makes every change of a secret known to the functions that cache it: a Lambda function where the
// Lambda Runtime API is, else a command line tool. This package reads the configuration, makes the AWS clients and
// translates between the outside and package invalidation; what is decided about a change is not decided here.
//
// Built with the tag lambdaartifact it is the Lambda function only: nothing of the command line is linked.
package main

import (
	"context"
	"io"
	"os"
	"time"
)

// stdio is what a process reads from and writes to.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	now      func() time.Time
}

func main() {
	std := stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr, now: time.Now}
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		os.Exit(serving()(context.Background(), os.Environ(), std))
	}
	os.Exit(run(context.Background(), os.Args[1:], std))
}
