package dataplane_test

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable/routefile"
	"github.com/meshgw/meshgw/telemetry"
)

// decisions is a table in which something is decided about every kind of request.
const decisions = `
upstreams:
  - name: up
    endpoints: [{url: "http://%s"}, {url: "http://%s"}]
  - name: dead
    endpoints: [{url: "http://%[2]s"}]
routes:
  - {name: plain, match: [{path_prefix: /plain}], upstream: up, rewrite: {path_prefix: /seen}, response_headers: {set: {x-set: "1"}, remove: [x-own]}}
  - {name: limited, match: [{path_prefix: /limited}], upstream: up, limits: [two]}
  - {name: secret, match: [{path_prefix: /secret}], upstream: up, auth: [{basic: {file: users}}]}
  - {name: low, match: [{path_prefix: /low}], upstream: up, priority: low}
  - {name: dead, match: [{path_prefix: /dead}], upstream: dead}
  - {name: moved, match: [{path_prefix: /moved}], redirect: {scheme: https, status: 308}}
  - {name: small, match: [{path_prefix: /small}], upstream: up, max_body: 10B}
  - {name: denied, match: [{path_prefix: /denied}], upstream: up, deny: {cidrs: [127.0.0.0/8]}}
  - {name: cors, match: [{path_prefix: /cors}], upstream: up, cors: {origins: ["https://a.test"]}}
  - {name: text, match: [{path_prefix: /text}], respond: {status: 200, body: "%[3]s", headers: {content-type: text/plain}}, compress: {encodings: [gzip]}}
limits:
  - {name: two, rate: 2/h, burst: 2, key: [none], scope: node}
`

// decided asks for everything and returns what of the answers does not differ
// from one request to the next.
func decided(t *testing.T, protocol string) []string {
	t.Helper()
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		return always("HTTP/1.1 200 OK\r\nX-Own: 1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 2\r\n\r\nok")(head, c, r)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	text := fmt.Sprintf(decisions, up.addr, ln.Addr(), strings.Repeat("compress me ", 200))
	file, err := routefile.Decode(nil, routefile.Source{Name: "routes.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	ring := telemetry.NewRing(100, 1<<20)
	g := startGateway(t, dataplane.Config{Limiter: newLone(), Credentials: newCredentials(t), Requests: ring}, file.Spec)
	g.SetShedding(failover.Mix{failover.Low: 1})
	client := clientOf(t, protocol)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var all, ids []string
	for i, ask := range []struct{ method, path, body, field string }{
		{"GET", "/plain/../plain/x?y=z", "", ""},
		{"HEAD", "/plain", "", ""},
		{"POST", "/plain", strings.Repeat("x", 20_000), ""},
		{"GET", "/nowhere", "", ""},
		{"GET", "/limited", "", ""},
		{"GET", "/limited", "", ""},
		{"GET", "/limited", "", ""},
		{"GET", "/secret", "", ""},
		{"GET", "/secret", "", "Authorization: Basic YW5uOmFwcGxl"},
		{"GET", "/secret", "", "Authorization: Basic YW5uOnBlYXI="},
		{"GET", "/low", "", ""},
		{"GET", "/dead", "", ""},
		{"GET", "/moved/a?b", "", ""},
		{"POST", "/small", strings.Repeat("x", 11), ""},
		{"GET", "/denied", "", ""},
		{"GET", "/cors", "", "Origin: https://a.test"},
		{"GET", "/text", "", "Accept-Encoding: gzip"},
		{"TRACE", "/plain", "", ""},
		{"GET", "/%00", "", ""},
	} {
		req, err := http.NewRequest(ask.method, "http://"+g.addr, strings.NewReader(ask.body))
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "//" + g.addr + ask.path // not made canonical here
		if ask.body == "" {
			req.Body = nil
		}
		id := fmt.Sprintf("request-%d", i)
		req.Header.Set("X-Request-Id", id)
		if name, value, ok := strings.Cut(ask.field, ": "); ok {
			req.Header.Set(name, value)
		}
		a, body := client.do(req)
		id = a.Header.Get("X-Request-Id") // another where the request was not understood
		ids, body = append(ids, id), strings.ReplaceAll(body, id, "ID")
		for _, name := range []string{"X-Request-Id", "Date", "Location", "Connection", "Content-Length", "Ratelimit", "Retry-After"} {
			a.Header.Del(name)
		}
		all = append(all, fmt.Sprintf("%s %s: %d %v %q", ask.method, ask.path, a.StatusCode, fieldsOf(a.Header), body))
	}
	client.CloseIdleConnections()
	g.stop() // what is remembered is complete then
	for i, id := range ids {
		for _, r := range ring.Find(id) {
			all = append(all, fmt.Sprintf("request %d remembered as %s %s %s %d %s, in %d, tried %v", i, r.Method, r.Path, r.Route, r.Status, r.Error, r.In, len(r.Attempts) > 0))
		}
	}
	for _, head := range up.seen() {
		line, _, _ := strings.Cut(head, "\r\n")
		all = append(all, "upstream saw "+line)
	}
	return all
}

func fieldsOf(h http.Header) []string {
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		fields = append(fields, fmt.Sprint(name, h[name]))
	}
	return fields
}

func TestDecisionsAreTheSameOverBothProtocols(t *testing.T) {
	over1, over2 := decided(t, "HTTP/1.1"), decided(t, "HTTP/2")
	if len(over1) != len(over2) {
		t.Fatalf("HTTP/1.1: %q\nHTTP/2: %q", over1, over2)
	}
	for i := range over1 {
		if over1[i] != over2[i] {
			t.Errorf("HTTP/1.1: %s\n  HTTP/2: %s", over1[i], over2[i])
		}
	}
	var statuses []string
	for _, answer := range over2 {
		if _, after, ok := strings.Cut(answer, ": "); ok {
			statuses = append(statuses, after[:3])
		}
	}
	want := "200 200 200 404 200 200 429 401 200 401 503 502 308 413 403 200 200 405 400"
	if got := strings.Join(statuses, " "); got != want {
		t.Errorf("statuses %s, want %s", got, want)
	}
}
