package functions

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// placeholder is what stands where Lambda has credentials: clients need some to sign with, nobody checks them.
const placeholder = "placeholder"

// variables returns the environment of a new process. Of equal names the last one counts.
func (e *environment) variables() []string {
	var all []string
	for _, entry := range os.Environ() {
		if !lambdas(entry) {
			all = append(all, entry)
		}
	}
	name := e.function.name
	all = append(
		all,
		"AWS_REGION="+e.host.region,
		"AWS_DEFAULT_REGION="+e.host.region,
		"AWS_ACCESS_KEY_ID="+placeholder,
		"AWS_SECRET_ACCESS_KEY="+placeholder,
		"AWS_SESSION_TOKEN="+placeholder,
		// On Lambda there are no such files; a developer's own must not change what a function does.
		"AWS_CONFIG_FILE="+os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
		"AWS_LAMBDA_FUNCTION_NAME="+name,
		"AWS_LAMBDA_FUNCTION_VERSION="+latest,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE="+strconv.Itoa(e.code.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/"+name,
		"AWS_LAMBDA_LOG_STREAM_NAME="+e.logStream,
		"_HANDLER=bootstrap",
	)
	if e.code.PortVariable != "" {
		all = append(all, e.code.PortVariable+"="+e.port)
	}
	all = append(all, e.code.Env...)
	return append(all, "AWS_LAMBDA_RUNTIME_API="+e.api.address)
}

// freePort returns a port that nobody listens at.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

// extensionVariables returns the environment of an extension: without what is the runtime's own
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html).
func (e *environment) extensionVariables() []string {
	return slices.DeleteFunc(e.variables(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "AWS_LAMBDA_LOG_GROUP_NAME" || name == "AWS_LAMBDA_LOG_STREAM_NAME" || name == "_HANDLER"
	})
}

// lambdas reports whether a variable of the host is one that only Lambda or an AWS configuration would set.
func lambdas(entry string) bool {
	for _, prefix := range []string{"AWS_", "LAMBDA_", "_LAMBDA_", "_HANDLER=", "_X_AMZN_"} {
		if strings.HasPrefix(entry, prefix) {
			return true
		}
	}
	return false
}
