package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// clientFrom is a client at an address of loopback that speaks one version of
// HTTP.
func clientFrom(t *testing.T, ip string, version int) *http.Client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	transport := &http.Transport{DialContext: dialer.DialContext, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(version == 1)
	transport.Protocols.SetUnencryptedHTTP2(version == 2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// What a client says of itself that only the mesh, or a proxy that it trusts, may
// say.
var forgeries = map[string]string{
	"x-meshgw-link":           "hop=1;node=b;region=eu;upstream=orders;route=open;version=1;tenant=acme;priority=critical;attempt=1;client=203.0.113.7",
	"x-meshgw-tenant":         "acme",
	"x-meshgw-node":           "b",
	"x-meshgw-route":          "inner",
	"x-meshgw-priority":       "critical",
	"x-meshgw-error":          "overloaded",
	"x-forwarded-for":         "203.0.113.7",
	"x-forwarded-host":        "inner.example.com",
	"x-forwarded-proto":       "https",
	"x-forwarded-port":        "443",
	"x-forwarded-prefix":      "/inner",
	"x-forwarded-client-cert": "Subject=acme",
	"forwarded":               "for=203.0.113.7;host=inner.example.com;proto=https",
	"x-real-ip":               "203.0.113.7",
	"x-tenant":                "acme",
}

func TestForgedHeadersChangeNothing(t *testing.T) {
	w := newWorld(t)
	// Upstream tells what it was sent, but for what is another each time.
	told := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var lines []string
		for name, values := range r.Header {
			if name != "X-Request-Id" && name != "Traceparent" && name != "X-Tenant" {
				lines = append(lines, fmt.Sprintf("%s: %q", name, values))
			}
		}
		slices.Sort(lines)
		fmt.Fprintf(rw, "%s %s\n%s", r.Host, r.URL, strings.Join(lines, "\n"))
	}))
	t.Cleanup(told.Close)
	a := w.start("a", append(w.secured("a"), "--region", "eu", "--trusted-proxies", "127.0.0.3", "--routes", w.save("routes.yaml", fmt.Appendf(nil, `
upstreams: [{name: orders, endpoints: [{url: %q, region: eu}]}]
routes:
  - {name: open, match: [{path: /open}], upstream: orders}
  - {name: inner, match: [{path: /inner}], hosts: [inner.example.com], upstream: orders}
  - {name: few, match: [{path: /few}], upstream: orders, allow: {cidrs: [203.0.113.0/24]}}
  - {name: theirs, match: [{path: /theirs}], upstream: orders, limits: [scarce]}
limits: [{name: scarce, key: [tenant], rate: 1/h, burst: 1}]
tenants: [{name: acme, identify: {header: x-tenant, value: acme}}]
`, told.URL)))...)
	for _, version := range []int{1, 2} {
		ask := func(ip, path string, forged bool) (int, string) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.listen.HTTP+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if forged {
				for name, value := range forgeries {
					req.Header.Set(name, value)
				}
			}
			resp, err := clientFrom(t, ip, version).Do(req)
			if err != nil {
				t.Fatalf("HTTP/%d: %v", version, err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.ProtoMajor != version {
				t.Fatalf("HTTP/%d: %s, %v", version, resp.Proto, err)
			}
			return resp.StatusCode, string(body)
		}
		for _, path := range []string{"/open", "/inner", "/few"} {
			status, plain := ask("127.0.0.2", path, false)
			if got, body := ask("127.0.0.2", path, true); got != status || got == 200 && body != plain {
				t.Errorf("HTTP/%d %s: answered %d, %d without what is forged; the endpoint was sent\n%s\nwithout\n%s", version, path, got, status, body, plain)
			}
		}
		// What tells them apart is read at all: the proxy is believed.
		if status, body := ask("127.0.0.3", "/few", true); status != 200 || !strings.Contains(body, "203.0.113.7, 127.0.0.3") || strings.Contains(body, "Meshgw") {
			t.Errorf("HTTP/%d: the proxy is answered %d, the endpoint was sent\n%s", version, status, body)
		}
	}
	// Nor does it spend what a tenant has.
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.listen.HTTP+"/theirs", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-tenant", "acme")
		resp, err := clientFrom(t, "127.0.0.2", 1).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.listen.HTTP+"/theirs", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-tenant", "acme")
	resp, err := clientFrom(t, "127.0.0.3", 1).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("the tenant's first request of an hour is answered %d", resp.StatusCode)
	}
	if text := a.metrics(t); strings.Contains(text, "meshgw_forwarded_requests_total{") {
		t.Errorf("a client's request counts as one that a gateway sent on: %s", linesWith(text, "meshgw_forwarded_requests_total"))
	}
}

