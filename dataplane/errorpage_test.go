package dataplane_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

func pages() []routetable.ErrorPage {
	return []routetable.ErrorPage{
		{On: []string{"connect_failure", "429"}, Body: "<p>gone</p>"},
		{On: []string{"4xx"}, Body: "no\n", ContentType: "text/plain"},
		{On: []string{"5xx"}, Body: `{"sorry": true}`, ContentType: "application/json"},
	}
}

func TestARoutesOwnErrorPages(t *testing.T) {
	up := startRecorder(t, always("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nmine"))
	spec := toUpstream("127.0.0.1:1")
	spec.Upstreams = append(spec.Upstreams, routetable.Upstream{Name: "none"}, routetable.Upstream{Name: "own", Endpoints: []routetable.Endpoint{{URL: "http://" + up.addr}}})
	at := func(path string, r routetable.Route) routetable.Route {
		r.Name, r.Match, r.ErrorPages = "r-"+strings.Trim(path, "/"), []routetable.Match{{PathPrefix: path}}, pages()
		return r
	}
	spec.Routes = []routetable.Route{
		at("/refused", routetable.Route{Upstream: "up", ResponseHeaders: &routetable.HeaderOps{Set: map[string]string{"x-a": "1"}}}),
		at("/none", routetable.Route{Upstream: "none"}),
		at("/denied", routetable.Route{Upstream: "up", Deny: &routetable.CIDRs{CIDRs: []string{"127.0.0.1"}}}),
		at("/own", routetable.Route{Upstream: "own"}),
	}
	g := startGateway(t, dataplane.Config{}, spec)
	for _, c := range []struct {
		path, reason, kind, body string
		status                   int
	}{
		{"/refused", "connect_failure", "text/html; charset=utf-8", "<p>gone</p>", 502},
		{"/none", "no_healthy_upstream", "application/json", `{"sorry": true}`, 503},
		{"/denied", "denied", "text/plain", "no\n", 403},
		{"/own", "", "", "mine", 503},
	} {
		a, body, _ := g.dial(t).send("GET " + c.path + " HTTP/1.1\r\nhost: a\r\n\r\n").answer("GET")
		if a.StatusCode != c.status || a.Header.Get("x-meshgw-error") != c.reason || a.Header.Get("content-type") != c.kind || body != c.body {
			t.Errorf("%s: got %d %q %v", c.path, a.StatusCode, body, a.Header)
		}
		if again := a.Header.Get("retry-after"); (again != "") != (c.path == "/none") {
			t.Errorf("%s: retry-after %q", c.path, again)
		}
		if x := a.Header.Get("x-a"); (x == "1") != (c.path == "/refused") {
			t.Errorf("%s: x-a %q", c.path, x)
		}
	}
	a, body, _ := g.dial(t).send("HEAD /none HTTP/1.1\r\nhost: a\r\n\r\n").answer("HEAD")
	if a.ContentLength != int64(len(`{"sorry": true}`)) || body != "" {
		t.Errorf("HEAD: %+v %q", a, body)
	}
}

func TestAnErrorOfAnotherRegionGetsTheRoutesPage(t *testing.T) {
	spec := inUS("127.0.0.1:1")
	spec.Routes[0].ErrorPages = pages()
	eu, us := pair(t, spec, nil)
	a, body, _ := eu.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
	if a.StatusCode != 502 || body != "<p>gone</p>" || a.Header.Get("x-meshgw-error") != "connect_failure" {
		t.Errorf("got %d %q %v\n%s%s", a.StatusCode, body, a.Header, eu.log, us.log)
	}
	again, _, _ := eu.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
	if again.StatusCode < 500 {
		t.Errorf("got %d", again.StatusCode)
	}
}

// The words of pages are those of the answers: each code is one, but those that
// come before a route is known.
func TestEveryReasonCanHaveAPage(t *testing.T) {
	for c := dataplane.NoRoute; c.String() != ""; c++ {
		page := routetable.ErrorPage{On: []string{c.String(), "4xx"}, Body: "a"}
		problems := routetable.Validate(&routetable.Spec{Routes: []routetable.Route{
			{Name: "r", Respond: &routetable.Respond{Status: 200}, ErrorPages: []routetable.ErrorPage{page}},
		}}).Errors()
		early := slices.Contains([]dataplane.Code{dataplane.NoRoute, dataplane.ForwardLoop}, c)
		if (len(problems) > 0) != early {
			t.Errorf("%s: %v", c, problems)
		}
	}
}
