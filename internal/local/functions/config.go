package functions

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Config says how a [Host] presents itself. The zero value is usable.
type Config struct {
	// Region is the AWS Region in ARNs and in the environments' AWS_REGION; "" means eu-west-2.
	Region string
	// AccountID is the AWS account in ARNs; "" means 111122223333, AWS's documentation account.
	AccountID string
	// Output returns where an environment's stdout and stderr go; it is called once per environment, before its process
	// starts, and the writer is used by one goroutine at a time. A nil Output or a nil writer discards them.
	Output func(function, environment string) io.Writer
	// Before runs before each invocation that came over the HTTP Invoke API is dispatched (not for a DryRun; for an
	// Event once, when it is accepted). A nil error lets it pass. A [*Refusal] becomes the HTTP answer,
	// [ErrDropConnection] closes the connection without one, any other error is a ServiceException with status 500.
	// It is called concurrently and may call every method of the host but Close. Nil means no hook.
	Before func(Invocation) error
	// After runs after each attempt of such an invocation that reached an environment, before its answer is written.
	// It is called concurrently and may call every method of the host but Close. Nil means no hook.
	After func(Invocation, Result)
	// AsyncMinute is how long a minute of the asynchronous retry schedule lasts; 0 means a minute. On that scale an
	// Event whose function fails is tried again after one minute and then after two; a throttled one after a second,
	// doubled up to five minutes, for six hours
	// (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
	AsyncMinute time.Duration
}

// Function is a function's code and configuration.
type Function struct {
	// Name is the function's name: 1 to 64 letters, digits, hyphens and underscores.
	Name string
	// Command is the program of the function with its arguments; it must speak the Lambda Runtime API. The path is
	// looked up as [os/exec.Command] does.
	Command []string
	// Env holds "NAME=value" entries. They win over what the environment gets from the host (see [Host.Deploy]).
	Env []string
	// Timeout is how long one invocation may take, until the environment asks for the next; 0 means 3 s, as on AWS.
	Timeout time.Duration
	// MaxEnvironments is the reserved concurrency: how many invocations may run at once; 0 means 1000.
	MaxEnvironments int
	// MemoryMB is what the function is told in AWS_LAMBDA_FUNCTION_MEMORY_SIZE; 0 means 128. It is not enforced.
	MemoryMB int
	// Extensions are the programs of external extensions with their arguments: each runs beside the function's in every
	// environment and must speak the Extensions API. One that ends ends its environment, as on AWS.
	Extensions [][]string
	// PortVariable names a variable that is set to another free port in each environment: on AWS each has a network of its
	// own, here an extension could not listen at one and the same. "" sets none.
	PortVariable string
	// NoFreeze leaves the processes running between invocations, as on Lambda Managed Instances: so extensions are not told
	// of invocations.
	NoFreeze bool
	// Aliases are the qualifiers beside $LATEST under which the function can be reached; all stand for $LATEST.
	Aliases []string
	// Modified is when its code or configuration is said to have been changed last; zero means when it is deployed.
	Modified time.Time
	// Tags are what ListTags and GetFunction show.
	Tags map[string]string
}

// Result is what one invocation of a function came to.
type Result struct {
	// Payload is the function's answer, or AWS's error object if FunctionError is set.
	Payload []byte
	// FunctionError is "" for an answer and "Unhandled" for an error, a crash or a timeout.
	FunctionError string
	// ExecutedVersion is the version that ran: always $LATEST.
	ExecutedVersion string
	// Environment is the ID of the environment that ran it.
	Environment string
	// PID is that environment's process; 0 if none could be started.
	PID int
}

// Invocation is one call of a function as a hook sees it.
type Invocation struct {
	// RequestID is the id that the function sees; the attempts of one Event share it.
	RequestID string
	// Function is the function's name.
	Function string
	// Qualifier is the version or alias asked for; "" if none was.
	Qualifier string
	// Type is "RequestResponse" or "Event".
	Type string
	// Payload is the event; it must not be changed.
	Payload []byte
	// Attempt counts from 1; above 1 only for an Event that failed before.
	Attempt int
}

// State is what an environment is doing.
type State string

// The states of an environment. Frozen and Idle are at rest: they take an invocation.
const (
	Starting State = "starting" // its process has not asked for an event yet
	Busy     State = "busy"     // from the hand-over of an event until it is at rest again
	Frozen   State = "frozen"   // every thread of its process is stopped
	Idle     State = "idle"     // waiting, but running: a function with NoFreeze
	Ended    State = "ended"    // its process is gone
)

// Environment describes an execution environment at one moment.
type Environment struct {
	// ID names it within the host: the function's name, "#" and a number that counts from 1.
	ID string
	// Function is the name of its function.
	Function string
	// PID is its process; 0 while that is being started.
	PID int
	// ExtensionPIDs are the processes of its extensions, in their order.
	ExtensionPIDs []int
	// LogStream is its AWS_LAMBDA_LOG_STREAM_NAME.
	LogStream string
	// State is what it is doing.
	State State
	// FrozenSince is when its last thread was seen stopped; zero unless State is Frozen.
	FrozenSince time.Time
	// Invocations is how many events it has been handed.
	Invocations int
}

// Refusal is an answer of Lambda's API that says no: the function did not run.
type Refusal struct {
	// Status is the HTTP status, for example 429.
	Status int
	// Type is AWS's error type, for example TooManyRequestsException.
	Type string
	// Message is the text for people.
	Message string
	// Reason is AWS's ThrottleReason; "" for every type but TooManyRequestsException.
	Reason string
}

// Error returns the type, the message and, if there is one, the reason.
func (r *Refusal) Error() string {
	if r.Reason != "" {
		return fmt.Sprintf("%s: %s (%s)", r.Type, r.Message, r.Reason)
	}
	return r.Type + ": " + r.Message
}

var (
	// ErrDropConnection, returned by Config.Before, closes the caller's connection without an answer.
	ErrDropConnection = errors.New("dropping the connection")
	// ErrClosed is returned once [Host.Close] has been called.
	ErrClosed = errors.New("host is closed")
	// ErrUnknownEnvironment is returned for an environment ID that the host does not know.
	ErrUnknownEnvironment = errors.New("unknown environment")
	// ErrNotAtRest is returned by [Host.InvokeIdle] for an environment that is neither idle nor frozen.
	ErrNotAtRest = errors.New("environment is not at rest")
)
