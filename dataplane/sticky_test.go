package dataplane_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/routetable"
)

var meshSecret = quota.Secret{1, 2, 3}

// oneSecret is that of all gateways of a mesh.
func oneSecret() *quota.Secret { return &meshSecret }

// stickyTo is toUpstream with sticky sessions.
func stickyTo(addrs ...string) *routetable.Spec {
	spec := toUpstream(addrs...)
	spec.Upstreams[0].Balance = &routetable.Balance{Policy: "random", Sticky: &routetable.Sticky{}}
	return spec
}

// visit asks with a cookie, or without, and returns who answered and the cookie
// from then on.
func (g *gateway) visit(t *testing.T, cookie string) (who, after, set string) {
	t.Helper()
	head := "GET / HTTP/1.1\r\nhost: a\r\n"
	if cookie != "" {
		head += "cookie: other=1; " + cookie + "; last=2\r\n"
	}
	a, body, _ := g.dial(t).send(head + "\r\n").answer("GET")
	if a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, body)
	}
	set = a.Header.Get("set-cookie")
	if set == "" {
		return body, cookie, ""
	}
	after, _, _ = strings.Cut(set, ";")
	return body, after, set
}

func addressOf(url string) string { return strings.TrimPrefix(url, "http://") }

func TestAClientStaysWithItsEndpointAtEveryNode(t *testing.T) {
	a, b, c := named(t, "a"), named(t, "b"), named(t, "c")
	spec := stickyTo(addressOf(a.URL), addressOf(b.URL), addressOf(c.URL))
	one := startGateway(t, dataplane.Config{Secret: oneSecret}, spec)
	other := startGateway(t, dataplane.Config{Secret: oneSecret}, spec)
	who, cookie, set := one.visit(t, "")
	if !regexp.MustCompile(`^meshgw-sticky=[A-Za-z0-9_-]{22}; Path=/; HttpOnly; SameSite=lax$`).MatchString(set) {
		t.Errorf("set-cookie: %s", set)
	}
	for range 20 {
		for _, g := range []*gateway{one, other} {
			again, _, set := g.visit(t, cookie)
			if again != who || set != "" {
				t.Fatalf("went from %s to %s, set-cookie: %q", who, again, set)
			}
		}
	}
	seen := map[string]bool{}
	for range 50 {
		who, _, _ := one.visit(t, "")
		seen[who] = true
	}
	if len(seen) != 3 {
		t.Errorf("without a cookie only %v answer", seen)
	}
}

func TestASessionOutlivesItsEndpoint(t *testing.T) {
	ends := map[string]string{}
	var addrs []string
	stops := map[string]func(){}
	for _, name := range []string{"a", "b"} {
		up := named(t, name)
		ends[name], stops[name] = addressOf(up.URL), up.Close
		addrs = append(addrs, ends[name])
	}
	g := startGateway(t, dataplane.Config{}, stickyTo(addrs...))
	who, cookie, _ := g.visit(t, "")
	stops[who[:1]]()
	for range 8 { // the first ones by another try, the others since its breaker is open
		then, after, set := g.visit(t, cookie)
		if then == who || set == "" || after == cookie {
			t.Fatalf("with %s dead: got %s, set-cookie: %q", who, then, set)
		}
		if last, _, set := g.visit(t, after); last != then || set != "" {
			t.Errorf("the new cookie leads from %s to %s, set-cookie: %q", then, last, set)
		}
	}
}

func TestACookieOfAnotherMeshOrUpstreamIsReplaced(t *testing.T) {
	up := named(t, "a")
	foreign := startGateway(t, dataplane.Config{}, stickyTo(addressOf(up.URL)))
	_, theirs, _ := foreign.visit(t, "")
	g := startGateway(t, dataplane.Config{Secret: oneSecret}, stickyTo(addressOf(up.URL)))
	_, ours, _ := g.visit(t, "")
	spec := stickyTo(addressOf(up.URL))
	spec.Upstreams[0].Name, spec.Routes[0].Upstream = "other", "other"
	g.publish(t, spec)
	for _, cookie := range []string{theirs, ours, "meshgw-sticky=", "meshgw-sticky=" + addressOf(up.URL)} {
		if _, after, set := g.visit(t, cookie); set == "" || after == cookie {
			t.Errorf("%s is believed", cookie)
		}
	}
}

func TestACookieDecidesInASplitToo(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	spec := stickyTo(addressOf(a.URL))
	canary := spec.Upstreams[0]
	canary.Name, canary.Endpoints = "canary", []routetable.Endpoint{{URL: b.URL}}
	canary.Balance = &routetable.Balance{Sticky: &routetable.Sticky{MaxAge: routetable.Duration(3600e9), SameSite: "strict"}}
	spec.Upstreams = append(spec.Upstreams, canary)
	spec.Routes[0].Upstream, spec.Routes[0].Split = "", []routetable.Split{{Upstream: "up", Weight: 1}, {Upstream: "canary", Weight: 1}}
	g := startGateway(t, dataplane.Config{}, spec)
	cookies := map[string]string{}
	until(t, "both upstreams are drawn", func() bool {
		who, cookie, set := g.visit(t, "")
		cookies[who] = cookie
		if who == "b/" && !strings.HasSuffix(set, "; SameSite=strict; Max-Age=3600") {
			t.Errorf("set-cookie: %s", set)
		}
		return len(cookies) == 2
	})
	for who, cookie := range cookies {
		for range 20 {
			if got, _, set := g.visit(t, cookie); got != who || set != "" {
				t.Fatalf("went from %s to %s, set-cookie: %q", who, got, set)
			}
		}
	}
}

func TestACookieLeadsToAnotherRegion(t *testing.T) {
	t.Parallel()
	far, second, near := named(t, "far"), named(t, "second"), named(t, "near")
	spec := stickyTo(addressOf(far.URL), addressOf(second.URL), addressOf(near.URL))
	for i, region := range []string{"us", "us", "eu"} {
		spec.Upstreams[0].Endpoints[i].Region = region
	}
	us, eu := startLinked(t, "us-1", "us", spec, nil), startLinked(t, "eu-1", "eu", spec, nil)
	eu.knows("eu-1", "eu", "us-1", "us", us.link, 1000)
	cookies := map[string]string{}
	until(t, "both endpoints of us have answered", func() bool {
		who, cookie, _ := us.visit(t, "")
		cookies[who] = cookie
		return len(cookies) == 2
	})
	until(t, "eu knows the way to us", func() bool {
		who, _, _ := eu.visit(t, cookies["far/"])
		return who == "far/"
	})
	for who, cookie := range cookies {
		for range 10 {
			if got, _, set := eu.visit(t, cookie); got != who || set != "" {
				t.Fatalf("in eu: went from %s to %s, set-cookie: %q", who, got, set)
			}
		}
	}
	if who, _, _ := eu.visit(t, ""); who != "near/" {
		t.Errorf("without a cookie eu goes to %s", who)
	}
}

func TestTheCookieIsSecureForClientsOfTLS(t *testing.T) {
	up := named(t, "a")
	trusted := dataplane.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	for want, g := range map[bool]*gateway{
		true:  startGateway(t, trusted, stickyTo(addressOf(up.URL))),
		false: startGateway(t, dataplane.Config{}, stickyTo(addressOf(up.URL))),
	} {
		a, _, _ := g.dial(t).send("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-proto: https\r\n\r\n").answer("GET")
		if got := strings.Contains(a.Header.Get("set-cookie"), "; Secure"); got != want || a.StatusCode != http.StatusOK {
			t.Errorf("believed %v: %s", want, fmt.Sprint(a.Header))
		}
	}
}
