package endpoint

import (
	"context"
	"encoding/json"
	"slices"
)

// agree makes an answer to DescribeSecret agree with what is read here. Caching clients ask which version AWSCURRENT names
// and then for that version: DescribeSecret may answer late, and the log knows better.
func (e *Endpoint) agree(ctx context.Context, body, answer []byte) []byte {
	in, _ := parseRequest(body)
	secret := e.current.of(in.SecretID)
	var members map[string]json.RawMessage
	var described struct {
		Labels map[string][]string `json:"VersionIdsToStages"`
	}
	if secret == nil || !secret.Follows() || json.Unmarshal(answer, &members) != nil || json.Unmarshal(answer, &described) != nil || described.Labels == nil {
		return answer
	}
	current := ""
	for _, again := range []bool{false, true} {
		if again {
			secret.Expire() // it may be the cache that does not know yet
		}
		v, err := secret.Get(ctx)
		if err != nil || slices.Contains(described.Labels[v.VersionID()], currentLabel) {
			return answer // what cannot be read is not for this endpoint to describe
		}
		current = v.VersionID()
	}
	moveCurrent(described.Labels, current)
	members["VersionIdsToStages"] = encode(described.Labels)
	return encode(members)
}

// moveCurrent puts AWSCURRENT onto the version that is current.
func moveCurrent(labels map[string][]string, versionID string) {
	for id, on := range labels {
		on = slices.DeleteFunc(on, func(label string) bool { return label == currentLabel })
		if labels[id] = on; len(on) == 0 {
			delete(labels, id) // a version without labels is not described
		}
	}
	labels[versionID] = append(labels[versionID], currentLabel)
}
