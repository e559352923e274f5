//go:build lambdaartifact

package main

import (
	"context"
	"fmt"
)

// serving returns what this process is on Lambda.
func serving() func(context.Context, []string, stdio) int { return serve }

// run says that this build has no command line.
func run(_ context.Context, _ []string, std stdio) int {
	fmt.Fprintln(std.err, "broadcaster: this build is the Lambda artifact, without the command line: build it without the tag lambdaartifact")
	return 2
}
