package endpoint

import (
	"context"
	"encoding/json"
	"slices"
)

// agree makes an answer to DescribeSecret agree with what is read here. Caching clients ask which version AWSCURRENT names
// and then for that version: DescribeSecret may answer with what was before a change that the log has told of.
func (e *Endpoint) agree(ctx context.Context, body, answer []byte) []byte {
	in, ok := parseRequest(body)
	var members map[string]json.RawMessage
	var described struct {
		ARN             string
		LastChangedDate float64
		Labels          map[string][]string `json:"VersionIdsToStages"`
	}
	if !ok || json.Unmarshal(answer, &members) != nil || json.Unmarshal(answer, &described) != nil || described.Labels == nil {
		return answer
	}
	change, ok := e.cache.Recent(ctx, in.SecretID, described.ARN)
	if !ok || change.VersionID == "" || timeOf(described.LastChangedDate).UnixMilli() >= change.At.UnixMilli() {
		return answer
	}
	moveCurrent(described.Labels, change.VersionID)
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
