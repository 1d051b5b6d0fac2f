package routetable_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

func TestPlaceholdersInHeaderValues(t *testing.T) {
	t.Parallel()
	text := func(s string) routetable.Part { return routetable.Part{Text: s} }
	variable := func(v routetable.Variable) routetable.Part { return routetable.Part{Variable: v} }
	for _, c := range []struct {
		written string // in a file, between double quotes
		value   string
		parts   []routetable.Part
	}{
		{"plain", "plain", nil},
		{"${request.id}", "", []routetable.Part{variable(routetable.RequestID)}},
		{"a ${client.ip}; ${request.header.User-Agent}.", "", []routetable.Part{
			text("a "), variable(routetable.ClientIP), text("; "), {Variable: routetable.RequestHeader, Text: "user-agent"}, text("."),
		}},
		{"${ENV}-${node.name}", "", []routetable.Part{text("prod-"), variable(routetable.NodeName)}},
		{"$${request.path}", "", []routetable.Part{variable(routetable.RequestPath)}}, // as what is exported is read back
		{"$$${request.path}", "${request.path}", nil},
		{"$${ENV} $5 {a.b} $ {x", "${ENV} $5 {a.b} $ {x", nil},
		{"$$${request.id}${route.name}", "", []routetable.Part{text("${request.id}"), variable(routetable.RouteName)}},
	} {
		f, err := routefile.Decode(tabletest.Env, tabletest.File(`routes: [{name: r, respond: {status: 200}, request_headers: {set: {x-a: "`+c.written+`"}}}]`))
		if err != nil {
			t.Errorf("%s: %v", c.written, err)
			continue
		}
		got := compile(t, f.Spec).Rules()[0].RequestHeaders.Set[0]
		if got.Value != c.value || !reflect.DeepEqual(got.Parts, c.parts) {
			t.Errorf("%s: got %q %+v", c.written, got.Value, got.Parts)
		}
		data, err := routefile.EncodeYAML(f.Spec)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := routefile.Decode(nil, tabletest.File(string(data))); err != nil || !reflect.DeepEqual(again.Spec, f.Spec) {
			t.Errorf("%s does not read back: %v\n%s", c.written, err, data)
		}
	}
}

func TestPlaceholdersThatAreRefused(t *testing.T) {
	t.Parallel()
	for route, want := range map[string]string{
		`request_headers: {set: {x-a: "${request.ip}"}}`:                                "f.yaml:1:84: routes[0].request_headers.set.x-a (route/r): expected ${request.id}, ${request.method}, ${request.scheme}",
		`response_headers: {add: {x-a: "${request.header.}"}}`:                          "got ${request.header.}",
		`response_headers: {add: {x-a: "${error.status}"}}`:                             "got ${error.status}",
		`request_headers: {set: {x-a: "` + strings.Repeat("${request.id}-", 40) + `"}}`: "32 at most, got ${request.id}",
		`error_pages: [{body: "${request.host}"}]`:                                      "routes[0].error_pages[0].body (route/r): expected ${request.id}, ${error.status}, ${error.reason}",
		`hosts: ["${request.host}"]`:                                                    "routes[0].hosts[0]: placeholders such as ${request.id} are for header values and error pages",
	} {
		f, err := routefile.Decode(tabletest.Env, tabletest.File(`routes: [{name: r, respond: {status: 200, body: "a"}, `+route+`}]`))
		if err == nil {
			err = f.Validate().Err()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", route, err)
		}
	}
	_, err := routefile.Decode(tabletest.Env, tabletest.File(`routes: [{name: r, respond: {status: 200, body: "${request.id}"}}]`))
	if err == nil {
		t.Error("a body takes a placeholder and would show it as it is")
	}
}
