package routetable_test

import (
	"testing"

	"github.com/meshgw/meshgw/routetable"
)

func oneRule(t *testing.T, r routetable.Route) *routetable.Rule {
	t.Helper()
	r.Name = "r"
	return compile(t, &routetable.Spec{
		Upstreams: []routetable.Upstream{{Name: "u", Endpoints: []routetable.Endpoint{{URL: "http://10.0.0.1"}}}},
		Routes:    []routetable.Route{r},
	}).Rules()[0]
}

// The table of Gateway API's ReplacePrefixMatch, verbatim.
func TestRewritePathFollowsGatewayAPI(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, prefix, replacement, want string }{
		{"/foo/bar", "/foo", "/xyz", "/xyz/bar"},
		{"/foo/bar", "/foo", "/xyz/", "/xyz/bar"},
		{"/foo/bar", "/foo/", "/xyz", "/xyz/bar"},
		{"/foo/bar", "/foo/", "/xyz/", "/xyz/bar"},
		{"/foo", "/foo", "/xyz", "/xyz"},
		{"/foo/", "/foo", "/xyz", "/xyz/"},
		{"/foo/bar", "/foo", "", "/bar"},
		{"/foo/", "/foo", "", "/"},
		{"/foo", "/foo", "", "/"},
		{"/foo/", "/foo", "/", "/"},
		{"/foo", "/foo", "/", "/"},
	} {
		route := routetable.Route{
			Name: "r", Upstream: "u", Match: []routetable.Match{{PathPrefix: c.prefix}},
			Rewrite: &routetable.Rewrite{PathPrefix: &c.replacement},
		}
		table := compile(t, &routetable.Spec{
			Upstreams: []routetable.Upstream{{Name: "u", Endpoints: []routetable.Endpoint{{URL: "http://10.0.0.1"}}}},
			Routes:    []routetable.Route{route},
		})
		hit, ok := table.Match(get("h", c.path))
		if !ok {
			t.Fatalf("%s does not match %s", c.path, c.prefix)
		}
		if got := hit.Rule.RewritePath(nil, []byte(c.path), hit.Prefix); string(got) != c.want {
			t.Errorf("%s, %s to %q: got %s, want %s", c.path, c.prefix, c.replacement, got, c.want)
		}
	}
}

func TestAPathNotMatchedByAPrefixIsKept(t *testing.T) {
	t.Parallel()
	r := oneRule(t, routetable.Route{
		Upstream: "u", Match: []routetable.Match{{PathPrefix: "/foo"}, {Path: "/bar"}}, Rewrite: &routetable.Rewrite{PathPrefix: new("/to")},
	})
	if got := r.RewritePath(nil, []byte("/bar"), -1); string(got) != "/bar" {
		t.Errorf("got %s", got)
	}
}

func TestRewritePathDoesNotAllocate(t *testing.T) {
	r := oneRule(t, routetable.Route{Upstream: "u", Rewrite: &routetable.Rewrite{PathPrefix: new("/to")}})
	dst, path := make([]byte, 0, 64), []byte("/from/here")
	if n := testing.AllocsPerRun(100, func() { dst = r.RewritePath(dst[:0], path, 0) }); n != 0 || string(dst) != "/to/from/here" {
		t.Errorf("got %s with %v allocations", dst, n)
	}
}

func TestLocation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		redirect routetable.Redirect
		from     routetable.Origin
		want     string
	}{
		{routetable.Redirect{Scheme: "https"}, routetable.Origin{Scheme: "http", Port: 8080}, "https://a.io/foo/bar?q=1"},
		{routetable.Redirect{Scheme: "https", Port: 8443}, routetable.Origin{Scheme: "http", Port: 80}, "https://a.io:8443/foo/bar?q=1"},
		{routetable.Redirect{Host: "b.io"}, routetable.Origin{Scheme: "http", Port: 8080}, "http://b.io:8080/foo/bar?q=1"},
		{routetable.Redirect{Host: "b.io"}, routetable.Origin{Scheme: "http", Port: 80}, "http://b.io/foo/bar?q=1"},
		{routetable.Redirect{Host: "b.io"}, routetable.Origin{Scheme: "https", Port: 443}, "https://b.io/foo/bar?q=1"},
		{routetable.Redirect{Port: 443}, routetable.Origin{Scheme: "http", Port: 80}, "http://a.io:443/foo/bar?q=1"},
		{routetable.Redirect{Path: "/new"}, routetable.Origin{Scheme: "http", Port: 80}, "http://a.io/new?q=1"},
		{routetable.Redirect{PathPrefix: new("/new")}, routetable.Origin{Scheme: "http", Port: 80}, "http://a.io/new/bar?q=1"},
		{routetable.Redirect{PathPrefix: new("")}, routetable.Origin{Scheme: "http", Port: 80}, "http://a.io/bar?q=1"},
	} {
		r := oneRule(t, routetable.Route{Match: []routetable.Match{{PathPrefix: "/foo"}}, Redirect: &c.redirect})
		c.from.Host, c.from.Path, c.from.Query, c.from.Prefix = []byte("a.io"), []byte("/foo/bar"), []byte("q=1"), 4
		if got := string(r.AppendLocation(nil, &c.from)); got != c.want {
			t.Errorf("%+v from %+v: got %s, want %s", c.redirect, c.from, got, c.want)
		}
		if r.Redirect.Status != 302 {
			t.Errorf("got status %d, want 302 by default", r.Redirect.Status)
		}
	}
}
