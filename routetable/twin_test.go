package routetable_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

// slowMatch is the obvious twin of Table.Match: it scores every match of every
// route, and the highest score wins. It returns the route and the prefix.
func slowMatch(spec *routetable.Spec, r *routetable.Request) (string, int) {
	best, name, prefix := []int(nil), "", 0
	routes := slices.Clone(spec.Routes)
	slices.SortFunc(routes, func(a, b routetable.Route) int { return strings.Compare(a.Name, b.Name) })
	for _, route := range routes {
		hosts, matches := route.Hosts, route.Match
		if len(hosts) == 0 {
			hosts = []string{"*"}
		}
		if len(matches) == 0 {
			matches = []routetable.Match{{}}
		}
		for _, host := range hosts {
			for _, m := range matches {
				score, p, ok := slowScore(host, m, r)
				if ok && (best == nil || slices.Compare(score, best) > 0) {
					best, name, prefix = score, route.Name, p
				}
			}
		}
	}
	return name, prefix
}

func slowScore(host string, m routetable.Match, r *routetable.Request) (score []int, prefix int, ok bool) {
	switch {
	case host == string(r.Host):
		score = []int{2, len(host)}
	case host == "*":
		score = []int{0, 0}
	case strings.HasPrefix(host, "*.") && strings.HasSuffix(string(r.Host), host[1:]) && len(r.Host) >= len(host):
		score = []int{1, len(host)}
	default:
		return nil, 0, false
	}
	path, prefix := string(r.Path), -1
	switch {
	case m.Path != "":
		score, ok = append(score, 2, 0, 0), m.Path == path
	case m.PathRegex != "":
		literal := strings.IndexAny(m.PathRegex, ".[")
		score, ok = append(score, 1, literal, len(m.PathRegex)), regexp.MustCompile("^(?:"+m.PathRegex+")$").MatchString(path)
	default:
		p := strings.TrimSuffix(m.PathPrefix, "/")
		prefix = len(p)
		score, ok = append(score, 0, prefix, 0), path == p || strings.HasPrefix(path, p+"/")
	}
	method := 0
	if len(m.Methods) > 0 {
		method, ok = 1, ok && slices.Contains(m.Methods, string(r.Method))
	}
	for _, h := range m.Headers {
		v, there := r.Fields.Header(h.Name)
		ok = ok && there && string(v) == h.Value
	}
	for _, q := range m.Query {
		v, there := r.Fields.Query(q.Name)
		ok = ok && there && string(v) == q.Value
	}
	return append(score, method, len(m.Headers), len(m.Query)), prefix, ok
}

func pick(t *rapid.T, label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(t, label)
}

func drawMatch(t *rapid.T) routetable.Match {
	m := routetable.Match{}
	switch pick(t, "kind", "prefix", "path", "regex", "none") {
	case "prefix":
		m.PathPrefix = pick(t, "prefix", "/", "/a", "/a/", "/a/b", "/a/b/a", "/ab", "/b")
	case "path":
		m.Path = pick(t, "path", "/", "/a", "/a/", "/a/b", "/b")
	case "regex":
		m.PathRegex = pick(t, "regex", "/a.*", "/[ab]", "/a/[ab]+", "/.*", "/a/b.*")
	}
	if rapid.Bool().Draw(t, "methods") {
		m.Methods = []string{pick(t, "method", "GET", "POST")}
	}
	for _, name := range []string{"x", "y"} {
		if rapid.IntRange(0, 3).Draw(t, "header") == 0 {
			m.Headers = append(m.Headers, routetable.NameValue{Name: name, Value: pick(t, "value", "1", "2")})
		}
		if rapid.IntRange(0, 3).Draw(t, "query") == 0 {
			m.Query = append(m.Query, routetable.NameValue{Name: name, Value: pick(t, "value", "1", "2")})
		}
	}
	return m
}

