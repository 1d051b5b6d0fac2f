package dataplane_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

func TestHeaderValuesWithPlaceholders(t *testing.T) {
	up := startRecorder(t, okay)
	spec := toUpstream(up.addr)
	spec.Routes[0].Rewrite = &routetable.Rewrite{Path: "/elsewhere"}
	all := map[string]string{}
	for _, name := range []string{
		"request.id", "request.method", "request.scheme", "request.host", "request.path", "request.query", "request.header.User-Agent",
		"request.header.none", "request.attempt", "request.timeout_ms", "client.ip", "tenant.name", "route.name", "node.name", "node.region",
	} {
		all["x-"+strings.ReplaceAll(name, ".", "-")] = "<${" + name + "}>"
	}
	spec.Routes[0].RequestHeaders = &routetable.HeaderOps{Set: all}
	spec.Routes[0].ResponseHeaders = &routetable.HeaderOps{Set: map[string]string{"x-from": "${node.name}/${client.ip}", "x-plain": "$${a.b}"}}
	spec.Tenants = []routetable.Tenant{{Name: "acme", Identify: &routetable.Identify{Header: "x-tenant", Value: "a"}}}
	g := startGateway(t, dataplane.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, spec)
	for _, protocol := range bothProtocols() {
		client := clientOf(t, protocol)
		req, _ := http.NewRequest("GET", "http://"+g.addr+"/a//b?c=d&e", nil)
		req.Host = "Orders.Example:81"
		for name, value := range map[string]string{
			"x-request-id": "id-1", "user-agent": "curl; \x22${request.id}", "x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https",
			"x-tenant": "a", "x-route-name": "forged",
		} {
			req.Header.Set(name, value)
		}
		a, _ := client.do(req)
		if a.Header.Get("x-from") != "n1/192.0.2.7" || a.Header.Get("x-plain") != "${a.b}" {
			t.Errorf("%s: answered %v", protocol, a.Header)
		}
		seen := up.seen()
		got := seen[len(seen)-1]
		for _, want := range []string{
			"x-request-id: <id-1>", "x-request-method: <GET>", "x-request-scheme: <https>", "x-request-host: <orders.example>",
			"x-request-path: </a/b>", "x-request-query: <c=d&e>", "x-request-header-user-agent: <curl; \x22${request.id}>",
			"x-request-header-none: <>", "x-client-ip: <192.0.2.7>", "x-tenant-name: <acme>", "x-route-name: <all>",
			"x-node-name: <n1>", "x-node-region: <eu>", "x-request-attempt: <1>", "x-request-timeout_ms: <15000>",
		} {
			if strings.Count(got, "\r\n"+want+"\r\n") != 1 {
				t.Errorf("%s: %q is not there once in\n%s", protocol, want, got)
			}
		}
	}
}

func TestAnErrorPageTellsTheRequestsID(t *testing.T) {
	spec := toUpstream("127.0.0.1:1")
	spec.Routes[0].ErrorPages = []routetable.ErrorPage{{Body: "<p>${error.status} ${error.reason}: ${request.id}</p>"}}
	g := startGateway(t, dataplane.Config{}, spec)
	a, body, _ := g.dial(t).send("GET / HTTP/1.1\r\nhost: a\r\nx-request-id: abc\r\n\r\n").answer("GET")
	if body != "<p>502 connect_failure: abc</p>" {
		t.Errorf("got %d %q", a.StatusCode, body)
	}
}

func TestHeaderEditsDoNotAllocate(t *testing.T) {
	holdToBudget(t, steadyWith(t, dataplane.Config{Requests: ring()}, func(addr string) *routetable.Spec {
		spec := toUpstream(addr)
		values := map[string]string{"x-plain": "a", "x-made": "${request.id} in ${request.timeout_ms} of ${client.ip} by ${request.header.user-agent}"}
		spec.Routes[0].RequestHeaders = &routetable.HeaderOps{Set: values, Remove: []string{"accept"}}
		spec.Routes[0].ResponseHeaders = &routetable.HeaderOps{Set: values, Add: map[string]string{"x-more": "${node.name}"}}
		return spec
	}, ""), 0)
}
