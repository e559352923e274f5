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
	w.Header().Set(requestIDHeader, newRequestID()) // unless it becomes AWS's own
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
	answer, err := e.passOn(r, region, operation, body)
	if err != nil {
		e.troubles.failed(operation, strings.Join(idsIn(body), " "), err)
		e.refuse(w, err)
		return
	}
	if answer.status >= http.StatusBadRequest {
		e.troubles.refused(operation, strings.Join(idsIn(body), " "), answer.asRefusal())
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
	case operation == getSecretValue && in.SecretID != "" && want.isCurrent() && in.SecretIDList == nil:
		if !e.follows(in.SecretID) {
			e.observe(in.SecretID)
			return false
		}
		got, err := e.read(r.Context(), want, false)
		if err != nil {
			e.troubles.failed(operation, in.SecretID, err)
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
		got, err := e.batch(r.Context(), in.SecretIDList)
		if err != nil {
			e.refuse(w, err)
			return true
		}
		send(w, http.StatusOK, contentType, encode(got))
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

// parseRequest reads a request, or returns false if there is more in it than this endpoint knows of, or a member that is
// empty: Secrets Manager has none of these.
func parseRequest(body []byte) (in request, ok bool) {
	members := map[string]any{
		"SecretId": &in.SecretID, "VersionId": &in.VersionID, "VersionStage": &in.VersionStage, "SecretIdList": &in.SecretIDList,
	}
	isKnown := true
	ok = eachMember(body, func(name string, value json.RawMessage) {
		member := members[name]
		delete(members, name)
		isKnown = isKnown && member != nil && !isEmpty(value) && json.Unmarshal(value, member) == nil
	})
	return in, ok && isKnown && !slices.Contains(in.SecretIDList, "")
}

func isEmpty(value json.RawMessage) bool { return string(value) == `""` || string(value) == "null" }

// idsIn returns what a request calls the secret that it is about: of two that are named, Secrets Manager may take either.
func idsIn(body []byte) (ids []string) {
	eachMember(body, func(name string, value json.RawMessage) {
		var id string
		if (name == "SecretId" || name == "Name") && json.Unmarshal(value, &id) == nil {
			ids = append(ids, id)
		}
	})
	return ids
}

// eachMember tells the members of an object, in their order, or returns false if the body is none: Secrets Manager then has
// not understood it either. encoding/json itself takes a name in any case, and the last of two that are the same.
func eachMember(body []byte, tell func(name string, value json.RawMessage)) bool {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return false
	}
	for decoder.More() {
		name, err := decoder.Token()
		var value json.RawMessage
		if err != nil || decoder.Decode(&value) != nil {
			return false
		}
		tell(name.(string), value) // no other token comes before a value
	}
	if _, err := decoder.Token(); err != nil {
		return false
	}
	_, err := decoder.Token()
	return errors.Is(err, io.EOF)
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

// batch reads several secrets at once. What is wrong with one of them is told beside the others; any other error is of the
// whole batch: a client asks again for what fails, not for what has an answer.
func (e *Endpoint) batch(ctx context.Context, ids []string) (batch, error) {
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
		if errs[i] == nil {
			out.SecretValues = append(out.SecretValues, values[i].forJSON())
			continue
		}
		e.troubles.failed(getSecretValue, id, errs[i])
		refused := refusalOf(errs[i])
		if !refused.isOfOneSecret() {
			return batch{}, errs[i]
		}
		out.Errors = append(out.Errors, batchError{id, refused.Type, refused.Message})
	}
	return out, nil
}

// passOn has Secrets Manager itself answer. Whoever changes a secret and then reads it sees what was written, as without this
// endpoint: until a write is over nobody knows what is current, and what may have been changed is read anew after it. That is
// so too if who asked for it leaves, since a write that was sent may be done all the same: so it is waited for. Other
// versions are read seldom: all of them go.
func (e *Endpoint) passOn(r *http.Request, region, operation string, body []byte) (passed, error) {
	if isRead(operation) || region != e.passage.region {
		return e.passage.pass(r.Context(), region, operation, body, r.Header)
	}
	over := e.cache.Changing(idsIn(body)...)
	answer, err := e.passage.pass(r.Context(), region, operation, body, r.Header)
	mayBeDone := err != nil || !answer.isRefused()
	if mayBeDone {
		e.versions.forgetAll()
	}
	over(mayBeDone)
	return answer, err
}
