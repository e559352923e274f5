package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// The operations that are not just passed on
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Operations.html).
const (
	getSecretValue      = "GetSecretValue"
	batchGetSecretValue = "BatchGetSecretValue"
	describeSecret      = "DescribeSecret"
)

// A request is what those operations are asked that this endpoint knows how to answer.
type request struct {
	SecretID     string   `json:"SecretId,omitempty"`
	VersionID    string   `json:"VersionId,omitempty"`
	VersionStage string   `json:",omitempty"`
	SecretIDList []string `json:"SecretIdList,omitempty"`
}

// serveJSON answers a request of Secrets Manager's own protocol, which must be signed with this environment's credentials.
func (e *Endpoint) serveJSON(w http.ResponseWriter, r *http.Request) {
	region, body, err := e.receive(w, r)
	if err != nil {
		e.refused.requests.warn(e.logger, "a request of Secrets Manager's protocol was refused", "error", err)
		e.refuse(w, err)
		return
	}
	operation := strings.TrimPrefix(r.Header.Get(targetHeader), targetPrefix)
	isOwn := region == e.passage.region
	if isOwn && e.answer(w, r, operation, body) {
		return
	}
	answer, err := e.passage.pass(r.Context(), region, operation, body, r.Header)
	if isOwn && !isRead(operation) && (err != nil || !answer.isRefused()) {
		e.changed(body)
	}
	if err != nil {
		e.refuse(w, err)
		return
	}
	if isOwn && operation == describeSecret && answer.status == http.StatusOK {
		answer.body = e.agree(r.Context(), body, answer.body)
	}
	answer.write(w)
}

// receive returns the Region that a request is for, and its body, if it is signed with this environment's own credentials.
// What can be seen without the body is looked at before it is read.
func (e *Endpoint) receive(w http.ResponseWriter, r *http.Request) (region string, body []byte, err error) {
	if r.Method != http.MethodPost || r.URL.Path != "/" || r.URL.RawQuery != "" {
		return "", nil, refuse("UnknownOperationException", "Secrets Manager's operations are posted to /")
	}
	s, err := e.claimed(r)
	if err != nil {
		return "", nil, err
	}
	if body, err = e.bodies.read(w, r); err != nil {
		return "", nil, err
	}
	return s.region, body, s.verify(r, body)
}

// refuse answers with an error as AWS does.
func (e *Endpoint) refuse(w http.ResponseWriter, err error) {
	refused := refusalOf(err)
	send(w, refused.status, contentType, encode(refused))
}

// answer answers what the cache knows, or returns false: then it is for Secrets Manager itself, which also says what is
// wrong with a request that makes no sense.
func (e *Endpoint) answer(w http.ResponseWriter, r *http.Request, operation string, body []byte) bool {
	in, ok := parseRequest(body)
	want := wanted{in.SecretID, in.VersionID, in.VersionStage}
	switch {
	case !ok:
		return false
	case operation == getSecretValue && in.SecretID != "" && want.isCurrent() && len(in.SecretIDList) == 0:
		if !e.follows(in.SecretID) {
			e.observe(in.SecretID)
			return false
		}
		got, err := e.read(r.Context(), want, false)
		if err != nil {
			e.refuse(w, err)
			return true
		}
		send(w, http.StatusOK, contentType, encode(got.forJSON()))
		return true
	case operation == batchGetSecretValue && len(in.SecretIDList) > 0 && len(in.SecretIDList) <= maxBatch && want == wanted{}:
		if !slices.ContainsFunc(in.SecretIDList, e.follows) {
			e.observe(in.SecretIDList...)
			return false
		}
		send(w, http.StatusOK, contentType, encode(e.batch(r.Context(), in.SecretIDList)))
		return true
	default:
		return false
	}
}

// follows reports whether an SDK's reads of AWSCURRENT are answered from the cache. Without this endpoint an SDK asks Secrets
// Manager each time: what no log tells of is not kept from it.
func (e *Endpoint) follows(id string) bool { return e.modeOf(id) == secretcache.On }

// observe has the cache read what the function reads past it while the log is only observed: what would be invalidated is
// counted by what the cache holds.
func (e *Endpoint) observe(ids ...string) {
	for _, id := range ids {
		if e.modeOf(id) == secretcache.Observe {
			go func() { _, _ = e.current.get(context.Background(), id, false) }() // the function does not wait for it
		}
	}
}

func (e *Endpoint) modeOf(id string) secretcache.Mode {
	if !e.caches {
		return secretcache.Off
	}
	return e.cache.ModeOf(id)
}

// maxBatch is how many secrets a batch may name.
const maxBatch = 20

// parseRequest reads a request, or returns false if there is more in it than this endpoint knows of. It reads member by
// member: encoding/json takes a name in any case, and the last of two that are the same.
func parseRequest(body []byte) (in request, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return request{}, false
	}
	members := map[any]any{
		"SecretId": &in.SecretID, "VersionId": &in.VersionID, "VersionStage": &in.VersionStage, "SecretIdList": &in.SecretIDList,
	}
	for decoder.More() {
		name, err := decoder.Token()
		member := members[name]
		delete(members, name)
		if err != nil || member == nil || decoder.Decode(member) != nil {
			return request{}, false
		}
	}
	if _, err := decoder.Token(); err != nil {
		return request{}, false
	}
	_, err := decoder.Token()
	return in, errors.Is(err, io.EOF)
}

// A batch is an answer to BatchGetSecretValue.
type batch struct {
	SecretValues []value
	Errors       []batchError
}

type batchError struct {
	SecretID  string `json:"SecretId"`
	ErrorCode string
	Message   string
}

// batch reads several secrets at once; those that cannot be read are told beside the others.
func (e *Endpoint) batch(ctx context.Context, ids []string) batch {
	values, errs := make([]found, len(ids)), make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			if want := (wanted{id: id}); e.follows(id) {
				values[i], errs[i] = e.read(ctx, want, false)
			} else {
				values[i], errs[i] = e.passage.get(ctx, want.body())
			}
		})
	}
	wg.Wait()
	out := batch{SecretValues: []value{}, Errors: []batchError{}}
	for i, id := range ids {
		if errs[i] != nil {
			refused := refusalOf(errs[i])
			out.Errors = append(out.Errors, batchError{id, refused.Type, refused.Message})
			continue
		}
		out.SecretValues = append(out.SecretValues, values[i].forJSON())
	}
	return out
}

// changed has a secret that was changed through this endpoint be read anew, or that may have been since no answer came: whoever
// changes one and then reads it sees what was written, as without this endpoint. Other versions are read seldom: all of them
// go.
func (e *Endpoint) changed(body []byte) {
	var asked struct {
		ID   string `json:"SecretId"`
		Name string // of one that is created
	}
	_ = json.Unmarshal(body, &asked) // Secrets Manager has understood it, or nothing was changed
	e.cache.Changed(asked.ID)
	e.cache.Changed(asked.Name)
	e.versions.forgetAll()
}