func drawSpec(t *rapid.T) *routetable.Spec {
	spec := new(routetable.Spec)
	for i := range rapid.IntRange(1, 8).Draw(t, "routes") {
		r := routetable.Route{Name: fmt.Sprintf("r%d", i), Respond: &routetable.Respond{Status: 200}}
		for range rapid.IntRange(0, 2).Draw(t, "hosts") {
			r.Hosts = append(r.Hosts, pick(t, "host", "*", "a.io", "*.io", "b.a.io", "*.a.io"))
		}
		for range rapid.IntRange(0, 3).Draw(t, "matches") {
			r.Match = append(r.Match, drawMatch(t))
		}
		spec.Routes = append(spec.Routes, r)
	}
	return spec
}

func drawRequest(t *rapid.T) *routetable.Request {
	some := func(label string) map[string]string {
		m := map[string]string{}
		for _, name := range []string{"x", "y"} {
			if v := pick(t, label, "", "1", "2"); v != "" {
				m[name] = v
			}
		}
		return m
	}
	return &routetable.Request{
		Listener: "http",
		Method:   []byte(pick(t, "request method", "GET", "POST", "PUT")),
		Host:     []byte(pick(t, "request host", "a.io", "b.a.io", "c.b.a.io", "io", ".io", "z", "")),
		Path:     []byte(pick(t, "request path", "/", "/a", "/a/", "/a/b", "/a/b/a", "/a/bb", "/ab", "/b/", "/c")),
		Fields:   fields{header: some("request header"), query: some("request query")},
	}
}

func TestMatchAgreesWithItsSlowTwinInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spec, r := drawSpec(t), drawRequest(t)
		shuffled := &routetable.Spec{Routes: rapid.Permutation(spec.Routes).Draw(t, "order")}
		table, problems := routetable.Compile(shuffled)
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		if other, _ := routetable.Compile(spec); other.Digest() != table.Digest() {
			t.Fatal("the digest depends on the order")
		}
		want, wantPrefix := slowMatch(spec, r)
		hit, ok := table.Match(r)
		e := routetable.Explain(table, r)
		if !ok {
			if want != "" || e.Route != "" {
				t.Fatalf("nothing matched, want %q; explained as %q", want, e.Route)
			}
			return
		}
		if hit.Rule.Name != want || hit.Prefix != wantPrefix {
			t.Fatalf("got %s with prefix %d, want %s with %d", hit.Rule.Name, hit.Prefix, want, wantPrefix)
		}
		if e.Route != want || e.Prefix != wantPrefix {
			t.Fatalf("explained as %s with prefix %d, want %s with %d", e.Route, e.Prefix, want, wantPrefix)
		}
	})
}

func TestExplainNamesWhatCameClose(t *testing.T) {
	t.Parallel()
	table := compile(t, &routetable.Spec{Routes: []routetable.Route{
		tabletest.Respond("winner", []string{"a.io"}, routetable.Match{PathPrefix: "/v1"}),
		tabletest.Respond("post", []string{"a.io"}, routetable.Match{Path: "/v1/x", Methods: []string{"POST"}}),
		tabletest.Respond("any", nil),
	}})
	e := routetable.Explain(table, get("a.io", "/v1/x"))
	want := "{winner   0 3 [host a.io path_prefix /v1] [{any 0 [] the more exact host} {post 0 [method POST] }]}"
	if got := fmt.Sprint(e); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := compile(t, tabletest.Big(1000))
	r := get("h42.example.com", "/v1/service-7/orders/1")
	if n := testing.AllocsPerRun(100, func() { table.Match(r) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			table, _ := routetable.Compile(tabletest.Big(n))
			r := get(fmt.Sprintf("h%d.example.com", n/20), "/v1/service-7/orders/1")
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := table.Match(r); !ok {
					b.Fatal("no match")
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	spec := tabletest.Big(10_000)
	b.ReportAllocs()
	for b.Loop() {
		routetable.Compile(spec)
	}
}

func BenchmarkDecodeTenThousandRoutes(b *testing.B) {
	data, err := routefile.EncodeYAML(tabletest.Big(10_000))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := routefile.Decode(nil, routefile.Source{Name: "f", Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}
