package events_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/events"
)

// FuzzParse: nothing makes Parse panic, end without a result or with an unknown outcome, and fields that it does not read
// change nothing, so that no value in one can come out.
func FuzzParse(f *testing.F) {
	for _, file := range cases(f) {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		results := events.Parse(payload)
		if len(results) == 0 {
			t.Error("no result")
		}
		for _, r := range results {
			check(t, r)
		}
		var decoded any
		if json.Unmarshal(payload, &decoded) != nil {
			return
		}
		want, got := events.Parse(marshal(t, decoded)), events.Parse(marshal(t, plant(decoded)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("a field that is not read made a difference (-without +with):\n%s", diff)
		}
		if text := shown(t, got); strings.Contains(text, canary) && !strings.Contains(shown(t, want), canary) {
			t.Errorf("what is not read has leaked:\n%s", text)
		}
	})
}

// plant puts a canary into every object, also into the events that are text in messages.
func plant(v any) any {
	switch v := v.(type) {
	case []any:
		with := make([]any, len(v))
		for i, element := range v {
			with[i] = plant(element)
		}
		return with
	case map[string]any:
		with := map[string]any{
			"secretString": canary, "SecretBinary": []any{canary}, "secretValue": map[string]any{"AWSCURRENT": canary},
			"description": canary, "errorMessage": canary, "rotationToken": canary, "requestParameters": map[string]any{"secretString": canary},
		}
		for key, element := range v {
			if text, ok := element.(string); ok && (strings.EqualFold(key, "body") || strings.EqualFold(key, "message")) {
				with[key] = plantInText(text)
				continue
			}
			with[key] = plant(element)
		}
		return with
	default:
		return v
	}
}

func plantInText(text string) string {
	var event any
	if json.Unmarshal([]byte(text), &event) != nil || event == nil {
		return text
	}
	planted, err := json.Marshal(plant(event))
	if err != nil {
		return text
	}
	return string(planted)
}
