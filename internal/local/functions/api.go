package functions

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// routes is the part of Lambda's API that callers of a function use
// (https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html).
func (h *Host) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", answering(h.serveInvoke))
	mux.HandleFunc("GET /2015-03-31/functions/{name}", answering(h.serveFunction))
	mux.HandleFunc("GET /2015-03-31/functions/{name}/configuration", answering(h.serveConfiguration))
	mux.HandleFunc("GET /2015-03-31/functions/{name}/aliases/{alias}", answering(h.serveAlias))
	mux.HandleFunc("GET /2017-03-31/tags/{arn}", answering(h.serveTags))
	mux.HandleFunc("/", answering(func(http.ResponseWriter, *http.Request) error {
		return &Refusal{
			Status: http.StatusNotFound, Type: "UnknownOperationException",
			Message: "The local Lambda host does not know this operation.",
		}
	}))
	return mux
}

// answering turns an error into the answer that AWS would give.
func answering(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amzn-Requestid", newID())
		var err error = &Refusal{
			Status: http.StatusForbidden, Type: "MissingAuthenticationTokenException",
			Message: "Missing Authentication Token",
		}
		if r.Header.Get("Authorization") != "" {
			err = serve(w, r)
		}
		var refusal *Refusal
		switch {
		case err == nil:
			return
		case errors.Is(err, ErrDropConnection):
			panic(http.ErrAbortHandler)
		case !errors.As(err, &refusal):
			refusal = &Refusal{Status: http.StatusInternalServerError, Type: "ServiceException", Message: err.Error()}
		}
		w.Header().Set("X-Amzn-Errortype", refusal.Type)
		writeJSON(w, refusal.Status, refusal.body())
	}
}

// body is the error document: ResourceNotFoundException and ServiceException spell Message with a capital.
func (r *Refusal) body() map[string]string {
	body := map[string]string{"Type": "User", "message": r.Message}
	if r.Status >= http.StatusInternalServerError {
		body["Type"] = "Service"
	}
	if r.Type == "ResourceNotFoundException" || r.Type == "ServiceException" {
		delete(body, "message")
		body["Message"] = r.Message
	}
	if r.Reason != "" {
		body["Reason"] = r.Reason
	}
	return body
}

func writeJSON(w http.ResponseWriter, status int, document any) {
	body, _ := json.Marshal(document) // maps and structs of strings and numbers always marshal
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that is gone needs no answer
}

func (h *Host) serveInvoke(w http.ResponseWriter, r *http.Request) error {
	ref, err := h.parse(r.PathValue("name"), r.URL.Query().Get("Qualifier"))
	if err != nil {
		return err
	}
	f, err := h.lookup(ref)
	if err != nil {
		return err
	}
	kind := r.Header.Get("X-Amz-Invocation-Type")
	limit := syncLimit
	switch kind {
	case "":
		kind = "RequestResponse"
	case "RequestResponse", "DryRun":
	case "Event":
		limit = asyncLimit
	default:
		return &Refusal{
			Status: http.StatusBadRequest, Type: "InvalidParameterValueException",
			Message: "Unknown invocation type " + kind,
		}
	}
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return tooLarge(limit)
	}
	if err != nil {
		return invalidContent("Could not read the request body")
	}
	if payload, err = checkPayload(payload, limit); err != nil {
		return err
	}
	if kind == "DryRun" {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return h.dispatch(w, r, f, h.arn(ref), Invocation{
		RequestID: w.Header().Get("X-Amzn-Requestid"),
		Function:  ref.name, Qualifier: ref.qualifier, Type: kind, Payload: payload, Attempt: 1,
	})
}

