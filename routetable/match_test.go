package routetable_test

import (
	"testing"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable"
)

// fields is a request's header and query for tests.
type fields struct{ header, query map[string]string }

func (f fields) Header(name string) ([]byte, bool) { v, ok := f.header[name]; return []byte(v), ok }
func (f fields) Query(name string) ([]byte, bool)  { v, ok := f.query[name]; return []byte(v), ok }

func get(host, path string) *routetable.Request {
	return &routetable.Request{
		Listener: "http", Method: []byte("GET"), Host: []byte(host), Path: []byte(path), Fields: fields{},
	}
}

func compile(t *testing.T, spec *routetable.Spec) *routetable.Table {
	t.Helper()
	table, problems := routetable.Compile(spec)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return table
}

func TestMatchFollowsThePrecedenceOfGatewayAPI(t *testing.T) {
	t.Parallel()
	hosts := func(h ...string) []string { return h }
	table := compile(t, &routetable.Spec{Routes: []routetable.Route{
		tabletest.Respond("any", nil),
		tabletest.Respond("any-x", nil, routetable.Match{PathPrefix: "/only-any"}),
		tabletest.Respond("wild", hosts("*.example.com")),
		tabletest.Respond("wild-long", hosts("*.b.example.com")),
		tabletest.Respond("exact", hosts("a.example.com"), routetable.Match{PathPrefix: "/v1"}),
		tabletest.Respond("exact-deep", hosts("a.example.com"), routetable.Match{PathPrefix: "/v1/orders/"}),
		tabletest.Respond("exact-path", hosts("a.example.com"), routetable.Match{Path: "/v1/orders/7"}),
		tabletest.Respond("regex", hosts("a.example.com"), routetable.Match{PathRegex: "^/v1/orders/[0-9]+$"}),
		tabletest.Respond("regex-short", hosts("a.example.com"), routetable.Match{PathRegex: "/v1/.*/[0-9]+"}),
		tabletest.Respond("post", hosts("m.io"), routetable.Match{Methods: []string{"POST"}}),
		tabletest.Respond("get", hosts("m.io"), routetable.Match{Methods: []string{"GET"}}),
		tabletest.Respond("one-header", hosts("m.io"), routetable.Match{Headers: []routetable.NameValue{{Name: "X-A", Value: "1"}}}),
		tabletest.Respond("two-headers", hosts("m.io"), routetable.Match{Headers: []routetable.NameValue{{Name: "x-a", Value: "1"}, {Name: "x-b", Value: "2"}}}),
		tabletest.Respond("query", hosts("m.io"), routetable.Match{Query: []routetable.NameValue{{Name: "q", Value: "1"}}}),
		{Name: "inside", Hosts: hosts("l.io"), Listeners: []string{"internal"}, Respond: &routetable.Respond{Status: 200}},
	}})
	for _, c := range []struct {
		host, path, method, listener string
		fields                       fields
		want                         string
		prefix                       int
	}{
		{host: "a.example.com", path: "/v1", want: "exact", prefix: 3},
		{host: "a.example.com", path: "/v1/", want: "exact", prefix: 3},
		{host: "a.example.com", path: "/v10", want: "wild", prefix: 0},
		{host: "a.example.com", path: "/v1/orders", want: "exact-deep", prefix: 10},
		{host: "a.example.com", path: "/v1/orders/x", want: "exact-deep", prefix: 10},
		{host: "a.example.com", path: "/v1/orders/7", want: "exact-path", prefix: -1},
		{host: "a.example.com", path: "/v1/orders/8", want: "regex", prefix: -1},
		{host: "a.example.com", path: "/v1/other/8", want: "regex-short", prefix: -1},
		{host: "x.b.example.com", path: "/", want: "wild-long", prefix: 0},
		{host: "b.example.com", path: "/", want: "wild", prefix: 0},
		{host: "example.com", path: "/", want: "any", prefix: 0},
		{host: ".example.com", path: "/", want: "any", prefix: 0},
		{host: "nowhere", path: "/only-any/x", want: "any-x", prefix: 9},
		{host: "m.io", path: "/", want: "get", prefix: 0},
		{host: "m.io", path: "/", method: "POST", fields: fields{header: map[string]string{"x-a": "1"}}, want: "post", prefix: 0},
		{host: "m.io", path: "/", method: "PUT", fields: fields{header: map[string]string{"x-a": "1"}}, want: "one-header", prefix: 0},
		{host: "m.io", path: "/", method: "PUT", fields: fields{header: map[string]string{"x-a": "1", "x-b": "2"}}, want: "two-headers", prefix: 0},
		{host: "m.io", path: "/", method: "PUT", fields: fields{query: map[string]string{"q": "1"}}, want: "query", prefix: 0},
		{host: "m.io", path: "/", method: "PUT", want: "any", prefix: 0},
		{host: "l.io", path: "/", want: "any", prefix: 0},
		{host: "l.io", path: "/", listener: "internal", want: "inside", prefix: 0},
	} {
		r := get(c.host, c.path)
		r.Fields = c.fields
		if c.method != "" {
			r.Method = []byte(c.method)
		}
		if c.listener != "" {
			r.Listener = c.listener
		}
		hit, ok := table.Match(r)
		if !ok || hit.Rule.Name != c.want || hit.Prefix != c.prefix {
			got := "nothing"
			if ok {
				got = hit.Rule.Name
			}
			t.Errorf("%s %s%s: got %s with prefix %d, want %s with %d", r.Method, c.host, c.path, got, hit.Prefix, c.want, c.prefix)
		}
	}
}
