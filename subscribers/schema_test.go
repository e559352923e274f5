package subscribers_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const schemaFile = "schema/manifest.schema.json"

type object = map[string]any

// generate makes the JSON Schema of the manifest from its Go types: names, types and what is required from the fields,
// descriptions from their comments, examples from their tags.
func generate(t *testing.T) []byte {
	t.Helper()
	schema := objectSchema(t, reflect.TypeFor[subscribers.Manifest]())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Manifest of secret subscriptions"
	schema["description"] = "Which services of a domain want to know of changed secrets."
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func objectSchema(t *testing.T, of reflect.Type) object {
	t.Helper()
	properties, required := object{}, []string{}
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		property := object{}
		switch f.Type.Kind() {
		case reflect.String:
			property["type"] = "string"
		case reflect.Slice:
			property["type"] = "array"
			property["items"] = object{"type": "string"}
			if f.Type.Elem().Kind() == reflect.Struct {
				property["items"] = objectSchema(t, f.Type.Elem())
			}
		default:
			t.Fatalf("%s.%s: the generator does not know a %s", of.Name(), f.Name, f.Type)
		}
		limit(t, of.Name()+"."+f.Name, property)
		property["description"] = comment(t, of.Name(), f.Name)
		var example any
		if err := yaml.Unmarshal([]byte(f.Tag.Get("example")), &example); err != nil || example == nil {
			t.Fatalf("%s.%s: the example is %v, %v", of.Name(), f.Name, example, err)
		}
		property["examples"] = []any{example}
		properties[name] = property
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	return object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

// fieldNames returns all fields' names as the document writes them.
func fieldNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for prefix, of := range map[string]reflect.Type{
		"": reflect.TypeFor[subscribers.Manifest](), "services[].": reflect.TypeFor[subscribers.Service](),
	} {
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("yaml"), ",")
			names = append(names, prefix+name)
		}
	}
	return names
}

// limit adds what the checks demand and a type does not say.
func limit(t *testing.T, field string, property object) {
	t.Helper()
	const (
		character = `[A-Za-z0-9_+=.@-]`
		segment   = `(\*\*|\*|(\*?` + character + `)+\*?)`
	)
	limits := map[string]object{
		"Manifest.APIVersion": {"const": subscribers.APIVersion},
		"Manifest.Env":        {"pattern": subscribers.PlaceForm},
		"Manifest.Domain":     {"pattern": subscribers.PlaceForm},
		"Manifest.Owner":      {"pattern": `^\S(.*\S)?$`, "maxLength": subscribers.MaxOwner},
		"Manifest.Services":   {},
		"Manifest.OnDelete":   {"enum": []string{"evict", "ttl"}, "default": "evict"},
		"Service.Name":        {"pattern": subscribers.ServiceForm},
		"Service.Function":    {"pattern": subscribers.FunctionForm},
		"Service.Secrets": {"minItems": 1, "uniqueItems": true, "items": object{
			"type": "string", "maxLength": subscribers.MaxName - len("/bank/e/d/"),
			"pattern": `^(\*\*|` + segment + `(/` + segment + `)+)$`, "not": object{"pattern": `(^|/)\.\.?(/|$)`},
		}},
		"Service.Deliver": {"enum": []string{"push", "pull"}, "default": "push"},
	}
	more, ok := limits[field]
	if !ok {
		t.Fatalf("say what the schema demands of %s", field)
	}
	for name, value := range more {
		property[name] = value
	}
}

// comment returns the comment above a struct's field.
func comment(t *testing.T, of, name string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "subscriptions.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != of {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			if f.Names[0].Name == name {
				text = strings.Join(strings.Fields(f.Doc.Text()), " ")
			}
		}
		return false
	})
	if text == "" {
		t.Fatalf("%s.%s has no comment", of, name)
	}
	return text
}

// accepts compiles the schema and returns a function that tells whether a manifest fits it.
func accepts(t testing.TB) func(text []byte) error {
	t.Helper()
	file, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("test:///manifest", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("test:///manifest")
	if err != nil {
		t.Fatal(err)
	}
	return func(text []byte) error {
		var value any
		if err := yaml.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &value); err != nil {
			return err
		}
		return schema.Validate(value)
	}
}

func TestSchemaIsGeneratedFromTheTypes(t *testing.T) {
	golden(t, schemaFile, string(generate(t)))
}

func TestSchemaTakesWhatLoads(t *testing.T) {
	fits := accepts(t)
	for _, file := range files(t, "valid/*.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := fits(text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// A schema sees values, not how they are written, and compares none with another. Everything else it refuses too.
func TestSchemaRefusesWhatASchemaCan(t *testing.T) {
	beyond := []string{
		"another-domain", "another-env", "duplicate-services", // comparisons
		"composite-key", "control-character", "directive", "line-separator", "not-utf-8",
		"second-document", "second-document-after-an-end", "tags", "trailing-document-mark", // the writing
	}
	fits := accepts(t)
	for _, file := range files(t, "invalid/*.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if got, want := fits(text) == nil, slices.Contains(beyond, name); got != want {
			t.Errorf("%s: the schema takes it: %t, want %t", file, got, want)
		}
	}
}
