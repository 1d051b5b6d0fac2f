package dataplane_test

import (
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

func TestOriginsAreAdmittedAsTheRouteSays(t *testing.T) {
	up := startRecorder(t, always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\r\nok"))
	spec := toUpstream(up.addr)
	spec.Routes[0].Match = []routetable.Match{{Methods: []string{"GET", "PUT"}}}
	spec.Routes[0].CORS = &routetable.CORS{
		Origins: []string{"https://app.test", "https://*.wild.test"}, Methods: []string{"GET", "PUT"}, Headers: []string{"x-a"},
		ExposeHeaders: []string{"x-b"}, Credentials: true, MaxAge: new(routetable.Duration(10 * time.Minute)),
	}
	g := startGateway(t, dataplane.Config{}, spec)
	c := g.dial(t)
	for origin, admitted := range map[string]bool{
		"https://app.test": true, "https://a.b.wild.test": true, "HTTPS://APP.test": true,
		"http://app.test": false, "https://wild.test": false, "https://evil.test": false, "https://app.test.evil": false, "null": false,
	} {
		resp, _, _ := c.send("OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: " + origin + "\r\nAccess-Control-Request-Method: PUT\r\n\r\n").answer("OPTIONS")
		h := resp.Header
		if resp.StatusCode != 204 || (h.Get("Access-Control-Allow-Origin") == origin) != admitted || (h.Get("Access-Control-Max-Age") == "600") != admitted ||
			admitted && (!strings.Contains(h.Get("Access-Control-Allow-Methods"), "PUT") || h.Get("Access-Control-Allow-Headers") != "x-a") || h.Get("Vary") != "origin" {
			t.Errorf("preflight of %s: %d %v", origin, resp.StatusCode, h)
		}
		resp, _, _ = c.send("GET / HTTP/1.1\r\nHost: a\r\nOrigin: " + origin + "\r\n\r\n").answer("GET")
		h = resp.Header
		if resp.StatusCode != 200 || (h.Get("Access-Control-Allow-Origin") == origin) != admitted || h.Get("Access-Control-Allow-Origin") == "*" ||
			(h.Get("Access-Control-Allow-Credentials") == "true") != admitted || (h.Get("Access-Control-Expose-Headers") == "x-b") != admitted {
			t.Errorf("%s: %d %v", origin, resp.StatusCode, h)
		}
	}
	if resp, _, _ := c.send("OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: DELETE\r\n\r\n").answer("OPTIONS"); resp.StatusCode != 404 {
		t.Errorf("preflight of a method without a route: %d", resp.StatusCode)
	}
	for _, head := range up.seen() {
		if strings.HasPrefix(head, "OPTIONS") {
			t.Error("the upstream saw a preflight")
		}
	}
}
