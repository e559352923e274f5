package wire_test

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas compiles the schemas after each has been edited.
func schemas(t *testing.T, edit func(schema any)) map[string]*jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	paths, err := filepath.Glob("schema/*.schema.json")
	if err != nil || len(paths) != 4 {
		t.Fatalf("got %v, %v; want four schemas", paths, err)
	}
	for _, path := range paths {
		schema := decode(t, golden(t, "../"+path))
		if err := compiler.AddResource("test:///"+filepath.Base(path), edited(schema, edit)); err != nil {
			t.Fatal(err)
		}
	}
	out := map[string]*jsonschema.Schema{}
	for _, path := range paths {
		name := filepath.Base(path)
		schema, err := compiler.Compile("test:///" + name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[strings.TrimSuffix(name, ".schema.json")] = schema
	}
	return out
}

func edited(schema any, edit func(any)) any {
	edit(schema)
	return schema
}

func decode(t *testing.T, content []byte) any {
	t.Helper()
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eachObject calls f for every schema of an object inside a schema.
func eachObject(schema any, f func(object map[string]any)) {
	switch s := schema.(type) {
	case map[string]any:
		if s["type"] == "object" {
			f(s)
		}
		for _, inner := range s {
			eachObject(inner, f)
		}
	case []any:
		for _, inner := range s {
			eachObject(inner, f)
		}
	}
}

func TestGoldensFitTheirSchemas(t *testing.T) {
	compiled := schemas(t, func(any) {})
	for folder, schema := range compiled {
		for _, name := range goldens(t, folder) {
			if err := schema.Validate(decode(t, golden(t, folder+"/"+name+".json"))); err != nil {
				t.Errorf("%s/%s: %v", folder, name, err)
			}
		}
	}
	for _, name := range goldens(t, "malformed") {
		if compiled["invalidation"].Validate(decode(t, golden(t, "malformed/"+name+".json"))) == nil {
			t.Errorf("malformed/%s fits the schema", name)
		}
	}
}

// TestSchemasKnowEveryField: with unknown members forbidden, each golden that has none must still fit.
func TestSchemasKnowEveryField(t *testing.T) {
	strict := schemas(t, func(schema any) {
		eachObject(schema, func(object map[string]any) { object["additionalProperties"] = false })
	})
	for folder, schema := range strict {
		for _, name := range goldens(t, folder) {
			err := schema.Validate(decode(t, golden(t, folder+"/"+name+".json")))
			if known := name != "with-unknown-fields"; (err == nil) != known {
				t.Errorf("%s/%s: %v", folder, name, err)
			}
		}
	}
}

// TestGoldensShowEveryField: what no golden shows no client's tests try.
func TestGoldensShowEveryField(t *testing.T) {
	for folder := range schemas(t, func(any) {}) {
		want := map[string]bool{}
		eachObject(decode(t, golden(t, "../schema/"+folder+".schema.json")), func(object map[string]any) {
			properties, ok := object["properties"].(map[string]any)
			if !ok {
				t.Errorf("%s: an object without properties", folder)
			}
			for name := range properties {
				want[name] = true
			}
		})
		for _, name := range goldens(t, folder) {
			eachMember(decode(t, golden(t, folder+"/"+name+".json")), func(name string) { delete(want, name) })
		}
		if len(want) > 0 {
			t.Errorf("no golden in %s has %v", folder, slices.Sorted(maps.Keys(want)))
		}
	}
}

func eachMember(value any, f func(name string)) {
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			f(name)
			eachMember(inner, f)
		}
	case []any:
		for _, inner := range v {
			eachMember(inner, f)
		}
	}
}

func TestSchemasRefuseWhatWouldBeMisread(t *testing.T) {
	compiled := schemas(t, func(any) {})
	for _, test := range []struct {
		golden string
		why    string
		edit   func(message map[string]any)
	}{
		{"row/moved", "a hash is 64 lower-case digits", func(m map[string]any) { m["hash"] = strings.ToUpper(m["hash"].(string)) }},
		{"row/moved", "a later row names the one before", func(m map[string]any) { delete(m, "previousHash") }},
		{"row/first", "the first row has none before", func(m map[string]any) { m["previousHash"] = m["hash"] }},
		{"row/moved", "times are RFC 3339", func(m map[string]any) { m["time"] = "23 November 2026" }},
		{"row/moved", "a name is no ARN", func(m map[string]any) {
			firstOf(m, "changes")["name"] = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:a"
		}},
		{"row/moved", "what moved has a version", func(m map[string]any) { delete(firstOf(m, "changes"), "versionId") }},
		{"row/deleted", "what is deleted has none", func(m map[string]any) { firstOf(m, "changes")["versionId"] = version1 }},
		{"row/moved", "kinds are known", func(m map[string]any) { firstOf(m, "changes")["kind"] = "rotated" }},
		{"row/moved", "revisions are whole", func(m map[string]any) { m["revision"] = 41.5 }},
		{"ack/failed", "a failure has a reason", func(m map[string]any) { delete(firstOf(m, "secrets"), "reason") }},
		{"ack/applied", "outcomes are known", func(m map[string]any) { firstOf(m, "secrets")["outcome"] = "done" }},
		{"ack/applied", "an ack is of an environment", func(m map[string]any) { delete(m, "environment") }},
		{"report/current", "who is off does not report", func(m map[string]any) { m["mode"] = "off" }},
		{"report/current", "counts do not fall below zero", func(m map[string]any) { m["counts"].(map[string]any)["checks"] = -1 }},
	} {
		folder, _, _ := strings.Cut(test.golden, "/")
		message, ok := decode(t, golden(t, test.golden+".json")).(map[string]any)
		if !ok {
			t.Fatalf("%s is no object", test.golden)
		}
		test.edit(message)
		if compiled[folder].Validate(message) == nil {
			t.Errorf("%s fits although %s", test.golden, test.why)
		}
	}
}

// firstOf returns the first object of a message's list.
func firstOf(message map[string]any, list string) map[string]any {
	return message[list].([]any)[0].(map[string]any)
}

// TestMalformedGoldensHaveTheirErrorBeside: and no error lacks its golden.
func TestMalformedGoldensHaveTheirErrorBeside(t *testing.T) {
	beside := func(ending string) []string {
		paths, err := filepath.Glob("testdata/malformed/*" + ending)
		if err != nil {
			t.Fatal(err)
		}
		for i, path := range paths {
			paths[i] = strings.TrimSuffix(path, ending)
		}
		slices.Sort(paths)
		return paths
	}
	if diff := cmp.Diff(beside(".json"), beside(".error")); diff != "" {
		t.Error(diff)
	}
}
