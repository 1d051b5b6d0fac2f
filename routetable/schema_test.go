package routetable_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/routetable"
)

var update = flag.Bool("update", false, "write schema.json anew")

// words are the fields that take one of a few words, by type and name.
func words() map[string][]any {
	priorities := []any{"critical", "high", "normal", "low"}
	return map[string][]any{
		"Upstream.protocol":     {"http1", "h2c", "h2"},
		"ErrorPage.on":          {"4xx", "5xx", 400, 401, 403, 408, 413, 421, 429, 502, 503, 504, "400", "401", "403", "408", "413", "421", "429", "502", "503", "504", "bad_request", "too_large", "denied", "unauthenticated", "quota_exceeded", "concurrency_exceeded", "overloaded", "no_healthy_upstream", "circuit_open", "pending_full", "connect_failure", "upstream_timeout", "upstream_reset"},
		"Sticky.same_site":      {"lax", "strict", "none"},
		"Balance.policy":        {"least_request", "round_robin", "random", "consistent_hash", "ewma"},
		"Failover.via":          {"mesh", "direct"},
		"Route.encoded_slashes": {"reject", "keep"},
		"Retries.on":            {"connect_failure", "reset", "stalled", 500, 502, 503, 504, "500", "502", "503", "504"},
		"Route.priority":        priorities,
		"Tenant.priority":       priorities,
		"Redirect.scheme":       {"http", "https"},
		"Compress.encodings":    {"zstd", "gzip"},
		"Limit.scope":           {"mesh", "node"},
		"JWT.algorithms":        {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
	}
}

// object is a JSON Schema, or a part of one.
type object = map[string]any

// schemas makes the schema of Spec and of what it is made of.
type schemas struct {
	comments map[string]string // by type, and by type and Go name of a field
	defs     object
}

func (s *schemas) of(t reflect.Type) object {
	const reference = `|\$\{.*`
	switch t {
	case reflect.TypeFor[routetable.Duration]():
		return object{"type": []string{"string", "integer"}, "pattern": `^(([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|0` + reference + `)$`, "minimum": 0, "maximum": 0}
	case reflect.TypeFor[routetable.Bytes]():
		return object{"type": []string{"string", "integer"}, "pattern": `^([0-9]+(B|KiB|MiB|GiB|TiB)?` + reference + `)$`, "minimum": 0}
	case reflect.TypeFor[routetable.Rate]():
		return object{"type": "string", "pattern": `^([0-9]+/[smhd]` + reference + `)$`}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.structure(t)
	case reflect.Bool:
		return object{"type": []string{"boolean", "string"}, "pattern": `^\$\{.*`}
	case reflect.Float64:
		return object{"type": []string{"number", "string"}, "pattern": `^\$\{.*`}
	case reflect.String:
		return object{"type": []string{"string", "number", "boolean"}}
	}
	return object{"type": []string{"integer", "string"}, "pattern": `^\$\{.*`}
}

func (s *schemas) structure(t reflect.Type) object {
	if t.Name() == "" {
		return object{"type": "object", "additionalProperties": false}
	}
	ref := object{"$ref": "#/$defs/" + t.Name()}
	if _, done := s.defs[t.Name()]; done {
		return ref
	}
	properties, required := object{}, []string{}
	def := object{"type": "object", "additionalProperties": false, "properties": properties}
	s.defs[t.Name()] = def
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if options == "" {
			required = append(required, name)
		}
		property := s.of(f.Type)
		if options != "" && f.Type.Kind() == reflect.Int {
			property["minimum"] = 1 // 0 would be the same as none
		}
		if list := words()[t.Name()+"."+name]; list != nil {
			if items, ok := property["items"]; ok && items != nil {
				property["items"] = object{"enum": list}
			} else {
				property = object{"enum": list}
			}
		}
		if comment := s.comments[t.Name()+"."+f.Name]; comment != "" {
			property["description"] = comment
		}
		properties[name] = property
	}
	if len(required) > 0 {
		def["required"] = required
	}
	if comment := s.comments[t.Name()]; comment != "" {
		def["description"] = comment
	}
	return ref
}

// commentsOf reads what the source says of types and fields.
func commentsOf(t *testing.T, file string) map[string]string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, decl := range tree.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.TYPE {
			continue
		}
		for _, spec := range d.Specs {
			ts := spec.(*ast.TypeSpec)
			out[ts.Name.Name] = strings.Join(strings.Fields(d.Doc.Text()), " ")
			if st, ok := ts.Type.(*ast.StructType); ok {
				for _, f := range st.Fields.List {
					out[ts.Name.Name+"."+f.Names[0].Name] = strings.TrimSpace(f.Comment.Text())
				}
			}
		}
	}
	return out
}

func TestSchemaAgreesWithSpec(t *testing.T) {
	t.Parallel()
	s := &schemas{comments: commentsOf(t, "spec.go"), defs: object{}}
	s.of(reflect.TypeFor[routetable.Spec]())
	root := s.defs["Spec"].(object)
	delete(s.defs, "Spec")
	defaults := object{}
	for name, def := range map[string]string{"upstream": "Upstream", "route": "Route", "limit": "Limit", "tenant": "Tenant"} {
		part := object{}
		for k, v := range s.defs[def].(object) {
			if k != "required" {
				part[k] = v
			}
		}
		s.defs[def+"Defaults"] = part
		defaults[name] = object{"$ref": "#/$defs/" + def + "Defaults"}
	}
	root["properties"].(object)["defaults"] = object{
		"type": "object", "additionalProperties": false, "properties": defaults,
		"description": "What holds for the objects of this file that do not say otherwise.",
	}
	root["properties"].(object)["include"] = object{
		"type": "array", "items": object{"type": "string"},
		"description": "Files that are read with this one, or patterns such as routes/*.yaml, relative to it.",
	}
	root["$schema"], root["title"], root["$defs"] = "https://json-schema.org/draft/2020-12/schema", "meshgw route file", s.defs
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile("schema.json"); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("schema.json is not what Spec says: go test ./routetable -run Schema -update (%v)", err)
	}
	if !json.Valid(routetable.Schema()) {
		t.Error("the embedded schema is not JSON")
	}
}
