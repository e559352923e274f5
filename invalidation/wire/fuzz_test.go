package wire_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// FuzzParseInvalidation plants a canary in the payload, at a place that the fuzzer chooses: whatever the payload, it is
// parsed without a panic, and no error quotes it.
func FuzzParseInvalidation(f *testing.F) {
	for _, folder := range []string{"invalidation", "malformed", "other"} {
		for _, name := range goldens(f, folder) {
			for place := range 24 { // as many as the longest of them has
				f.Add(golden(f, folder+"/"+name+".json"), uint8(place))
			}
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte, place uint8) {
		check(t, payload)
		var content any
		if json.Unmarshal(payload, &content) != nil {
			return
		}
		left := int(place)
		planted, err := json.Marshal(plant(content, &left))
		if err != nil {
			t.Fatal(err)
		}
		check(t, planted)
	})
}

func check(t *testing.T, payload []byte) {
	t.Helper()
	inv, ours, err := wire.ParseInvalidation(payload)
	switch {
	case err == nil && ours:
		if d := inv.Detail; d.Schema != wire.Schema || d.Env == "" || d.Domain == "" || d.Revision < 1 || d.Hash == "" {
			t.Errorf("accepted although incomplete: %+v", d)
		}
	case err == nil:
	case !ours:
		t.Errorf("an error for what is not ours: %v", err)
	case !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrNewerSchema):
		t.Errorf("an error of no kind: %v", err)
	case strings.Contains(err.Error(), canary):
		t.Errorf("the error quotes the payload: %v", err)
	}
}

// plant puts the canary in the place of one value, or before one member's name, of those that do not make an event ours.
func plant(value any, left *int) any {
	here := func() bool {
		*left--
		return *left == -1
	}
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inner := v[name]
			if name != "source" && name != "detail-type" {
				if here() {
					name = canary + name
				}
				inner = plant(inner, left)
			}
			out[name] = inner
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = plant(inner, left)
		}
		return out
	}
	if here() {
		return canary
	}
	return value
}
