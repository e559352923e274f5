package functions

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

const latest = "$LATEST"

// reference is a function as a caller names it.
type reference struct {
	name      string
	qualifier string // "" if none was given
}

var (
	namePattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	// The forms of FunctionName in https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html:
	// the name, the partial ARN and the ARN, each with or without a qualifier.
	referencePattern = regexp.MustCompile(
		`^(?:(?:arn:aws[a-zA-Z-]*:lambda:([a-z0-9-]+):)?([0-9]{12}):function:)?([a-zA-Z0-9_-]{1,64})(?::(\$LATEST|[a-zA-Z0-9_-]+))?$`)
)

// parse reads a function's name, partial ARN or ARN. The qualifier of the query must not contradict the name's.
func (h *Host) parse(text, queryQualifier string) (reference, error) {
	match := referencePattern.FindStringSubmatch(text)
	if match == nil {
		return reference{}, &Refusal{
			Status: http.StatusBadRequest, Type: "ValidationException",
			Message: fmt.Sprintf("'%s' at 'functionName' is neither a function's name nor its ARN", text),
		}
	}
	region, account := match[1], match[2]
	ref := reference{name: match[3], qualifier: match[4]}
	switch {
	case queryQualifier == "":
	case ref.qualifier == "":
		ref.qualifier = queryQualifier
	case ref.qualifier != queryQualifier:
		return reference{}, &Refusal{
			Status: http.StatusBadRequest, Type: "InvalidParameterValueException",
			Message: "The derived qualifier from the function name does not match the specified qualifier.",
		}
	}
	if region != "" && region != h.region || account != "" && account != h.account {
		return reference{}, notFound(text)
	}
	return ref, nil
}

// lookup returns the function that a reference means.
func (h *Host) lookup(ref reference) (*function, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.functions[ref.name]
	if f == nil {
		return nil, notFound(h.arn(ref))
	}
	if ref.qualifier != "" && ref.qualifier != latest && !slices.Contains(f.code.Aliases, ref.qualifier) {
		return nil, notFound(h.arn(ref))
	}
	return f, nil
}

// arn returns the ARN with which a function is invoked: with the qualifier, if the caller gave one.
func (h *Host) arn(ref reference) string {
	parts := []string{"arn:aws:lambda", h.region, h.account, "function", ref.name}
	if ref.qualifier != "" {
		parts = append(parts, ref.qualifier)
	}
	return strings.Join(parts, ":")
}

func notFound(function string) *Refusal {
	return &Refusal{
		Status: http.StatusNotFound, Type: "ResourceNotFoundException",
		Message: "Function not found: " + function,
	}
}

func throttled() *Refusal {
	return &Refusal{
		Status: http.StatusTooManyRequests, Type: "TooManyRequestsException", Message: "Rate Exceeded.",
		Reason: "ReservedFunctionConcurrentInvocationLimitExceeded",
	}
}

func invalidContent(message string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Type: "InvalidRequestContentException", Message: message}
}

func tooLarge(limit int) *Refusal {
	return &Refusal{
		Status: http.StatusRequestEntityTooLarge, Type: "RequestTooLargeException",
		Message: fmt.Sprintf("Request must be smaller than %d bytes for the InvokeFunction operation", limit),
	}
}