func (h *Host) dispatch(w http.ResponseWriter, r *http.Request, f *function, arn string, invocation Invocation) error {
	if h.config.Before != nil {
		if err := h.config.Before(invocation); err != nil {
			return err
		}
	}
	if invocation.Type == "Event" {
		if err := h.enqueue(f, arn, invocation); err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	result, err := h.await(r.Context(), func() (Result, error) {
		result, err := h.run(f, newRequest(invocation.RequestID, arn, invocation.Payload))
		if err == nil {
			h.after(invocation, result)
		}
		return result, err
	})
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Amz-Executed-Version", result.ExecutedVersion)
	if result.FunctionError != "" {
		header.Set("X-Amz-Function-Error", result.FunctionError)
	}
	_, _ = w.Write(result.Payload) // a caller that is gone needs no answer
	return nil
}

func (h *Host) after(invocation Invocation, result Result) {
	if h.config.After != nil {
		h.config.After(invocation, result)
	}
}

// configuration is the part of Lambda's FunctionConfiguration that can be said of a local function.
type configuration struct {
	FunctionName     string
	FunctionArn      string
	Runtime          string
	Handler          string
	Timeout          int
	MemorySize       int
	Version          string
	State            string
	LastUpdateStatus string
	// LastModified is AWS's form of ISO 8601, to the millisecond.
	LastModified string
	Environment  variables
}

type variables struct{ Variables map[string]string }

func (h *Host) configurationOf(r *http.Request) (configuration, *code, error) {
	ref, err := h.parse(r.PathValue("name"), r.URL.Query().Get("Qualifier"))
	if err != nil {
		return configuration{}, nil, err
	}
	f, err := h.lookup(ref)
	if err != nil {
		return configuration{}, nil, err
	}
	h.mu.Lock()
	c := f.code
	h.mu.Unlock()
	env := map[string]string{}
	for _, entry := range c.Env {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return configuration{
		FunctionName: f.name, FunctionArn: h.arn(ref),
		Runtime: "provided.al2023", Handler: "bootstrap",
		// Whole seconds, as on AWS; a local timeout may be shorter.
		Timeout: int(max(c.Timeout, time.Second) / time.Second), MemorySize: c.MemoryMB,
		Version: latest, State: "Active", LastUpdateStatus: "Successful",
		LastModified: c.Modified.UTC().Format("2006-01-02T15:04:05.000-0700"),
		Environment:  variables{env},
	}, c, nil
}

func (h *Host) serveConfiguration(w http.ResponseWriter, r *http.Request) error {
	configuration, _, err := h.configurationOf(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, configuration)
	return nil
}

func (h *Host) serveFunction(w http.ResponseWriter, r *http.Request) error {
	configuration, code, err := h.configurationOf(r)
	if err != nil {
		return err
	}
	document := map[string]any{"Configuration": configuration, "Tags": code.Tags}
	if code.reserved {
		document["Concurrency"] = map[string]int{"ReservedConcurrentExecutions": code.MaxEnvironments}
	}
	writeJSON(w, http.StatusOK, document)
	return nil
}

// alias is Lambda's AliasConfiguration
// (https://docs.aws.amazon.com/lambda/latest/api/API_GetAlias.html).
type alias struct {
	AliasArn        string
	Name            string
	FunctionVersion string
}

func (h *Host) serveAlias(w http.ResponseWriter, r *http.Request) error {
	ref, err := h.parse(r.PathValue("name"), r.PathValue("alias"))
	if err != nil {
		return err
	}
	if ref.qualifier == latest {
		return notFound(h.arn(ref)) // a version, no alias
	}
	if _, err := h.lookup(ref); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, alias{AliasArn: h.arn(ref), Name: ref.qualifier, FunctionVersion: latest})
	return nil
}

// serveTags refuses a qualified ARN: tags belong to the function
// (https://docs.aws.amazon.com/lambda/latest/api/API_ListTags.html).
func (h *Host) serveTags(w http.ResponseWriter, r *http.Request) error {
	ref, err := h.parse(r.PathValue("arn"), "")
	if err != nil {
		return err
	}
	if h.arn(ref) != r.PathValue("arn") || ref.qualifier != "" {
		return &Refusal{
			Status: http.StatusBadRequest, Type: "InvalidParameterValueException",
			Message: "Tags on function aliases and versions are not supported. Please specify a function ARN.",
		}
	}
	f, err := h.lookup(ref)
	if err != nil {
		return err
	}
	h.mu.Lock()
	tags := f.code.Tags
	h.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]map[string]string{"Tags": tags})
	return nil
}
