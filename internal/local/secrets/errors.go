package secrets

import "fmt"

// Code names a kind of error as AWS does. It is an error itself, so that
// errors.Is(err, secrets.ResourceNotFound) works.
type Code string

// The codes of errors that this package returns.
const (
	ResourceNotFound Code = "ResourceNotFoundException"
	ResourceExists   Code = "ResourceExistsException"
	InvalidRequest   Code = "InvalidRequestException"
	InvalidParameter Code = "InvalidParameterException"
	InvalidNextToken Code = "InvalidNextTokenException"
	LimitExceeded    Code = "LimitExceededException"
	// Validation is for what AWS refuses before the operation begins, and for
	// what this package does not support.
	Validation Code = "ValidationException"
)

// Error implements error.
func (c Code) Error() string { return string(c) }

// Error is a refused call. It never holds a secret value.
type Error struct {
	Code    Code
	Message string // AWS's words where they are known
}

// Error implements error.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns the code.
func (e *Error) Unwrap() error { return e.Code }

func refuse(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func notFound() error {
	return refuse(ResourceNotFound, "Secrets Manager can't find the specified secret.")
}

func markedForDeletion() error {
	return refuse(InvalidRequest, "You can't perform this operation on the secret because it was marked for deletion.")
}
