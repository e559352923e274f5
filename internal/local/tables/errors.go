package tables

import (
	"errors"
	"fmt"
	"net/http"
)

// The namespaces that DynamoDB puts before an error's name.
const (
	nsDynamo   = "com.amazonaws.dynamodb.v20120810#"
	nsValidate = "com.amazon.coral.validate#"
	nsService  = "com.amazon.coral.service#"
)

// ErrUnknownTable is what Backup returns for a table that is not there.
var ErrUnknownTable = errors.New("no such table")

// apiError is an error answer as a client sees it.
type apiError struct {
	status  int
	kind    string // with its namespace
	message string
	item    item     // ConditionalCheckFailedException with ALL_OLD, else nil
	reasons []reason // TransactionCanceledException, else nil
	perItem bool     // in a transaction this cancels, with the reason ValidationError
}

// reason says why one action of a transaction did or did not fail.
type reason struct {
	Code    string `json:"Code"`
	Message string `json:"Message,omitempty"`
	Item    item   `json:"Item,omitempty"`
}

func (e *apiError) Error() string { return e.kind + ": " + e.message }

// invalid is the ValidationException with that text.
func invalid(format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, kind: nsValidate + "ValidationException", message: fmt.Sprintf(format, args...)}
}

// invalidItem is invalid for what AWS reports per action of a transaction.
func invalidItem(format string, args ...any) *apiError {
	err := invalid(format, args...)
	err.perItem = true
	return err
}

// unsupported refuses, loudly, what AWS has and this package has not.
func unsupported(what string) *apiError {
	return invalid("the local tables endpoint does not support %s", what)
}

func dynamoError(name, message string) *apiError {
	return &apiError{status: http.StatusBadRequest, kind: nsDynamo + name, message: message}
}

func serviceError(name, message string) *apiError {
	return &apiError{status: http.StatusBadRequest, kind: nsService + name, message: message}
}

func internalError(err error) *apiError {
	return &apiError{status: http.StatusInternalServerError, kind: nsDynamo + "InternalServerError", message: err.Error()}
}

func tableNotFound(name string) *apiError {
	return dynamoError("ResourceNotFoundException", "Requested resource not found: Table: "+name+" not found")
}

func conditionFailed(old item) *apiError {
	err := dynamoError("ConditionalCheckFailedException", "The conditional request failed")
	err.item = old
	return err
}

// body is the error as JSON. TransactionCanceledException alone has its
// message under a capital M, as AWS sends it.
func (e *apiError) body() any {
	if e.reasons != nil {
		return struct {
			Type    string   `json:"__type"`
			Message string   `json:"Message"`
			Reasons []reason `json:"CancellationReasons"`
		}{e.kind, e.message, e.reasons}
	}
	return struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
		Item    item   `json:"Item,omitempty"`
	}{e.kind, e.message, e.item}
}

// perItem marks an error as one that AWS reports per action of a transaction.
func perItem(err error) error {
	var e *apiError
	if !errors.As(err, &e) {
		return err
	}
	marked := *e
	marked.perItem = true
	return &marked
}