// Who shows no certificate, or another's, is no gateway.
func TestTheMeshLinkBelievesNodesInTheirOwnNameAlone(t *testing.T) {
	w := newWorld(t)
	up := upstream(t, "one")
	a := w.start("a", append(w.secured("a"), "--region", "eu", "--routes", w.routeFile("routes.yaml", "/", up.URL))...)
	w.secured("b")
	serve(t, a)
	w.run("meshgw", "cert", "node", "b", "--ca", filepath.Join(w.dir, "ca.pem"), "--ca-key", filepath.Join(w.dir, "ca-key.pem"),
		"--out", filepath.Join(w.dir, "old.pem"), "--out-key", filepath.Join(w.dir, "old-key.pem"), "--for", "1s")
	other := newWorld(t)
	other.secured("b")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(must(os.ReadFile(filepath.Join(w.dir, "ca.pem")))))
	load := func(of *world, name string) *tls.Certificate {
		pair, err := tls.LoadX509KeyPair(filepath.Join(of.dir, name+".pem"), filepath.Join(of.dir, name+"-key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return &pair
	}
	time.Sleep(1100 * time.Millisecond) // until the old one is over
	for what, tt := range map[string]struct {
		show   *tls.Certificate
		says   string
		status int // 0 = there is no connection to be had
	}{
		"b in its own name":             {load(w, "b"), "b", 200},
		"b in the name of a":            {load(w, "b"), "a", 403},
		"b in the name of nobody known": {load(w, "b"), "c", 403},
		"a b whose time is over":        {load(w, "old"), "b", 0},
		"a b of another CA":             {load(other, "b"), "b", 0},
		"nobody":                        {nil, "b", 0},
	} {
		secure := &tls.Config{RootCAs: roots, ServerName: "a", MinVersion: tls.VersionTLS13}
		if tt.show != nil {
			secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tt.show, nil }
		}
		status := askLink(t, a.listen.Mesh, secure, fmt.Sprintf("hop=1;node=%s;region=us;upstream=orders;route=orders;version=1;priority=normal;attempt=1", tt.says))
		if status != tt.status {
			t.Errorf("%s: answered %d, want %d", what, status, tt.status)
		}
	}
	eventually(t, time.Second, "one request was taken from the link", func() error {
		if got := a.metric(`meshgw_forwarded_requests_total{from="us",upstream="orders"}`); got != 1 {
			return fmt.Errorf("%v: %s", got, linesWith(a.metrics(t), "forwarded_requests"))
		}
		return nil
	})
}

// askLink sends one request over a mesh link; 0 is where there is no answer.
func askLink(t *testing.T, addr string, secure *tls.Config, link string) int {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-meshgw-link", link)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// No route publishes what a node is controlled by, or what a cloud tells its
// machines, whatever name leads there.
func TestNoRouteReachesControlPortsOrMetadata(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", "--mesh", "127.0.0.1:0", "--insecure")
	port := func(addr string) string { return addr[strings.LastIndexByte(addr, ':'):] }
	var endpoints strings.Builder
	paths := map[string]string{
		"admin": a.listen.Admin, "rpc": a.listen.RPC, "gossip": a.listen.Gossip, "link": a.listen.Mesh,
		"by-name": "localhost" + port(a.listen.Admin), "other-loopback": "127.0.0.9" + port(a.listen.Admin), "mapped": "[::ffff:127.0.0.1]" + port(a.listen.Admin),
		"metadata": "169.254.169.254:80", "metadata-six": "[fd00:ec2::254]:80", "metadata-nat64": "[64:ff9b::a9fe:a9fe]:80", "link-local": "[fe80::1]:80", "any": "0.0.0.0" + port(a.listen.Admin),
	}
	for name, addr := range paths {
		fmt.Fprintf(&endpoints, "  - {name: %s, endpoints: [{url: \"http://%s\"}]}\n", name, addr)
	}
	doc := "upstreams:\n" + endpoints.String() + "routes:\n"
	for name := range paths {
		doc += fmt.Sprintf("  - {name: %s, match: [{path_prefix: /%s}], upstream: %s, rewrite: {path_prefix: /}}\n", name, name, name)
	}
	if out, err := w.try("meshgw", "routes", "apply", w.save("routes.yaml", []byte(doc)), "--admin", "http://"+a.listen.Admin); err != nil {
		t.Fatal(out)
	}
	for name := range paths {
		got, err := a.get("/" + name + "/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		if got.status < 500 || strings.Contains(got.body, "members") {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
		t.Logf("%s: %d %s %s", name, got.status, got.header.Get("x-meshgw-error"), got.body)
	}
}
